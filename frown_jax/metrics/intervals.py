"""Intervals for a single proportion, and how small an effect could have been seen. numpy in, numpy or float out."""

from __future__ import annotations

import numpy as np
from scipy import stats

Array = np.ndarray


def wilson(successes: Array | int, count: Array | int, level: float = 0.95) -> tuple[Array, Array]:
    """Wilson's score interval of a proportion.

    Unlike the bootstrap it keeps its level in small cells and at 0 and 1 (Brown, Cai & DasGupta 2001).

    Args:
      successes: any shape, 0 to `count`.
      count: the same shape.
      level: of confidence.

    Returns:
      Lower and upper ends in 0 to 1, float64; NaN where the count is 0.

    >>> [round(float(end), 4) for end in wilson(12, 18)]
    [0.4375, 0.8372]
    """
    k, n = np.asarray(successes, np.float64), np.asarray(count, np.float64)
    if (k < 0).any() or (k > n).any():
        raise ValueError("successes must lie between 0 and count")
    z = stats.norm.ppf((1 + level) / 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        p = k / n
        centre = (p + z**2 / (2 * n)) / (1 + z**2 / n)
        half = z / (1 + z**2 / n) * np.sqrt(p * (1 - p) / n + z**2 / (4 * n**2))
    # Exactly 0 and 1 at the ends, which rounding would miss.
    return np.where(k == 0, np.where(n > 0, 0.0, np.nan), centre - half), np.where(
        k == n, np.where(n > 0, 1.0, np.nan), centre + half
    )


def minimum_detectable_effect(
    count: int, accuracy: float, agreement: float = 0.9, level: float = 0.95, power: float = 0.8
) -> float:
    """The smallest difference in accuracy between two methods on the same images that a test would mostly find.

    The power is that of the exact McNemar test, summed over every number of images on which the methods differ.

    Args:
      count: images.
      accuracy: of the control, 0 to 1.
      agreement: share of images on which the two methods are both right or both wrong, 0 to 1; an effect larger than
        the rest lowers it.
      level: of the test's confidence, two-sided.
      power: probability of finding the effect.

    Returns:
      A difference in accuracy, at least 1 / count; NaN if there are no images, or if not even a change of every
      wrong or every right answer would be found.
    """
    if count <= 0:
        return float("nan")
    if not 0 <= accuracy <= 1 or not 0 <= agreement <= 1:
        raise ValueError("accuracy and agreement must lie between 0 and 1")
    differing = np.arange(count + 1)
    # The test rejects when the larger count reaches `needed`; a two-sided exact p doubles the tail.
    needed = stats.binom.isf((1 - level) / 2, differing, 0.5) + 1

    def found(effect: float) -> float:
        discordant = max(1 - agreement, effect)
        gained = (discordant + effect) / (2 * discordant)
        rejected = stats.binom.sf(needed - 1, differing, gained) + stats.binom.cdf(
            differing - needed, differing, gained
        )
        return float((stats.binom.pmf(differing, count, discordant) * rejected).sum())

    low, high = 0.0, max(accuracy, 1 - accuracy)
    if found(high) < power:
        return float("nan")
    for _ in range(30):
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) >= power else (middle, high)
    return max(high, 1 / count)
