"""Metrics inside jitted programs: what early stopping looks at."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def binary_auroc(scores: jax.Array, positive: jax.Array) -> jax.Array:
    """Area under the ROC curve by ranks, ties counted half (Mann-Whitney).

    Args:
      scores: [N].
      positive: bool [N].

    Returns:
      Scalar in 0 to 1; NaN if either class is absent.
    """
    order = jnp.argsort(scores)
    ranked = scores[order]
    below = jnp.searchsorted(ranked, ranked, side="left")
    up_to = jnp.searchsorted(ranked, ranked, side="right")
    rank = (below + up_to + 1) / 2
    hits = positive[order].astype(jnp.float32)
    positives = hits.sum()
    negatives = scores.shape[0] - positives
    wins = (rank * hits).sum() - positives * (positives + 1) / 2
    pairs = positives * negatives
    return jnp.where(pairs > 0, wins / jnp.maximum(pairs, 1), jnp.nan)


def multiclass_auroc(probabilities: jax.Array, labels: jax.Array) -> jax.Array:
    """Unweighted mean of the one-vs-rest areas over the classes that have both kinds of example.

    Args:
      probabilities: [N, K].
      labels: int [N].

    Returns:
      Scalar; NaN if no class is defined.
    """
    classes = jnp.arange(probabilities.shape[1])
    areas = jax.vmap(lambda k: binary_auroc(probabilities[:, k], labels == k))(classes)
    return jnp.nanmean(areas)
