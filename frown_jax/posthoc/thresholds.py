"""From which probability on an Action Unit counts as present: each unit's own, chosen on validation images."""

from __future__ import annotations

import dataclasses

import numpy as np

from frown_jax.data.annotations import Annotations
from frown_jax.member import outputs
from frown_jax.posthoc.adjustment import Adjustment, Outputs

HALF = 0.5


def best_f1(p: np.ndarray, labels: np.ndarray) -> float:
    """The threshold of highest F1, halfway between two neighbouring probabilities; of equal ones the nearest to 0.5.

    Args:
      p: [N] in 0 to 1.
      labels: int [N]: 1, 0, -1 not known.

    Returns:
      In 0 to 1; 0.5 if there is no example of either kind.
    """
    p, y = p[labels >= 0].astype(np.float64), labels[labels >= 0]
    if not y.any() or y.all():
        return HALF
    scores, counts = np.unique(p, return_counts=True)
    hits = np.bincount(np.searchsorted(scores, p), weights=y, minlength=len(scores))
    # Predicted present from scores[k] on.
    predicted, right = (x[::-1].cumsum()[::-1] for x in (counts, hits))
    f1 = 2 * right / (predicted + y.sum())
    cuts = (scores + np.concatenate([[0.0], scores[:-1]])) / 2
    best = np.flatnonzero(f1 >= f1.max() - 1e-12)
    return float(cuts[best[np.argmin(abs(cuts[best] - HALF))]])


def of_validation(labels: np.ndarray, validation: Annotations):
    """A Adjuster: thresholds by `best_f1` on the validation images, whose labels [V, T] these are."""

    def adjust(seen: tuple[Outputs, Outputs], so_far: Adjustment) -> Adjustment:
        p = outputs.probabilities_of(so_far.logits(seen[1], validation), multilabel=True)
        found = [best_f1(p[:, t], labels[:, t]) for t in range(p.shape[1])]
        return dataclasses.replace(so_far, thresholds=np.array(found))

    return adjust


def fixed(value: float, count: int):
    """A Adjuster: the same threshold for all."""

    def adjust(seen: tuple[Outputs, Outputs], so_far: Adjustment) -> Adjustment:
        return dataclasses.replace(so_far, thresholds=np.full(count, value))

    return adjust
