"""Performance of a classifier on a set of images. Undefined is NaN, never 0."""

from __future__ import annotations

import numpy as np
from scipy.stats import rankdata


def confusion(labels: np.ndarray, predictions: np.ndarray, classes: int) -> np.ndarray:
    """Counts, int64 [K, K]: rows are true classes, columns predicted ones.

    Args:
      labels: int [N], 0 to K - 1.
      predictions: int [N], 0 to K - 1.
      classes: K.
    """
    return np.bincount(labels * classes + predictions, minlength=classes * classes).reshape(classes, classes)


def accuracy(labels: np.ndarray, predictions: np.ndarray) -> float:
    """Share of correct predictions; NaN for no image."""
    return float((labels == predictions).mean()) if len(labels) else float("nan")


def recalls(matrix: np.ndarray) -> np.ndarray:
    """Recall of each class, float64 [K]; NaN for a class without images."""
    totals = matrix.sum(1)
    return np.divide(np.diag(matrix), totals, out=np.full(len(matrix), np.nan), where=totals > 0)


def balanced_accuracy(matrix: np.ndarray) -> float:
    """Mean recall over the classes that occur."""
    r = recalls(matrix)
    return float(np.nanmean(r)) if np.isfinite(r).any() else float("nan")


def f1_scores(matrix: np.ndarray) -> np.ndarray:
    """F1 of each class, float64 [K]: 2 TP / (2 TP + FP + FN); NaN where a class neither occurs nor is predicted."""
    true_positive = np.diag(matrix)
    total = matrix.sum(0) + matrix.sum(1)
    return np.divide(2.0 * true_positive, total, out=np.full(len(matrix), np.nan), where=total > 0)


def macro_f1(matrix: np.ndarray) -> float:
    """Unweighted mean of the defined class F1s."""
    f = f1_scores(matrix)
    return float(np.nanmean(f)) if np.isfinite(f).any() else float("nan")


def weighted_f1(matrix: np.ndarray) -> float:
    """Class F1s weighted by how often the classes occur, as the first study's."""
    support = matrix.sum(1)
    if not support.sum():
        return float("nan")
    return float((np.nan_to_num(f1_scores(matrix)) * support).sum() / support.sum())


def auroc_per_class(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """One-vs-rest area under the ROC curve by ranks, ties half; float64 [K], NaN where undefined.

    Args:
      labels: int [N].
      probabilities: [N, K].
    """
    out = np.full(probabilities.shape[1], np.nan)
    for k in range(probabilities.shape[1]):
        positive = labels == k
        p, n = int(positive.sum()), int((~positive).sum())
        if p and n:
            out[k] = (rankdata(probabilities[:, k])[positive].sum() - p * (p + 1) / 2) / (p * n)
    return out


def auroc(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Unweighted mean of the defined one-vs-rest areas, as the first study's."""
    areas = auroc_per_class(labels, probabilities)
    return float(np.nanmean(areas)) if np.isfinite(areas).any() else float("nan")


def log_loss(labels: np.ndarray, probabilities: np.ndarray) -> float:
    """Mean negative log-probability of the true class, nats."""
    if not len(labels):
        return float("nan")
    picked = probabilities[np.arange(len(labels)), labels].astype(np.float64)
    return float(-np.log(np.clip(picked, 1e-12, 1)).mean())
