"""How much a class counts in the loss, from its count in training."""

from __future__ import annotations

import numpy as np

from frown_jax.data.annotations import Annotations, effective_weight


def from_counts(how: str, counts: np.ndarray) -> np.ndarray:
    """Weight of each class from its count in training.

    Args:
      how: 'none' (1), 'inverse' (n / (K n_k)), 'effective_number' (in proportion to (1 - b) / (1 - b^n_k), b = .9999;
        Cui et al. 2019), both of mean 1 over the examples, 'repo' (softmax(1 / n_k), which is what the first study's
        code computes and is uniform in effect).
      counts: int [K].

    Returns:
      float32 [K]; 0 for a class without examples (except 'none').

    Raises:
      ValueError: unknown `how`.
    """
    counts = np.asarray(counts, np.float64)
    present = counts > 0
    if how == "none":
        return np.ones(len(counts), np.float32)
    inverse = np.divide(1, counts, out=np.zeros_like(counts), where=present)
    if how == "inverse":
        return (inverse * counts.sum() / max(present.sum(), 1)).astype(np.float32)
    if how == "effective_number":
        effective = effective_weight(counts)
        return (effective * counts.sum() / max((effective * counts).sum(), 1e-12)).astype(np.float32)
    if how == "repo":
        powers = np.where(present, np.exp(inverse), 0)
        return (powers / powers.sum()).astype(np.float32)
    raise ValueError(f"there are no class weights {how!r}")


def of(how: str, data: Annotations) -> np.ndarray:
    """Of a training set: float32 [K]; of many labels [K, 2], each label's absence and presence as two classes."""
    classes = len(data.classes)
    if not data.multilabel:
        return from_counts(how, np.bincount(data.labels, minlength=classes))
    counts = [(data.labels == value).sum(0) for value in (0, 1)]
    return np.stack([from_counts(how, c) for c in np.stack(counts, 1)])
