"""Every metric by name: how it is computed, on what it rests, which way is better. docs/metrics.md explains them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

from frown_jax.metrics import classification as c
from frown_jax.metrics import fairness as f
from frown_jax.metrics.statistics import Statistics

Array = Any
Function = Callable[[Statistics], Array]
# What a metric has one value for.
Per = Literal["group", "group and target", "attribute", "attribute and target"]
Better = Literal["higher", "lower", "neither"]
# The images that a value rests on.
Rests = Literal["images", "positives", "negatives"]


@dataclasses.dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes:
      name: as in tables and files.
      compute: of Statistics; result [..., M], [..., M, T], [...] or [..., T] as `per` says.
      per: what has a value of its own.
      better: which way is better, or 'neither'.
      low, high: range.
      rests_on: which images n counts.
      trials: the denominator if the metric is a plain proportion (Wilson's interval applies), [..., M(, T)].
      scored: whether it needs probabilities.
      over_targets: whether it averages or compares classes, so that an absent class changes its meaning.
      extreme_of: metrics of groups, if this one is an extreme of them over groups; of several, `combined`.
      extreme: which one: how far groups are apart, the smallest or the largest.
      lift: how values of targets became one.
    """

    name: str
    compute: Callable[[Statistics], Array]
    per: Per
    better: Better
    low: float = 0.0
    high: float = 1.0
    rests_on: Rests = "images"
    trials: Callable[[Statistics], Array] | None = None
    scored: bool = False
    over_targets: bool = False
    extreme_of: tuple[str, ...] = ()
    extreme: Literal["range", "min", "max"] = "range"
    combined: Literal["max", "mean"] = "max"
    lift: Literal["", "max", "mean"] = ""

    @property
    def of_target(self) -> bool:
        return self.per.endswith("target")

    @property
    def of_attribute(self) -> bool:
        return self.per.startswith("attribute")


INFINITY = float("inf")


_GROUP = (
    Metric("accuracy", c.accuracy, "group", "higher", trials=lambda s: s.count),
    Metric("balanced_accuracy", c.balanced_accuracy, "group", "higher", over_targets=True),
    Metric("macro_f1", c.macro_f1, "group", "higher", over_targets=True),
    Metric("weighted_f1", c.weighted_f1, "group", "higher"),
    Metric("macro_precision", c.macro_precision, "group", "higher", over_targets=True),
    Metric("macro_recall", c.macro_recall, "group", "higher", over_targets=True),
    Metric("worst_class_recall", c.worst_class_recall, "group", "higher", over_targets=True),
    Metric("auroc", c.auroc, "group", "higher", scored=True, over_targets=True),
    Metric("log_loss", c.log_loss, "group", "lower", high=INFINITY, scored=True),
    Metric("brier", c.brier, "group", "lower", high=2.0, scored=True),
    Metric("ece", c.ece, "group", "lower", scored=True),
)
_GROUP_TARGET = (
    Metric("recall", c.recall, "group and target", "higher", rests_on="positives", trials=lambda s: s.positive),
    Metric("precision", c.precision, "group and target", "higher", trials=lambda s: s.predicted),
    Metric("f1", c.f1, "group and target", "higher"),
    Metric("selection_rate", c.selection_rate, "group and target", "neither", trials=lambda s: s.known),
    Metric(
        "false_positive_rate",
        c.false_positive_rate,
        "group and target",
        "lower",
        rests_on="negatives",
        trials=lambda s: s.known - s.positive,
    ),
    Metric("target_auroc", c.target_auroc, "group and target", "higher", scored=True),
)
_INDIVIDUAL = (
    Metric("generalized_entropy_index", c.generalized_entropy_index, "group and target", "lower", high=INFINITY),
    Metric("theil_index", c.theil_index, "group and target", "lower", high=INFINITY),
)
_ATTRIBUTE = (
    Metric(
        "worst_group_accuracy",
        f.between(c.accuracy, c.smallest),
        "attribute",
        "higher",
        extreme_of=("accuracy",),
        extreme="min",
    ),
    Metric(
        "best_group_accuracy",
        f.between(c.accuracy, c.largest),
        "attribute",
        "higher",
        extreme_of=("accuracy",),
        extreme="max",
    ),
    Metric("midrange_accuracy", f.between(c.accuracy, f.midrange), "attribute", "higher"),
    Metric("accuracy_difference", f.between(c.accuracy, f.difference), "attribute", "lower", extreme_of=("accuracy",)),
    Metric("accuracy_ratio", f.between(c.accuracy, f.min_max_ratio), "attribute", "higher"),
    Metric("adjusted_accuracy", f.adjusted(c.accuracy), "attribute", "higher"),
    Metric("worst_group_recall", f.worst_group_recall, "attribute", "higher", over_targets=True),
    Metric("group_mean_f1", f.adjusted(c.macro_f1), "attribute", "higher", over_targets=True),
    Metric("generalized_equal_opportunity", f.generalized_equal_opportunity, "attribute", "higher", over_targets=True),
    Metric(
        "statistical_parity_gap",
        f.statistical_parity_gap,
        "attribute",
        "lower",
        extreme_of=("selection_rate",),
        lift="max",
    ),
    Metric(
        "worst_group_auroc",
        f.between(c.auroc, c.smallest),
        "attribute",
        "higher",
        scored=True,
        over_targets=True,
        extreme_of=("auroc",),
        extreme="min",
    ),
    Metric(
        "auroc_difference",
        f.between(c.auroc, f.difference),
        "attribute",
        "lower",
        scored=True,
        over_targets=True,
        extreme_of=("auroc",),
    ),
    Metric(
        "worst_group_ece",
        f.between(c.ece, c.largest),
        "attribute",
        "lower",
        scored=True,
        extreme_of=("ece",),
        extreme="max",
    ),
    Metric("ece_difference", f.between(c.ece, f.difference), "attribute", "lower", scored=True, extreme_of=("ece",)),
)


def _lifted(name: str, compute: Callable[[Statistics], Array], better: Better, **more: Any) -> list[Metric]:
    """A metric of each target, with its worst and its mean value over targets."""
    worst, word = (c.smallest, "min") if better == "higher" else (c.largest, "max")
    of_each = Metric(name, compute, "attribute and target", better, over_targets=True, **more)
    return [
        of_each,
        dataclasses.replace(
            of_each, name=f"{name}_{word}", compute=lambda s: worst(compute(s)), per="attribute", lift="max"
        ),
        dataclasses.replace(
            of_each,
            name=f"{name}_mean",
            compute=lambda s: c.mean_of_defined(compute(s)),
            per="attribute",
            lift="mean",
        ),
    ]


_ODDS = ("recall", "false_positive_rate")
_LIFTED = (
    *_lifted("demographic_parity_difference", f.demographic_parity_difference, "lower", extreme_of=("selection_rate",)),
    *_lifted("demographic_parity_ratio", f.demographic_parity_ratio, "higher"),
    *_lifted("equal_opportunity_difference", f.equal_opportunity_difference, "lower", extreme_of=("recall",)),
    *_lifted("equal_opportunity_ratio", f.equal_opportunity_ratio, "higher"),
    *_lifted("equalized_odds_difference", f.equalized_odds_difference, "lower", extreme_of=_ODDS),
    *_lifted("equalized_odds_ratio", f.equalized_odds_ratio, "higher"),
    *_lifted("average_odds_difference", f.average_odds_difference, "lower", extreme_of=_ODDS, combined="mean"),
    *_lifted(
        "false_positive_rate_difference",
        f.false_positive_rate_difference,
        "lower",
        extreme_of=("false_positive_rate",),
    ),
    *_lifted("bias_amplification", f.bias_amplification, "lower"),
    *_lifted("statistical_parity_subgroup_fairness", f.statistical_parity_subgroup_fairness, "lower"),
    *_lifted("false_positive_subgroup_fairness", f.false_positive_subgroup_fairness, "lower"),
    *_lifted("between_group_entropy_index", f.between_group_entropy_index, "lower", high=INFINITY),
)

METRICS: dict[str, Metric] = {m.name: m for m in (*_GROUP, *_GROUP_TARGET, *_INDIVIDUAL, *_ATTRIBUTE, *_LIFTED)}

# What comparisons and reports look at.
HEADLINE = (
    "accuracy",
    "balanced_accuracy",
    "macro_f1",
    "auroc",
    "worst_group_accuracy",
    "best_group_accuracy",
    "midrange_accuracy",
    "accuracy_difference",
    "generalized_equal_opportunity",
    "demographic_parity_difference_max",
    "equal_opportunity_difference_max",
    "equalized_odds_difference_max",
)

# What verdicts are about unless something else is declared: of everybody, and of each single attribute.
PRIMARY = ("accuracy", "worst_group_accuracy", "accuracy_difference")


def register(per: Per, better: Better, **more: Any) -> Callable[[Function], Function]:
    """Makes a function of Statistics a metric under its own name; the arguments are Metric's.

    >>> @register("group", "lower", trials=lambda s: s.count)
    ... def error_rate(s):
    ...     return 1 - c.accuracy(s)
    >>> METRICS.pop("error_rate").better
    'lower'

    Raises:
      ValueError: there is a metric of that name.
    """

    def add(function: Function) -> Function:
        name = function.__name__
        if name in METRICS:
            raise ValueError(f"there is a metric {name!r} already: choose another name")
        METRICS[name] = Metric(name, function, per, better, **more)
        return function

    return add


def metric(name: str) -> Metric:
    """The metric of that name.

    Raises:
      ValueError: there is none.
    """
    if name not in METRICS:
        raise ValueError(f"there is no metric {name!r}; there are {', '.join(METRICS)}")
    return METRICS[name]
