"""Per-example losses, and the one place where weights reduce them."""

from __future__ import annotations

import jax
import jax.numpy as jnp

PER_COUNT, PER_WEIGHT = 0, 1  # divide by the number of examples, or by the sum of their weights


def cross_entropy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Softmax cross-entropy, unreduced.

    Args:
      logits: float [..., K].
      labels: int [...], class codes 0 to K - 1.

    Returns:
      float32 [...], in nats.

    >>> import jax.numpy as jnp
    >>> round(float(cross_entropy(jnp.zeros((1, 4)), jnp.array([2]))[0]), 4)
    1.3863
    """
    logits = logits.astype(jnp.float32)
    picked = jnp.take_along_axis(logits, labels[..., None], axis=-1)[..., 0]
    return jax.nn.logsumexp(logits, axis=-1) - picked


def reduce(losses: jax.Array, weights: jax.Array, valid: jax.Array, normaliser: jax.Array | int) -> jax.Array:
    """Weighted sum of losses over a normaliser.

    Torch divides by the batch size when targets are probabilities and by the sum of weights when they are class
    indices; the study's code did the former, so the choice is explicit here. Weighted by zero, an example
    contributes neither loss nor gradient.

    Args:
      losses: [B].
      weights: [B], at least 0.
      valid: bool [B]; False for padding.
      normaliser: PER_COUNT or PER_WEIGHT; may be traced.

    Returns:
      Scalar; 0 if nothing is valid.
    """
    weights = weights * valid
    total = jnp.where(weights > 0, losses * weights, 0).sum()
    scale = jnp.where(normaliser == PER_WEIGHT, weights.sum(), valid.sum())
    return total / jnp.where(scale > 0, scale, 1)
