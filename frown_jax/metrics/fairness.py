"""Fairness between groups. Every function takes `Statistics` of the groups that are scored.

Results have the statistics' leading axes without the groups' axis; those "of each target" end in T targets, and
`lift` makes one number of them. A group without images, or without a class, is left out of that comparison (NaN in
fairlearn's terms, where it would enter as 0); fewer than two groups with a value give NaN.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from frown_jax.metrics import classification
from frown_jax.metrics.classification import largest, mean_of_defined, namespace, ratio, smallest
from frown_jax.metrics.statistics import Statistics, once

Array = Any
GroupMetric = Callable[[Statistics], Array]


def _enough(values: Array, axis: int, result: Array) -> Array:
    """NaN where fewer than two groups have a value."""
    xp = namespace(values)
    return xp.where((~xp.isnan(values)).sum(axis) > 1, result, xp.nan)


def difference(values: Array, axis: int = -1) -> Array:
    """Largest minus smallest over the groups' axis."""
    return _enough(values, axis, largest(values, axis) - smallest(values, axis))


def midrange(values: Array, axis: int = -1) -> Array:
    """Halfway between the smallest and the largest over the groups' axis.

    Its change says how a gap closed: it rises where the worst group rose more than the best one fell.
    """
    return _enough(values, axis, (largest(values, axis) + smallest(values, axis)) / 2)


def min_max_ratio(values: Array, axis: int = -1) -> Array:
    """Smallest over largest over the groups' axis; NaN if the largest is 0."""
    return _enough(values, axis, ratio(smallest(values, axis), largest(values, axis)))


def difference_to_overall(values: Array, overall: Array, axis: int = -1) -> Array:
    """Largest absolute distance of a group from everybody; `overall` has no groups' axis."""
    xp = namespace(values)
    return largest(abs(values - xp.expand_dims(overall, axis)), axis)


def ratio_to_overall(values: Array, overall: Array, axis: int = -1) -> Array:
    """Smallest ratio, turned below 1, of a group to everybody."""
    xp = namespace(values)
    r = ratio(values, xp.expand_dims(overall, axis) + 0 * values)
    return smallest(xp.minimum(r, ratio(xp.ones_like(r), r)), axis)


def everybody(s: Statistics) -> Statistics:
    """The groups' counts together, one group; ranks and scores' sums are not pooled."""
    pooled = [getattr(s, f).sum(-2)[..., None, :] for f in ("known", "positive", "predicted", "hit")]
    return Statistics(s.multilabel, s.count.sum(-1)[..., None], *pooled)


# Of each target


@once
def demographic_parity_difference(s: Statistics) -> Array:
    """Largest minus smallest selection rate of each target (fairlearn's, one class against the rest)."""
    return difference(classification.selection_rate(s), -2)


@once
def demographic_parity_ratio(s: Statistics) -> Array:
    """Smallest over largest selection rate of each target (fairlearn's)."""
    return min_max_ratio(classification.selection_rate(s), -2)


@once
def equal_opportunity_difference(s: Statistics) -> Array:
    """Largest minus smallest recall of each target (fairlearn's).

    Its maximum and mean over classes are DEO_M and DEO_A of Jung et al. 2022 ("cgl_fairness").
    """
    return difference(classification.recall(s), -2)


@once
def equal_opportunity_ratio(s: Statistics) -> Array:
    """Smallest over largest recall of each target (fairlearn's)."""
    return min_max_ratio(classification.recall(s), -2)


@once
def equalized_odds_difference(s: Statistics) -> Array:
    """The larger of the differences in true and false positive rate of each target (fairlearn's, worst case)."""
    xp = namespace(s.hit)
    return xp.maximum(equal_opportunity_difference(s), difference(classification.false_positive_rate(s), -2))


@once
def equalized_odds_ratio(s: Statistics) -> Array:
    """The smaller of the ratios of true and false positive rates of each target (fairlearn's, worst case)."""
    xp = namespace(s.hit)
    return xp.minimum(equal_opportunity_ratio(s), min_max_ratio(classification.false_positive_rate(s), -2))


@once
def average_odds_difference(s: Statistics) -> Array:
    """Mean of the differences in true and false positive rate of each target (fairlearn's agg='mean')."""
    return (equal_opportunity_difference(s) + difference(classification.false_positive_rate(s), -2)) / 2


@once
def false_positive_rate_difference(s: Statistics) -> Array:
    """Largest minus smallest false positive rate of each target (EOFP of Qian et al. 2021)."""
    return difference(classification.false_positive_rate(s), -2)


@once
def bias_amplification(s: Statistics) -> Array:
    """|share of a group among those predicted - among those true| of each target, for its largest group.

    Wang et al. 2020 and Qian et al. 2021. If several groups are largest, the largest value among them; NaN for a single
    group with images, whose share is always 1. (The code of
    Qian et al. takes the last group with an example for the largest one, which is the same with two groups.)
    """
    xp = namespace(s.hit)
    true = ratio(s.positive, s.positive.sum(-2)[..., None, :] + 0 * s.positive)
    predicted = ratio(s.predicted, s.predicted.sum(-2)[..., None, :] + 0 * s.predicted)
    is_largest = true >= largest(true, -2)[..., None, :] - 1e-6
    amplified = largest(xp.where(is_largest, abs(predicted - true), xp.nan), -2)
    return xp.where((s.known > 0).sum(-2) > 1, amplified, xp.nan)


@once
def statistical_parity_subgroup_fairness(s: Statistics) -> Array:
    """Sum over groups of their share times |selection rate - everybody's|, of each target.

    Kearns et al. 2018, summed over groups as in Qian et al. 2021 (SPSF).
    """
    everyone = classification.selection_rate(everybody(s))
    share = ratio(s.known, s.known.sum(-2)[..., None, :] + 0 * s.known)
    return _weighted_distance(classification.selection_rate(s), everyone, share)


@once
def false_positive_subgroup_fairness(s: Statistics) -> Array:
    """As `statistical_parity_subgroup_fairness`, of false positive rates; shares of the negatives among all (FPSF)."""
    everyone = classification.false_positive_rate(everybody(s))
    share = ratio(s.known - s.positive, s.known.sum(-2)[..., None, :] + 0 * s.known)
    return _weighted_distance(classification.false_positive_rate(s), everyone, share)


def _weighted_distance(values: Array, everyone: Array, share: Array) -> Array:
    xp = namespace(values)
    distance = xp.where(xp.isnan(values), 0.0, share * abs(values - everyone)).sum(-2)
    return _enough(values, -2, distance)


@once
def between_group_entropy_index(s: Statistics) -> Array:
    """Generalised entropy index, alpha 2, of the groups' mean benefits, of each target (Speicher et al. 2018)."""
    xp = namespace(s.hit)
    benefit = ratio(s.known + s.predicted - s.positive, s.known)
    n = s.known.sum(-2)
    mean = classification.mean_benefit((s.known + s.predicted - s.positive).sum(-2), n)
    total = xp.where(s.known > 0, s.known * benefit**2, 0.0).sum(-2)
    return _enough(benefit, -2, (ratio(total, n) / mean**2 - 1) / 2)


# One number


@once
def generalized_equal_opportunity(s: Statistics) -> Array:
    """Xu et al. 2020's F: min over groups / max over groups of S_g, the sum over classes of the group's recalls.

    1 is equal. A class that some group lacks is left out of every S_g (in the first study's code it makes the
    result undefined). F is blind to levelling down: read it beside the worst group's accuracy.
    """
    xp = namespace(s.hit)
    recalls = classification.recall(s)
    inhabited = (s.count > 0)[..., None]
    shared = (~xp.isnan(recalls) | ~inhabited).all(-2) & inhabited.any(-2)
    sums = xp.where(shared[..., None, :] & inhabited, recalls, 0.0).sum(-1)
    sums = xp.where(inhabited[..., 0] & shared.any(-1)[..., None], sums, xp.nan)
    return min_max_ratio(sums)


@once
def statistical_parity_gap(s: Statistics) -> Array:
    """Largest difference between groups in how often a class is predicted: max_k (max_g r - min_g r), r = P(k | g).

    0 is equal. Credited by the first study's code to Denis et al. 2022; equals the largest demographic parity
    difference.
    """
    return largest(demographic_parity_difference(s))


@once
def worst_group_recall(s: Statistics) -> Array:
    """Lowest recall over (class, group) cells that have images: worst-group accuracy of the robustness literature."""
    return smallest(smallest(classification.recall(s)))


def adjusted(metric: GroupMetric) -> GroupMetric:
    """Mean over groups, each counting once."""
    return lambda s: mean_of_defined(metric(s))


def between(metric: GroupMetric, how: Callable[[Array], Array]) -> GroupMetric:
    """A metric of groups made into one number by `difference`, `min_max_ratio`, `smallest` or `largest`."""
    return lambda s: how(metric(s))
