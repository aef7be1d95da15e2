"""What a grid will cost on the device at hand, from a few measured steps of each of its programs."""

from __future__ import annotations

import dataclasses
import time

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from frown_jax import engine, members, packing, schema
from frown_jax.data.load import load
from frown_jax.ensemble import make_engine
from frown_jax.progress import duration
from frown_jax.training_set import TrainingSet

_STEPS = 4  # timed
_MOST_MEMBERS = {"map": 1, "vmap": 16}  # timed together; more take as long each


@dataclasses.dataclass(frozen=True)
class Estimate:
    """A compile group's cost.

    Attributes:
      members: of the group.
      images: of a member's epoch.
      epochs: summed over the members, if none stops early.
      rate: measured member-images per second in training.
      compile_seconds: of its program.
      seconds: of training and validation, if none stops early.
    """

    members: int
    images: int
    epochs: int
    rate: float
    compile_seconds: float
    seconds: float

    def __str__(self) -> str:
        return (
            f"{self.members} members x {self.images:,} images, {self.epochs:,} epochs in all: {self.rate:.0f} "
            f"member-images/s measured, compilation {self.compile_seconds:.0f} s, at most {duration(self.seconds)}"
        )


def sizes(config: ConfigDict) -> tuple[int, int, int]:
    """Training images, validation images and classes, without reading images where they are known beforehand."""
    data = config.data
    if data.name == "manifest":
        loaded = load(data, config.model.image_size)
        counts = loaded.table["split"].value_counts()
        return int(counts["train"]), int(counts.get("val", counts["test"])), len(loaded.classes)
    total, test = data.faces.train, data.faces.test
    if data.name == "rafdb":
        total, test = (int(schema.RAFDB_EMOTIONS[split].sum()) for split in ("train", "test"))
    if data.validation == "test":
        return total, test, len(schema.EMOTIONS)
    held_out = round(total * data.val_fraction)
    return total - held_out, held_out, len(schema.EMOTIONS)


def _stored_side(config: ConfigDict) -> int:
    return min(100, config.model.image_size)


def estimate(group: members.Group, training: int, validation: int, classes: int) -> Estimate:
    """Times a few steps on random images and counts up.

    Args:
      group: its members differ in values only, so one program's rate holds for all.
      training: images of an epoch.
      validation: images predicted after each.
      classes: K.
    """
    c = group.config
    side, batch = _stored_side(c), c.batch_size
    rng = np.random.default_rng(0)
    labels = np.arange(batch * _STEPS, dtype=np.int32) % classes
    images = jnp.asarray(rng.integers(0, 255, (len(labels), side, side, 3), np.uint8))
    timed = group.specs[: _MOST_MEMBERS[packing.resolve(c.packing)]]
    stacked = members.stack([members.build(s, TrainingSet.without_attributes(labels, classes)) for s in timed])
    e = make_engine(c, classes, 1, 1, _STEPS, _STEPS, devices=jax.local_devices()[:1])
    state, data = e.init(stacked, None), (images, jnp.asarray(labels))

    def steps(state: engine.State) -> tuple[engine.State, float]:
        began = time.perf_counter()
        state, sums = e.train(state, engine.no_sums(len(timed)), stacked, *data, 0, 0, _STEPS)
        jax.block_until_ready(sums)
        return state, time.perf_counter() - began

    state, first = steps(state)
    seconds = []
    for _ in range(2):
        state, taken = steps(state)
        seconds.append(taken)
    rate = len(timed) * len(labels) / min(seconds)
    own = [s.config.epochs for s in group.specs]
    # A prediction is the forward third of a training step.
    total = sum(own) * (training + validation / 3) / (rate * jax.local_device_count())
    return Estimate(len(group.specs), training, sum(own), rate, first - min(seconds), total + first)


def report(config: ConfigDict, points: list[dict]) -> str:
    """The cost of a grid as text."""
    device = jax.devices()[0]
    lines = [f"on {jax.local_device_count()} x {device.device_kind or device.platform}, from measured steps:"]
    groups = members.expand(config, points)
    total = 0.0
    for index, group in enumerate(groups):
        found = estimate(group, *sizes(ConfigDict(group.config)))
        total += found.seconds
        model = group.config.model
        lines.append(f"  program {index}: {model.name}, width {model.width}, {model.image_size} px: {found}")
    lines.append(
        f"total: at most {duration(total)}. Members that stop early (schedule and patience decide) cost less; "
        "loading data and reports come on top."
    )
    return "\n".join(lines)
