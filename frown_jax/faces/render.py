"""Faces to images: `render` for one face or a batch, `render_many` for thousands with progress."""

from __future__ import annotations

import concurrent.futures
import functools
import operator
import os
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from frown_jax.faces import geometry
from frown_jax.faces.face import Face, stack
from frown_jax.faces.geometry import SIZE, Tables, smooth
from frown_jax.faces.shade import shade

_CHUNK = 32


def _to_srgb(x: jax.Array) -> jax.Array:
    x = jnp.clip(x, 0, 1)
    return jnp.where(x < 0.0031308, 12.92 * x, 1.055 * jnp.power(jnp.maximum(x, 1e-6), 1 / 2.4) - 0.055)


def _blur(image: jax.Array, sigma: jax.Array) -> jax.Array:
    kernel = jnp.exp(-0.5 * (jnp.arange(-2, 3) / jnp.maximum(sigma, 0.05)) ** 2)
    kernel = kernel / kernel.sum()
    padded = jnp.pad(image, ((2, 2), (2, 2), (0, 0)), mode="edge")
    rows = functools.reduce(operator.add, (kernel[i] * padded[i : i + SIZE] for i in range(5)))
    return functools.reduce(operator.add, (kernel[i] * rows[:, i : i + SIZE] for i in range(5)))


def _camera(face: Face, colour: jax.Array) -> jax.Array:
    """Linear colour at the raster's resolution to an sRGB image [SIZE, SIZE, 3] in 0 to 1."""
    scene = face.scene
    image = colour.reshape(SIZE, 2, SIZE, 2, 3).mean((1, 3))
    yy, xx = jnp.mgrid[0:SIZE, 0:SIZE] / SIZE
    cx, cy, rx, ry = scene.occluder
    inside = smooth(1.05, 0.95, ((xx - cx) / rx) ** 2 + ((yy - cy) / ry) ** 2) * scene.occluder_on
    image = image * (1 - inside[..., None])
    image += scene.occluder_colour * inside[..., None] * (0.8 + 0.4 * xx[..., None])
    image = _blur(image * scene.exposure, scene.blur)
    image = _to_srgb(image / (1 + 0.12 * image))
    image = jnp.clip(0.5 + (image - 0.5) * scene.contrast, 0, 1)
    key = jax.random.wrap_key_data(scene.noise_key, impl="threefry2x32")
    return jnp.clip(image + jax.random.normal(key, image.shape) * scene.noise, 0, 1)


def _render_one(t: Tables, face: Face) -> jax.Array:
    units = geometry.unit_activations(t, face.expression)
    rendered, normals = geometry.pose_head(t, face, units)
    grid = geometry.rasterise(t, face, rendered)
    image = _camera(face, shade(t, face, units, grid, normals))
    return jnp.round(image * 255).astype(jnp.uint8)


def over_batch(fn: Callable, batch):
    """`fn` over a leading axis. lax.map on CPU, where vmap is half as fast; vmap elsewhere (not measured)."""
    return jax.lax.map(fn, batch) if jax.default_backend() == "cpu" else jax.vmap(fn)(batch)


@jax.jit
def _render_batch(t: Tables, faces: Face) -> jax.Array:
    return over_batch(functools.partial(_render_one, t), faces)


def render(face: Face) -> jax.Array:
    """Renders one face, or a batch with a leading axis on every leaf.

    Deterministic: the same parameters give the same bytes on the same platform, alone or in any batch.

    Returns:
      uint8 [100, 100, 3] sRGB, or [B, 100, 100, 3].
    """
    single = np.ndim(face.age) == 0
    batch = jax.tree.map(lambda x: jnp.asarray(x)[None], face) if single else face
    images = _render_batch(geometry.tables(), batch)
    return images[0] if single else images


def render_many(faces: Sequence[Face], on_progress: Callable[[int], None] | None = None) -> np.ndarray:
    """Renders any number of faces in chunks, on all CPU cores.

    Args:
      faces: single faces.
      on_progress: called with the number of faces finished since the last call.

    Returns:
      uint8 [len(faces), 100, 100, 3].
    """
    t = geometry.tables()
    out = np.empty((len(faces), SIZE, SIZE, 3), np.uint8)

    def chunk(first: int) -> tuple[int, int]:
        part = list(faces[first : first + _CHUNK])
        padding = [part[-1]] * (_CHUNK - len(part))  # one program for every chunk
        out[first : first + len(part)] = np.asarray(_render_batch(t, stack(part + padding)))[: len(part)]
        return first, len(part)

    # XLA's CPU backend runs one image on one core: concurrent calls fill the others.
    workers = max(1, os.cpu_count() or 1) if jax.default_backend() == "cpu" else 1
    with concurrent.futures.ThreadPoolExecutor(workers) as pool:
        for _, count in pool.map(chunk, range(0, len(faces), _CHUNK)):
            if on_progress is not None:
                on_progress(count)
    return out
