"""Performance within each group. Every function takes `Statistics`; undefined is NaN, never 0 or 1.

Results have the statistics' leading axes, then M groups, and for those "of each target" then T targets: the classes,
each against the rest, or the labels of a multi-label task. numpy in, numpy out; JAX in, JAX out.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from frown_jax.metrics.statistics import Statistics, once

Array = Any


def namespace(x: Array) -> Any:
    """jax.numpy for JAX arrays and tracers, else numpy."""
    return jnp if isinstance(x, jax.Array) else np


def ratio(above: Array, below: Array) -> Array:
    """above / below; NaN where below is 0."""
    xp = namespace(above)
    return xp.where(below > 0, above / xp.where(below > 0, below, 1), xp.nan)


def mean_of_defined(x: Array, axis: int = -1) -> Array:
    """Mean of what is not NaN; NaN if nothing is."""
    xp = namespace(x)
    defined = ~xp.isnan(x)
    return ratio(xp.where(defined, x, 0.0).sum(axis), defined.sum(axis))


def largest(x: Array, axis: int = -1) -> Array:
    """Maximum of what is not NaN; NaN if nothing is."""
    xp = namespace(x)
    top = xp.where(xp.isnan(x), -xp.inf, x).max(axis)
    return xp.where(top == -xp.inf, xp.nan, top)


def smallest(x: Array, axis: int = -1) -> Array:
    """Minimum of what is not NaN; NaN if nothing is."""
    return -largest(-x, axis)


# Of each target


@once
def recall(s: Statistics) -> Array:
    """TP / (TP + FN) of each target: the true positive rate."""
    return ratio(s.hit, s.positive)


@once
def precision(s: Statistics) -> Array:
    """TP / (TP + FP) of each target; NaN where it is never predicted."""
    return ratio(s.hit, s.predicted)


@once
def f1(s: Statistics) -> Array:
    """2 TP / (2 TP + FP + FN) of each target; NaN where it neither occurs nor is predicted."""
    return ratio(2 * s.hit, s.positive + s.predicted)


@once
def selection_rate(s: Statistics) -> Array:
    """Share of images for which the target is predicted."""
    return ratio(s.predicted, s.known)


@once
def false_positive_rate(s: Statistics) -> Array:
    """FP / (FP + TN) of each target."""
    return ratio(s.predicted - s.hit, s.known - s.positive)


@once
def target_accuracy(s: Statistics) -> Array:
    """(TP + TN) / all of each target."""
    return ratio(s.known - s.positive - s.predicted + 2 * s.hit, s.known)


@once
def target_auroc(s: Statistics) -> Array:
    """Area under the ROC curve of each target against the rest: P(positive scored above negative), ties half."""
    return ratio(s.concordant, s.positive * (s.known - s.positive))


def mean_benefit(benefits: Array, count: Array) -> Array:
    """Mean benefit; NaN where nobody has any, for which entropy indices are undefined."""
    xp = namespace(benefits)
    mean = ratio(benefits, count)
    return xp.where(mean > 0, mean, xp.nan)


@once
def generalized_entropy_index(s: Statistics) -> Array:
    """Of each target, alpha 2, over benefits b = prediction - label + 1: mean((b / mean b)^2 - 1) / 2.

    Speicher et al. 2018. 0 if all fare alike; a false positive counts as a benefit of 2, a miss as 0.
    """
    mean = mean_benefit(s.known + s.predicted - s.positive, s.known)
    right = s.known - s.positive - s.predicted + 2 * s.hit
    return (ratio(right + 4 * (s.predicted - s.hit), s.known) / mean**2 - 1) / 2


@once
def theil_index(s: Statistics) -> Array:
    """Of each target, over the same benefits: mean((b / mean b) log(b / mean b)), nats."""
    xp = namespace(s.hit)
    mean = mean_benefit(s.known + s.predicted - s.positive, s.known)
    right = s.known - s.positive - s.predicted + 2 * s.hit
    over = s.predicted - s.hit
    return ratio(-right * xp.log(mean) + over * 2 * xp.log(2 / mean), s.known) / mean


# Of each group


@once
def accuracy(s: Statistics) -> Array:
    """Share of correct predictions; multi-label: the mean of the targets' accuracies."""
    if s.multilabel:
        return mean_of_defined(target_accuracy(s))
    return ratio(s.hit.sum(-1), s.count)


@once
def balanced_accuracy(s: Statistics) -> Array:
    """Mean recall over the classes that occur; multi-label: mean over targets of (TPR + TNR) / 2."""
    if s.multilabel:
        return mean_of_defined((recall(s) + 1 - false_positive_rate(s)) / 2)
    return mean_of_defined(recall(s))


@once
def worst_class_recall(s: Statistics) -> Array:
    """Lowest recall of the classes that occur; it needs no attributes."""
    return smallest(recall(s))


@once
def macro_precision(s: Statistics) -> Array:
    """Mean of the defined precisions."""
    return mean_of_defined(precision(s))


@once
def macro_recall(s: Statistics) -> Array:
    """Mean of the defined recalls."""
    return mean_of_defined(recall(s))


@once
def macro_f1(s: Statistics) -> Array:
    """Mean of the defined F1s."""
    return mean_of_defined(f1(s))


@once
def weighted_f1(s: Statistics) -> Array:
    """F1s weighted by how often the targets occur, as both studies'."""
    xp = namespace(s.hit)
    return ratio((xp.where(s.positive > 0, f1(s), 0.0) * s.positive).sum(-1), s.positive.sum(-1))


@once
def auroc(s: Statistics) -> Array:
    """Unweighted mean of the defined one-vs-rest areas, as the first study's."""
    return mean_of_defined(target_auroc(s))


@once
def _answered(s: Statistics) -> Array:
    return s.known.sum(-1) if s.multilabel else s.count


@once
def log_loss(s: Statistics) -> Array:
    """Mean negative log-probability of the true label, nats, p clipped at 1e-12; multi-label: over known labels."""
    return ratio(s.log_loss, _answered(s))


@once
def brier(s: Statistics) -> Array:
    """Brier 1950: mean over images of the squared error summed over classes, 0 to 2; multi-label: (1 - p(true))^2."""
    return ratio(s.brier, _answered(s))


@once
def ece(s: Statistics) -> Array:
    """Expected calibration error (Guo et al. 2017): 15 equal bins on [0, 1] of the answer's probability.

    Sum over bins of |sum of (correct - confidence)| / n. Positive by construction: a small group's is biased upwards.
    """
    return ratio(abs(s.miscalibration).sum(-1), _answered(s))
