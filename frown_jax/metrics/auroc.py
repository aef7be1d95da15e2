"""Metrics inside jitted programs: what early stopping looks at."""

from __future__ import annotations

import jax
import jax.numpy as jnp


def binary_auroc(scores: jax.Array, positive: jax.Array, known: jax.Array | None = None) -> jax.Array:
    """Area under the ROC curve by ranks, ties counted half (Mann-Whitney).

    Args:
      scores: [N].
      positive: bool [N].
      known: bool [N], the examples that count; None: all.

    Returns:
      Scalar in 0 to 1; NaN if either class is absent.
    """
    count = scores.shape[0] if known is None else known.sum()
    if known is not None:  # behind all others
        scores, positive = jnp.where(known, scores, jnp.inf), positive & known
    order = jnp.argsort(scores)
    ranked = scores[order]
    below = jnp.searchsorted(ranked, ranked, side="left")
    up_to = jnp.searchsorted(ranked, ranked, side="right")
    rank = (below + up_to + 1) / 2
    hits = positive[order].astype(jnp.float32)
    positives = hits.sum()
    negatives = count - positives
    wins = (rank * hits).sum() - positives * (positives + 1) / 2
    pairs = positives * negatives
    return jnp.where(pairs > 0, wins / jnp.maximum(pairs, 1), jnp.nan)


def multiclass_auroc(probabilities: jax.Array, labels: jax.Array) -> jax.Array:
    """Unweighted mean of the one-vs-rest areas over the classes that have both kinds of example.

    Args:
      probabilities: [N, K].
      labels: int [N]; examples of label -1 do not count.

    Returns:
      Scalar; NaN if no class is defined.
    """
    classes = jnp.arange(probabilities.shape[1])
    areas = jax.vmap(lambda k: binary_auroc(probabilities[:, k], labels == k, labels >= 0))(classes)
    return jnp.nanmean(areas)


def multilabel_auroc(probabilities: jax.Array, labels: jax.Array) -> jax.Array:
    """Unweighted mean of the areas of the labels of which both kinds of example are known.

    Args:
      probabilities: [N, T].
      labels: int [N, T]: 1, 0, -1 not known.

    Returns:
      Scalar; NaN if no label is defined.
    """
    areas = jax.vmap(lambda p, y: binary_auroc(p, y == 1, y >= 0), 1)(probabilities, labels)
    return jnp.nanmean(areas)
