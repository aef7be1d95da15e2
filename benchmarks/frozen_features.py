"""What caching the features of a frozen network saves, and what training many heads together costs.

  python -m benchmarks.frozen_features                      the study's shape: VGG16, 224 px, dense width 4096
  python -m benchmarks.frozen_features --hidden=256         narrow dense layers, so that 16 members fit in 8 GB
  python -m benchmarks.frozen_features --side=64 --width=8 --hidden=64      the CPU settings of configs/au_gender.py

Per training image: through the frozen network every time, and on features that lie in memory (best of a few calls of
whole steps: forward, backward, AdamW). Then `--members` heads in one program (vmap: batched products; map: one after
another) against as many programs of one. The features themselves, paid once an image, cost about the difference of the
first two.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from benchmarks import timing
from frown_jax import config as configs
from frown_jax.data.annotations import Annotations
from frown_jax.inputs.trunk import feature_count
from frown_jax.member.state import no_sums
from frown_jax.member.values import stack
from frown_jax.training.build import member_of
from frown_jax.training.compile import make_engine
from frown_jax.training.grid import expand
from frown_jax.training.step import Shape

_SIDE = flags.DEFINE_integer("side", 224, "Pixels.")
_WIDTH = flags.DEFINE_integer("width", 64, "Channels of the first layer; torchvision's is 64.")
_HIDDEN = flags.DEFINE_integer("hidden", 4096, "Width of the dense layers; torchvision's is 4096.")
_BATCH = flags.DEFINE_integer("batch", 32, "Images of a step and member.")
_STEPS = flags.DEFINE_integer("steps", 2, "Of a timed call.")
_UNITS = flags.DEFINE_integer("units", 12, "Action Units.")
_MEMBERS = flags.DEFINE_integer("members", 16, "Heads trained together; 0 leaves that out.")
_DTYPE = flags.DEFINE_string("dtype", "float32", "float32 or bfloat16.")


def seconds_per_image(count: int, packing: str, cached: bool) -> float:
    """Of a training step of `count` members, per member and image."""
    c = configs.default()
    configs.action_units(c, "manifest")
    c.model.update(width=_WIDTH.value, hidden=_HIDDEN.value, image_size=_SIDE.value, dtype=_DTYPE.value)
    c.update(packing=packing, seeds=tuple(range(count)), batch_size=_BATCH.value)
    c.cohort.by = ""
    (group,) = expand(c, [{}])
    rng, images = np.random.default_rng(0), _BATCH.value * _STEPS.value
    labels = rng.integers(0, 2, (images, _UNITS.value)).astype(np.int32)
    names = tuple(f"AU{t}" for t in range(_UNITS.value))
    data = Annotations(names, labels, {}, {})
    stacked = stack([member_of(s, data) for s in group.specs])
    features = feature_count(group.config.model) if cached else 0
    shape = Shape(_UNITS.value, multilabel=True)
    e = make_engine(group.config, shape, _STEPS.value, _STEPS.value, jax.local_devices()[:1], features=features)
    if cached:
        inputs = jnp.asarray(rng.standard_normal((images, features), np.float32))
    else:
        inputs = jnp.asarray(rng.integers(0, 255, (images, _SIDE.value, _SIDE.value, 3), np.uint8))
    box = [e.init(stacked, None)]

    def step() -> jax.Array:
        box[0], sums = e.train(box[0], no_sums(count), stacked, inputs, jnp.asarray(labels), 0, 0, _STEPS.value)
        return sums.loss

    return timing.best(step, seconds=3.0) / (count * images)


def main(_: list[str]) -> None:
    print(
        f"{timing.device_name()}; VGG16, width {_WIDTH.value}, {_SIDE.value} px, dense {_HIDDEN.value}, {_DTYPE.value}"
    )
    alone = seconds_per_image(1, "map", cached=True)
    print(f"one head on cached features: {1e3 * alone:.2f} ms per image", flush=True)
    whole = seconds_per_image(1, "map", cached=False)
    print(f"through the frozen network:  {1e3 * whole:.2f} ms per image: {whole / alone:.1f} times as long", flush=True)
    count = _MEMBERS.value
    for packing in ("vmap", "map") if count else ():
        together = seconds_per_image(count, packing, cached=True)
        print(
            f"{count} heads, {packing}: {1e3 * together:.2f} ms per member and image: {together / alone:.2f} of what "
            f"{count} programs of one take, one after another",
            flush=True,
        )


if __name__ == "__main__":
    app.run(main)
