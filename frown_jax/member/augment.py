"""From resident uint8 images to model input, inside the jitted step: gather, augment, resize, normalise."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from frown_jax.runtime import resident

IMAGENET_MEAN = np.array([0.485, 0.456, 0.406], np.float32)
IMAGENET_SD = np.array([0.229, 0.224, 0.225], np.float32)


Array = Any  # jax.Array, np.ndarray or float


class Augmentation(struct.PyTreeNode):
    """Traced settings, float32 scalars; all 0 leaves images as they are."""

    flip: Array = 0.0  # probability of a horizontal flip
    shift: Array = 0.0  # largest shift, of the image side; edges repeat
    invert: Array = 0.0  # probability of pixel inversion
    invert_normalised: Array = 0.0  # 1: invert as 1 - z after normalising, as the study's code did
    brightness: Array = 0.0  # factor uniform in 1 -+ this
    contrast: Array = 0.0  # factor uniform in 1 -+ this, about the image's mean


def normalise(x: jax.Array, size: int) -> jax.Array:
    """Images in 0 to 1 to standardised model input of the given side.

    Growing is bilinear without antialiasing, as torchvision's tensor Resize in the study; shrinking has happened
    when the data was loaded.
    """
    if x.shape[-2] != size:
        x = jax.image.resize(x, (*x.shape[:-3], size, size, 3), "bilinear", antialias=False)
    return (x - IMAGENET_MEAN) / IMAGENET_SD


def plain(images: jax.Array, size: int) -> jax.Array:
    """Evaluation input: uint8 [B, H, W, 3] -> float32 [B, size, size, 3]."""
    return normalise(images.astype(jnp.float32) / 255, size)


def batch(images: resident.Rows, rows: jax.Array, a: Augmentation, key: jax.Array, size: int) -> jax.Array:
    """Training input: picks rows of the resident data set and augments them.

    Args:
      images: uint8 [N, H, W, 3].
      rows: int [B].
      a: what to do.
      key: PRNG key.
      size: side of the model input.

    Returns:
      float32 [B, size, size, 3].
    """
    count, side = rows.shape[0], images.shape[1]
    if not isinstance(images, jax.Array):
        images, rows = resident.take(images, rows), jnp.arange(count)
    keys = jax.random.split(key, 5)
    # Shift and flip are part of the gather: one read of uint8, no intermediate copies.
    reach = jnp.round(a.shift * side)
    move = jnp.round(jax.random.uniform(keys[0], (2, count), minval=-1, maxval=1) * reach).astype(jnp.int32)
    steps = jnp.arange(side)
    down = jnp.clip(steps + move[0][:, None], 0, side - 1)
    along = jnp.clip(steps + move[1][:, None], 0, side - 1)
    flip = jax.random.bernoulli(keys[1], a.flip, (count, 1))
    along = jnp.where(flip, side - 1 - along, along)
    x = images[rows[:, None, None], down[:, :, None], along[:, None, :]].astype(jnp.float32) / 255

    per_image = (count, 1, 1, 1)
    brightness = 1 + a.brightness * jax.random.uniform(keys[2], per_image, minval=-1, maxval=1)
    contrast = 1 + a.contrast * jax.random.uniform(keys[3], per_image, minval=-1, maxval=1)
    mean = x.mean((1, 2, 3), keepdims=True)
    jittered = jnp.clip((x - mean) * contrast + mean * brightness, 0, 1)
    x = jnp.where((a.brightness > 0) | (a.contrast > 0), jittered, x)
    invert = jax.random.bernoulli(keys[4], a.invert, per_image)
    x = normalise(jnp.where(invert & (a.invert_normalised < 0.5), 1 - x, x), size)
    return jnp.where(invert & (a.invert_normalised >= 0.5), 1 - x, x)
