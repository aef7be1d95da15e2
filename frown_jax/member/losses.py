"""Per-example losses, and the one place where weights reduce them."""

from __future__ import annotations

import jax
import jax.numpy as jnp

# Divide by the number of examples, by the sum of their weights, or by the share of their labels that is known.
PER_COUNT, PER_WEIGHT, PER_KNOWN = range(3)
NORMALISERS = {"count": PER_COUNT, "weight": PER_WEIGHT, "known": PER_KNOWN}


def binary_cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Sigmoid cross-entropy of each label, unreduced; an unknown label gives 0, and no gradient.

    Args:
      logits: float [..., T].
      labels: int [..., T]: 1, 0, or -1 (not known).

    Returns:
      float32 [..., T], in nats.

    >>> import jax.numpy as jnp
    >>> binary_cross_entropy(jnp.zeros(3), jnp.array([1, 0, -1])).round(4).tolist()
    [0.6930999755859375, 0.6930999755859375, 0.0]
    """
    logits = logits.astype(jnp.float32)
    known = labels >= 0
    z = jnp.where(known, logits, 0)
    return jnp.where(known, jax.nn.softplus(z) - z * labels, 0)


def reduce(
    losses: jax.Array,
    weights: jax.Array,
    valid: jax.Array,
    normaliser: jax.Array | int,
    known: jax.Array | float = 1.0,
) -> jax.Array:
    """Weighted sum of losses over a normaliser.

    Torch divides by the batch size when targets are probabilities and by the sum of weights when they are class
    indices; the study's code did the former, so the choice is explicit here. Weighted by zero, an example
    contributes neither loss nor gradient.

    Args:
      losses: [B].
      weights: [B], at least 0.
      valid: bool [B]; False for padding.
      normaliser: PER_COUNT, PER_WEIGHT or PER_KNOWN; may be traced.
      known: [B] share of an example's labels that is known; with PER_WEIGHT and PER_KNOWN an example counts by it.
        Losses of Action Units are sums over the known ones divided by the number of all: PER_COUNT then divides by all
        entries of the batch, PER_KNOWN by the known ones.

    Returns:
      Scalar; 0 if nothing is valid.
    """
    weights = weights * valid
    total = jnp.where(weights > 0, losses * weights, 0).sum()
    counts = jnp.where(normaliser == PER_WEIGHT, weights, valid) * jnp.where(normaliser == PER_COUNT, 1, known)
    scale = counts.sum()
    return total / jnp.where(scale > 0, scale, 1)
