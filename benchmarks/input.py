"""What the input costs: gather, augment, resize and normalise on the device, beside decoding files on the host.

python -m benchmarks.input [--out=input.json]
"""

from __future__ import annotations

import io
import json
import pathlib
import time

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from PIL import Image

from benchmarks import timing
from frown_jax.member import augment

_IMAGES = flags.DEFINE_integer("images", 2048, "Resident images.")
_BATCH = flags.DEFINE_integer("batch", 32, "Images per member and step.")
_OUT = flags.DEFINE_string("out", "", "JSON file for the results.")


def _device(stored: int, side: int, members: int) -> float:
    """Images/s of `augment.batch`, vmapped over members, in a loop over an epoch's batches."""
    rng = np.random.default_rng(0)
    images = jnp.asarray(rng.integers(0, 255, (_IMAGES.value, stored, stored, 3), np.uint8))
    steps = _IMAGES.value // _BATCH.value
    rows = jnp.asarray(rng.integers(0, _IMAGES.value, (steps, members, _BATCH.value)), jnp.int32)
    settings = augment.Augmentation(flip=0.5, shift=0.06, invert=0.2, brightness=0.2, contrast=0.2)

    @jax.jit
    def epoch(images: jax.Array, rows: jax.Array) -> jax.Array:
        def step(last: jax.Array, xs: tuple) -> tuple[jax.Array, None]:
            keys = jax.random.split(jax.random.key(xs[1]), members)
            return jax.vmap(lambda r, k: augment.batch(images, r, settings, k, side))(xs[0], keys), None

        start = jnp.zeros((members, _BATCH.value, side, side, 3))
        return jax.lax.scan(step, start, (rows, jnp.arange(steps)))[0]

    return members * steps * _BATCH.value / timing.best(epoch, images, rows, seconds=2.0)


def _host(stored: int, side: int) -> float:
    """Images/s of one process that decodes, flips, resizes and normalises each image, as a data loader's worker."""
    rng = np.random.default_rng(0)
    files = []
    for _ in range(64):
        smooth = Image.fromarray(rng.integers(0, 255, (12, 12, 3), np.uint8)).resize((stored, stored))
        files.append(io.BytesIO())
        smooth.save(files[-1], "JPEG", quality=90)
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < 2:
        for file in files:
            image = Image.open(file).convert("RGB").transpose(Image.Transpose.FLIP_LEFT_RIGHT)
            pixels = np.asarray(image.resize((side, side), Image.Resampling.BILINEAR), np.float32) / 255
            ((pixels - augment.IMAGENET_MEAN) / augment.IMAGENET_SD).sum()
            count += 1
    return count / (time.perf_counter() - began)


def main(_: list[str]) -> None:
    rows = []
    for stored, side in ((48, 48), (64, 64), (100, 224)):
        row: dict[str, object] = {"stored": stored, "side": side, "host_images_per_s": _host(stored, side)}
        for members in (1, 4):
            row[f"device_images_per_s_{members}"] = _device(stored, side, members)
        rows.append(row)
        print(
            f"{stored} -> {side} px: on the device {row['device_images_per_s_1']:,.0f} images/s with 1 member, "
            f"{row['device_images_per_s_4']:,.0f} with 4; decoding files {row['host_images_per_s']:,.0f} per process",
            flush=True,
        )
    if _OUT.value:
        pathlib.Path(_OUT.value).write_text(json.dumps({"device": timing.device_name(), "rows": rows}, indent=1))


if __name__ == "__main__":
    app.run(main)
