"""Offsets to the logits of each group and class that make groups alike at a bounded cost in accuracy."""

from __future__ import annotations

import numpy as np

OBJECTIVES = ("worst_group", "opportunity")
REACH, STEPS = 3.0, 61  # candidates of an offset lie within +-3 of 0
ROUNDS = 20


def fit(
    logits: np.ndarray, labels: np.ndarray, groups: np.ndarray, count: int, objective: str, most_loss: float
) -> np.ndarray:
    """Offsets by coordinate ascent from 0.

    Each move takes the best candidate for one group and class, by the objective and, where that does not change, by the
    mean of the groups' balanced accuracies; it stops where no move helps.

    Args:
      logits: [N, K].
      labels: int [N].
      groups: int [N], -1: in no group, whose predictions stay as they are.
      count: G.
      objective: one of OBJECTIVES.
      most_loss: of accuracy over all N, against offsets of 0.

    Returns:
      float64 [G, K], 0 for groups without images.
    """
    n, k = logits.shape
    offsets = np.zeros((count, k))
    right = logits.argmax(1) == labels
    correct = {-1: int(right[groups < 0].sum())}
    balanced = np.full(count, np.nan)
    parts = {}
    for g in range(count):
        rows = groups == g
        if rows.any():
            parts[g] = (logits[rows], labels[rows])
            correct[g] = int(right[rows].sum())
            balanced[g] = _balanced(right[rows][None], labels[rows], k)[0]
    floor = sum(correct.values()) - most_loss * n - 1e-9
    best = _score(balanced[None], objective)[0]
    grid = np.linspace(-REACH, REACH, STEPS)
    for _ in range(ROUNDS):
        moved = False
        for g, (z, y) in parts.items():
            for c in range(k):
                hits = _hits(z, y, offsets[g], c, grid)
                total = sum(correct.values()) - correct[g] + hits.sum(1)
                each = np.repeat(balanced[None], len(grid), 0)
                each[:, g] = _balanced(hits, y, k)
                scores = np.where((total >= floor)[:, None], _score(each, objective), -np.inf)
                # The best by the first score, then the second, then the nearest to where it is.
                order = np.lexsort((-np.abs(grid - offsets[g, c]), scores[:, 1], scores[:, 0]))
                found = order[-1]
                if _better(scores[found], best):
                    offsets[g, c], best, moved = grid[found], scores[found], True
                    correct[g], balanced[g] = int(hits[found].sum()), each[found, g]
        if not moved:
            break
    return offsets


def _better(a: np.ndarray, b: np.ndarray, tolerance: float = 1e-9) -> bool:
    """By the first score, then the second."""
    return bool(a[0] > b[0] + tolerance or (a[0] > b[0] - tolerance and a[1] > b[1] + tolerance))


def _hits(z: np.ndarray, y: np.ndarray, offsets: np.ndarray, c: int, grid: np.ndarray) -> np.ndarray:
    """Whether each image is right with each candidate as the offset of class c; bool [candidates, n]."""
    rest = z + offsets
    rest[:, c] = -np.inf
    other, level = rest.argmax(1), rest.max(1)
    wins = z[:, c] + grid[:, None] > level
    return np.where(wins, y == c, other == y)


def _balanced(hits: np.ndarray, y: np.ndarray, k: int) -> np.ndarray:
    """Mean recall of the classes that are there; [candidates]."""
    classes = [y == c for c in range(k) if (y == c).any()]
    return np.mean([hits[:, inside].mean(1) for inside in classes], 0)


def _score(balanced: np.ndarray, objective: str) -> np.ndarray:
    """What is raised first and what second, [candidates, 2], of the groups' balanced accuracies."""
    low, high = np.nanmin(balanced, 1), np.nanmax(balanced, 1)
    first = low if objective == "worst_group" else low / np.maximum(high, 1e-12)
    return np.stack([first, np.nanmean(balanced, 1)], 1)
