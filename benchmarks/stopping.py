"""What stopped members cost: eight members, then the same with half of them stopping after the first of ten epochs.

  python -m benchmarks.stopping

The work that is left is 55 %; what the time is beyond that is the cost of stopped members and of moving to smaller
programs. Compilation is excluded: every size of program has run before.
"""

from __future__ import annotations

import time

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from frown_jax import config as configs
from frown_jax.data.annotations import Annotations
from frown_jax.member.state import no_sums
from frown_jax.member.values import stack
from frown_jax.training.build import member_of
from frown_jax.training.compile import make_engine
from frown_jax.training.grid import expand
from frown_jax.training.roster import Roster
from frown_jax.training.step import Shape

_EPOCHS = flags.DEFINE_integer("epochs", 10, "Of the members that go on.")
_STEPS = flags.DEFINE_integer("steps", 8, "Of an epoch.")
_WIDTH = flags.DEFINE_integer("width", 16, "Channels of the first stage.")
_SIDE = flags.DEFINE_integer("side", 48, "Pixels.")
_MEMBERS = 8


def _seconds(packing: str, stopping: int) -> float:
    c = configs.default()
    c.model.update(width=_WIDTH.value, image_size=_SIDE.value)
    c.update(packing=packing, seeds=(0,), epochs=_EPOCHS.value)
    points = [{"epochs": 1 if i % 2 and i < 2 * stopping else _EPOCHS.value} for i in range(_MEMBERS)]
    (group,) = expand(c, points)
    count = c.batch_size * _STEPS.value
    images = jnp.asarray(np.random.default_rng(0).integers(0, 255, (count, _SIDE.value, _SIDE.value, 3), np.uint8))
    labels = np.arange(count, dtype=np.int32) % 7
    sets = [Annotations.without_attributes(part, 7) for part in (labels, labels[:64])]
    stacked = stack([member_of(s, sets[0], None, sets[1]) for s in group.specs])
    train, val = (images, jnp.asarray(labels)), (images[:64], jnp.asarray(labels[:64]))
    e = make_engine(group.config, Shape(7), _STEPS.value, _STEPS.value)

    def run() -> float:
        roster = Roster(e.packing, stacked, e.init(stacked, None))
        began = time.perf_counter()
        for epoch in range(_EPOCHS.value):
            sums = e.packing.cut(no_sums(len(roster.rows)))
            (roster.state, _), _ = e.epoch(roster.state, sums, roster.members, train, val, epoch)
            roster.choose()
        jax.block_until_ready(roster.state)
        return time.perf_counter() - began

    run()
    return min(run() for _ in range(2))


def main(_: list[str]) -> None:
    for packing in ("map", "vmap"):
        everyone, half = _seconds(packing, 0), _seconds(packing, _MEMBERS // 2)
        print(
            f"{packing}: {_MEMBERS} members {everyone:.1f} s, half of them stopped after one of {_EPOCHS.value} epochs "
            f"{half:.1f} s: {half / everyone:.0%}",
            flush=True,
        )


if __name__ == "__main__":
    app.run(main)
