"""Mixed training images: mixup (Zhang et al. 2018) and LISA (Yao et al. 2022), within a batch."""

from __future__ import annotations

from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

Array = Any


class Mixing(struct.PyTreeNode):
    """Traced settings of one member, float32 scalars."""

    alpha: Array  # shares are Beta(alpha, alpha); 0 mixes nothing
    selective: Array  # 1: LISA chooses partners, 0: anybody
    same_label: Array  # LISA: probability of partners of one class and other groups; else of one group, other classes


class Mixed(NamedTuple):
    """A batch after mixing."""

    x: jax.Array  # [B, ...]
    partner: jax.Array  # int [B]
    share: jax.Array  # scalar: of an image itself; 1 - share of its partner


def nothing() -> Mixing:
    """No mixing."""
    return Mixing(np.float32(0), np.float32(0), np.float32(0))


def partners(key: jax.Array, labels: jax.Array, groups: jax.Array, valid: jax.Array, m: Mixing) -> jax.Array:
    """Whom each image is mixed with, int [B]; itself where nobody fits.

    Args:
      key: PRNG key.
      labels, groups: int [B]; groups -1 unknown.
      valid: bool [B].
      m: the member's.
    """
    which, who = jax.random.split(key)
    same_label = labels[:, None] == labels
    known = (groups >= 0)[:, None] & (groups >= 0)
    same_group = (groups[:, None] == groups) & known
    intra_label = same_label & ~same_group & known
    intra_group = same_group & ~same_label
    chosen = jnp.where(jax.random.bernoulli(which, m.same_label), intra_label, intra_group)
    fits = jnp.where(m.selective > 0, chosen, True) & valid
    lots = jnp.where(fits, jax.random.uniform(who, fits.shape), -1)
    return jnp.where(fits.any(1), lots.argmax(1), jnp.arange(len(labels)))


def mix(key: jax.Array, x: jax.Array, labels: jax.Array, groups: jax.Array, valid: jax.Array, m: Mixing) -> Mixed:
    """Mixes a batch with itself: one share for all of it, as both papers' code.

    Args:
      key: PRNG key.
      x: float [B, ...].
      labels, groups, valid: see `partners`.
      m: the member's.
    """
    draw, choose = jax.random.split(key)
    on = m.alpha > 0
    alpha = jnp.where(on, m.alpha, 1.0)  # under vmap both branches run, and a Beta of 0 has no draw

    def mixed() -> Mixed:
        partner = partners(choose, labels, groups, valid, m)
        share = jax.random.beta(draw, alpha, alpha)
        return Mixed(share * x + (1 - share) * jnp.take(x, partner, axis=0), partner, share)

    return jax.lax.cond(on, mixed, lambda: Mixed(x, jnp.arange(len(labels)), jnp.ones(())))
