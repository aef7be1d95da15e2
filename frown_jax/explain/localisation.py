"""Does a map lie where it should: measures of one map against regions.

Positive relevance P = max(R, 0). Of a region G of N pixels:

  mass        sum_G P / sum P. Rieger et al. 2020 announce it ("aggregated positive relevance inside and outside"; no
              equation was found, this is our reading); Kohlbrenner et al. 2020's mu, Arras et al. 2022's relevance
              mass accuracy.
  normalised  mass / (N / pixels): 1 is what a uniform map gives, whatever the size of the region (Kohlbrenner's mu_w).
  rank        share of the N highest values of P that lie in G (Arras et al. 2022's relevance rank accuracy).
  hit         whether the highest value lies in G (Zhang et al. 2018's pointing game).
  negative    sum_G max(-R, 0) / sum P.

Undefined (no positive relevance, an empty region) is NaN.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct


class Localisation(struct.PyTreeNode):
    """Of K maps of each of B images, float32."""

    mass: Any  # [K, B, R], of every region
    negative: Any  # [K, B, R]
    area: Any  # [B, R], share of the image
    rank: Any  # [K, B], of the map's own region
    hit: Any  # [K, B]
    total: Any  # [K, B], sum of R: conserved relevance, if it began with 1
    positive: Any  # [K, B], sum of P


def _ratio(a: jax.Array, b: jax.Array) -> jax.Array:
    return jnp.where(b > 0, a / jnp.where(b > 0, b, 1), jnp.nan)


def rank_accuracy(positive: jax.Array, region: jax.Array) -> jax.Array:
    """Share of the N highest of `positive` [H, W] that lie in the region of N pixels, bool [H, W].

    Of equal values the one that comes first in rows counts as the higher.
    """
    values, inside = positive.ravel(), region.ravel()
    count = inside.sum()
    lowest = jnp.sort(values)[values.size - jnp.maximum(count, 1)]  # of the N highest
    above, tied = values > lowest, values == lowest
    chosen = above | (tied & (jnp.cumsum(tied) <= count - above.sum()))
    found = (chosen & inside).sum()
    defined = (count > 0) & (positive.max() > 0)
    return jnp.where(defined, found / jnp.maximum(count, 1), jnp.nan).astype(jnp.float32)


def pointing_hit(positive: jax.Array, region: jax.Array) -> jax.Array:
    """1 if the highest of `positive` [H, W] lies in the region, bool [H, W]; else 0."""
    hit = region.ravel()[positive.argmax()]
    return jnp.where(region.any() & (positive.max() > 0), hit.astype(jnp.float32), jnp.nan)


def localise(maps: jax.Array, regions: jax.Array) -> Localisation:
    """Measures maps against regions.

    Args:
      maps: [K, B, H, W], signed.
      regions: bool [B, R, H, W]; the first K are the maps' own, in their order.
    """
    own = jnp.moveaxis(regions[:, : len(maps)], 1, 0)
    masks = regions.astype(maps.dtype)
    positive, negative = jnp.maximum(maps, 0), jnp.maximum(-maps, 0)
    total = positive.sum((2, 3))
    inside, against = (jnp.einsum("kbhw,brhw->kbr", m, masks, precision="highest") for m in (positive, negative))
    there = regions.any((2, 3))
    over_images = jax.vmap(jax.vmap(rank_accuracy)), jax.vmap(jax.vmap(pointing_hit))
    return Localisation(
        mass=jnp.where(there, _ratio(inside, total[..., None]), jnp.nan),
        negative=jnp.where(there, _ratio(against, total[..., None]), jnp.nan),
        area=masks.mean((2, 3)),
        rank=over_images[0](positive, own),
        hit=over_images[1](positive, own),
        total=maps.sum((2, 3)),
        positive=total,
    )


def brought_to(regions: jax.Array, side: int) -> jax.Array:
    """Regions bool [..., S, S] at another resolution: pixels of which at least half lies inside."""
    if regions.shape[-1] == side:
        return regions
    shape = (*regions.shape[:-2], side, side)
    return jax.image.resize(regions.astype(jnp.float32), shape, "linear", antialias=True) >= 0.5
