"""Do maps show what a network uses: region perturbation, sensitivity to noise, and randomisation.

Region perturbation (Samek et al. 2017): patches are replaced in the order of their relevance, most relevant first
(MoRF), least relevant first (LeRF), or at random; the area over the perturbation curve is AOPC, the mean over
k = 0 .. L of f(x) - f(x_k), of the class' logit. A faithful map has AOPC(MoRF) above random's and LeRF's below. Patches
become the mean colour or a blur of the image: black is a smaller change on dark skin, which would bias the measure
between the very groups that are compared.

Max-sensitivity (Yeh et al. 2019): the largest ||R(x) - R(x')|| / ||R(x)|| over images x' with uniform noise.
"""

from __future__ import annotations

import functools
from typing import Any

import jax
import jax.numpy as jnp

from frown_jax.explain.attribution import Method, attribute
from frown_jax.models.classifier import Classifier

Tree = Any

FILLS = MEAN, BLUR = "mean", "blur"
ORDERS = MORF, LERF, RANDOM = "morf", "lerf", "random"


def blurred(x: jax.Array, sigma: float) -> jax.Array:
    """Gaussian blur of [B, H, W, C]; edges repeat."""
    reach = max(1, round(3 * sigma))
    kernel = jnp.exp(-0.5 * (jnp.arange(-reach, reach + 1) / sigma) ** 2)
    kernel = kernel / kernel.sum()
    padded = jnp.pad(x, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")
    places = range(len(kernel))
    rows = functools.reduce(jnp.add, (kernel[i] * padded[:, i : i + x.shape[1]] for i in places))
    return functools.reduce(jnp.add, (kernel[i] * rows[:, :, i : i + x.shape[2]] for i in places))


def patch_sums(maps: jax.Array, patches: int) -> jax.Array:
    """Sums of [B, H, W] over a grid of patches x patches, [B, patches^2]; the side must be a multiple."""
    b, side, _ = maps.shape
    return maps.reshape(b, patches, side // patches, patches, side // patches).sum((2, 4)).reshape(b, -1)


def ranked(scores: jax.Array, order: str, key: jax.Array) -> jax.Array:
    """The turn of each patch, int [B, P]: 0 is replaced first."""
    if order == RANDOM:
        scores = jax.random.uniform(key, scores.shape)
    return jnp.argsort(jnp.argsort(scores if order == LERF else -scores, axis=-1), axis=-1)


@functools.partial(jax.jit, static_argnames=("model", "patches", "steps", "order", "fill"))
def perturbation(
    model: Classifier,
    variables: Tree,
    x: jax.Array,
    maps: jax.Array,
    classes: jax.Array,
    key: jax.Array,
    *,
    order: str,
    fill: str,
    patches: int = 8,
    steps: int = 24,
) -> jax.Array:
    """Logits while patches are replaced.

    Args:
      model, variables: network.
      x: normalised images [B, H, W, 3].
      maps: [B, H, W], of the class of each image.
      classes: int [B].
      key: of the random order.
      order: one of ORDERS.
      fill: one of FILLS.
      patches: along a side.
      steps: L, replaced patches at the end.

    Returns:
      [steps + 1, B].
    """
    side = x.shape[1]
    turn = ranked(patch_sums(maps, patches), order, key).reshape(-1, patches, patches)
    turn = jnp.repeat(jnp.repeat(turn, side // patches, 1), side // patches, 2)[..., None]
    other = jnp.zeros_like(x) if fill == MEAN else blurred(x, side / 8)

    def logits(step: jax.Array) -> jax.Array:
        z = model.apply(variables, jnp.where(turn < step, other, x), train=False)[0]
        return jnp.take_along_axis(z, classes[:, None], 1)[:, 0]

    return jax.lax.map(logits, jnp.arange(steps + 1))


def aopc(curve: jax.Array) -> jax.Array:
    """Area over the perturbation curve of logits [L + 1, B]: [B]."""
    return (curve[:1] - curve).mean(0)


@functools.partial(jax.jit, static_argnames=("model", "method", "samples", "radius"))
def max_sensitivity(
    model: Classifier,
    variables: Tree,
    x: jax.Array,
    classes: jax.Array,
    key: jax.Array,
    *,
    method: Method,
    samples: int = 10,
    radius: float = 0.05,
) -> jax.Array:
    """Largest relative change of each image's map, [B].

    Args:
      model, variables, x, classes: as in `perturbation`.
      key: of the noise.
      method: of the maps.
      samples: noisy images each.
      radius: of the noise, uniform in -+ radius of normalised values (0.05 is about 3 of 255 steps).
    """

    def own(x: jax.Array) -> jax.Array:
        def starts(y: jax.Array) -> jax.Array:
            return jax.nn.one_hot(classes, y.shape[-1], dtype=y.dtype)[None]

        return attribute(method, model, variables, x, starts)[1][0]

    def norm(m: jax.Array) -> jax.Array:
        return jnp.sqrt((m * m).sum((1, 2)))

    clean = own(x)

    def one(key: jax.Array) -> jax.Array:
        return norm(own(x + jax.random.uniform(key, x.shape, x.dtype, -radius, radius)) - clean)

    return jax.lax.map(one, jax.random.split(key, samples)).max(0) / jnp.maximum(norm(clean), 1e-30)
