"""Which candidate would have been chosen: selection rules over stored validation results, after training.

A candidate is anything with validation and test values: a method, a hyperparameter setting, a checkpoint. Rules see
validation values only; the oracle sees the test set and is a bound, never a result (Gulrajani & Lopez-Paz 2021).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import pandas as pd
from scipy import stats

Array = np.ndarray
DEFAULT_FLOOR = 0.01


@dataclasses.dataclass(frozen=True)
class Candidates:
    """Validation values of C candidates.

    Attributes:
      names: C.
      overall: [C] accuracy.
      auroc: [C] macro AUROC; NaN without probabilities.
      worst_class: [C] lowest recall of a class.
      by_group: [C, G] accuracy of each scored group; NaN without images.
      opportunity: [C] generalized_equal_opportunity (Xu et al.'s F).
    """

    names: tuple[str, ...]
    overall: Array
    auroc: Array
    worst_class: Array
    by_group: Array
    opportunity: Array

    @property
    def worst_group(self) -> Array:
        return np.where(np.isnan(self.by_group).all(1), np.nan, np.nanmin(_filled(self.by_group, np.inf), 1))


def _filled(x: Array, value: float) -> Array:
    return np.where(np.isnan(x), value, x)


def pareto(values: Array) -> Array:
    """Which rows no other row beats: at least as good everywhere and better somewhere; bool [C] of values [C, G]."""
    v = _filled(values, -np.inf)
    at_least, better = np.all(v[None] >= v[:, None], axis=-1), np.any(v[None] > v[:, None], axis=-1)
    return ~np.any(at_least & better, axis=1)


def pareto_worst_group(c: Candidates, _: float) -> Array:
    """Worst group's accuracy among candidates that are Pareto-optimal over groups (Zong et al. 2023); others last."""
    worst = c.worst_group
    return np.where(pareto(c.by_group), worst, worst - 1)


def distance_to_optimum(c: Candidates, _: float) -> Array:
    """Minus the distance of the groups' accuracies, each over the best candidate's, from 1 (Zong et al. 2023)."""
    best = np.nanmax(_filled(c.by_group, -np.inf), 0)
    return -np.sqrt(np.nansum((c.by_group / np.where(best > 0, best, np.nan) - 1) ** 2, 1))


def opportunity_above_floor(c: Candidates, floor: float) -> Array:
    """F among candidates whose accuracy is at most `floor` below the best one's; others last."""
    return np.where(c.overall >= np.nanmax(c.overall) - floor, c.opportunity, c.opportunity - 1)


RULES: dict[str, Callable[[Candidates, float], Array]] = {
    "overall accuracy": lambda c, _: c.overall,
    "macro AUROC": lambda c, _: c.auroc,
    "worst group": lambda c, _: c.worst_group,
    "worst class": lambda c, _: c.worst_class,
    "Pareto, then worst group": pareto_worst_group,
    "distance to optimum": distance_to_optimum,
    "max F above accuracy floor": opportunity_above_floor,
}
ORACLE = "oracle: worst group on test (a bound)"


def candidates(values: pd.DataFrame, attribute: str, groups: tuple[str, ...] | None = None) -> Candidates:
    """Candidates from a results table of one split.

    Args:
      values: columns candidate, metric, attribute, group, target, value; several rows of one value (seeds) are
        averaged.
      attribute: whose groups count.
      groups: that count; by default those of the table.

    Raises:
      ValueError: the table lacks a metric of everybody, or the attribute.
    """
    means = values.groupby(["candidate", "metric", "attribute", "group", "target"], sort=False)["value"].mean()
    names = tuple(dict.fromkeys(values["candidate"]))

    def column(metric: str, of: str = "") -> Array:
        try:
            return means.loc[:, metric, of, "", ""].reindex(names).to_numpy(np.float64)
        except KeyError:
            return np.full(len(names), np.nan)

    overall = column("accuracy")
    if np.isnan(overall).all():
        raise ValueError("the table has no accuracy of everybody")
    try:
        wide = means.loc[:, "accuracy", attribute, :, ""].unstack("group")
    except KeyError:
        raise ValueError(f"the table has no accuracy by {attribute!r}") from None
    wide = wide.reindex(index=names, columns=list(groups) if groups else [g for g in wide.columns if g])
    return Candidates(
        names,
        overall,
        column("auroc"),
        column("worst_class_recall"),
        wide.to_numpy(np.float64),
        column("generalized_equal_opportunity", attribute),
    )


def scores(c: Candidates, floor: float = DEFAULT_FLOOR) -> pd.DataFrame:
    """How every rule scores every candidate (higher is chosen); rows are candidates, columns the rules."""
    return pd.DataFrame(
        {name: rule(c, floor) for name, rule in RULES.items()}, index=pd.Index(c.names, name="candidate")
    )


def select(
    validation: pd.DataFrame,
    test: pd.DataFrame | None,
    attribute: str,
    groups: tuple[str, ...] | None = None,
    floor: float = DEFAULT_FLOOR,
) -> pd.DataFrame:
    """What each rule chooses, and what that is worth on the test set.

    Args:
      validation, test: as for `candidates`; without a test table only the choice is known.
      attribute: whose groups count.
      groups: that count.
      floor: of 'max F above accuracy floor', in accuracy.

    Returns:
      A row a rule, the oracle last: attribute, rule, chosen, and the chosen candidate's test_accuracy,
      test_worst_group, test_opportunity, and regret (the oracle's worst group minus the chosen one's). A rule that
      is undefined for every candidate chooses ''.
    """
    table = scores(candidates(validation, attribute, groups), floor)
    chosen = {rule: (str(s.idxmax()) if s.notna().any() else "") for rule, s in table.items()}
    after = None if test is None else candidates(test, attribute, groups)
    if after is not None and np.isfinite(after.worst_group).any():
        chosen[ORACLE] = after.names[int(np.nanargmax(after.worst_group))]
    out = pd.DataFrame({"attribute": attribute, "rule": list(chosen), "chosen": list(chosen.values())})
    if after is not None:
        at = [after.names.index(name) if name in after.names else -1 for name in out["chosen"]]
        for column, values in (
            ("test_accuracy", after.overall),
            ("test_worst_group", after.worst_group),
            ("test_opportunity", after.opportunity),
        ):
            out[column] = np.append(values, np.nan)[at]
        out["regret"] = _filled(after.worst_group, -np.inf).max() - out["test_worst_group"]
    return out


@dataclasses.dataclass(frozen=True)
class Stability:
    """How much the ranking of candidates depends on the rule.

    Attributes:
      ranks: candidates x rules, 1 is best, ties share their mean.
      kendall_tau: rules x rules, -1 to 1, ties corrected.
      kendall_w: agreement of all rules, 0 to 1; NaN with fewer than two rules or candidates.
    """

    ranks: pd.DataFrame
    kendall_tau: pd.DataFrame
    kendall_w: float


def stability(table: pd.DataFrame) -> Stability:
    """Agreement of the rules; table of `scores`. Rules that are undefined for a candidate are left out."""
    table = table.loc[:, table.notna().all()]
    ranks = table.rank(ascending=False)
    rules = list(table.columns)
    tau = pd.DataFrame(np.eye(len(rules)), index=rules, columns=rules)
    for i, a in enumerate(rules):
        for b in rules[:i]:
            tied = ranks[a].nunique() < 2 or ranks[b].nunique() < 2
            tau.loc[a, b] = tau.loc[b, a] = np.nan if tied else stats.kendalltau(ranks[a], ranks[b]).statistic
    n, m = ranks.shape
    if n < 2 or m < 2:
        return Stability(ranks, tau, float("nan"))
    ties = sum(float((c**3 - c).sum()) for r in rules if (c := ranks[r].value_counts().to_numpy()).size)
    spread = ((ranks.sum(axis=1) - ranks.sum(axis=1).mean()) ** 2).sum()
    below = m**2 * (n**3 - n) - m * ties
    return Stability(ranks, tau, float(12 * spread / below) if below > 0 else float("nan"))
