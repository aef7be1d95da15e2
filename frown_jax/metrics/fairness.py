"""Group fairness of K-class predictions over M groups, in the studies' definitions."""

from __future__ import annotations

import numpy as np

from frown_jax.metrics import classification


def generalized_equal_opportunity(
    labels: np.ndarray, predictions: np.ndarray, groups: np.ndarray, classes: int, group_count: int
) -> float:
    """Xu et al. 2020's F: min over groups / max over groups of S_g, the sum over classes of the group's recalls.

    1 is equal. A class that some group lacks is left out of every S_g (in the first study's code it makes the
    result undefined). F is blind to levelling down: read it beside the worst group's accuracy.

    Args:
      labels, predictions: int [N], 0 to K - 1.
      groups: int [N], 0 to M - 1; negative rows are not scored.
      classes: K.
      group_count: M.

    Returns:
      A value in 0 to 1; NaN with fewer than two groups, no class in common, or all recalls 0.
    """
    by_group = np.stack(
        [
            classification.recalls(classification.confusion(labels[groups == g], predictions[groups == g], classes))
            for g in range(group_count)
            if (groups == g).any()
        ]
        or [np.full(classes, np.nan)]
    )
    shared = np.isfinite(by_group).all(0)
    if len(by_group) < 2 or not shared.any():
        return float("nan")
    scores = by_group[:, shared].sum(1)
    return float(scores.min() / scores.max()) if scores.max() > 0 else float("nan")


def statistical_parity_gap(predictions: np.ndarray, groups: np.ndarray, classes: int, group_count: int) -> float:
    """Largest difference between groups in how often a class is predicted: max_k (max_g r - min_g r), r = P(k | g).

    0 is equal. Credited by the first study's code to Denis et al. 2022.

    Args:
      predictions: int [N], 0 to K - 1.
      groups: int [N], 0 to M - 1; negative rows are not scored.
      classes: K.
      group_count: M.

    Returns:
      A value in 0 to 1; NaN with fewer than two groups.
    """
    rates = [
        np.bincount(predictions[groups == g], minlength=classes) / (groups == g).sum()
        for g in range(group_count)
        if (groups == g).any()
    ]
    if len(rates) < 2:
        return float("nan")
    stacked = np.stack(rates)
    return float((stacked.max(0) - stacked.min(0)).max())
