"""Worst groups, best groups and gaps: what noise alone makes of them.

The smallest of several groups is too small on average, a gap too large, and quantiles of resamples do not know it:
they hold a gap of 0 half of the time. What is known is how far each group may be from its truth, and from that how
far an extreme may be from its own. The error of the smallest of some estimates lies between the smallest and the
largest of their errors, that of a gap between (smallest error at the top - largest at the bottom) and (largest at the
top - smallest at the bottom); only groups that may be at the top or the bottom count.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from scipy import stats

from frown_jax.metrics.catalogue import Metric
from frown_jax.metrics.classification import largest, mean_of_defined, smallest
from frown_jax.metrics.plan import Plan

Array = np.ndarray
_CANDIDATES = 2.0  # standard errors from the extreme within which a group may be the extreme one
_SCORE = stats.norm.ppf(0.975) ** 2
_DIFFERENT = 0.05  # level at which two methods are taken to treat groups differently


@dataclasses.dataclass(frozen=True)
class Extreme:
    """A row that is an extreme over groups, and the rows of the groups it is taken over.

    Attributes:
      row: its position in the plan.
      bases: int [T, K, G]: targets, metrics, groups.
      metric: how the values of groups become one: `extreme`, `combined`, `lift`.
    """

    row: int
    bases: Array
    metric: Metric

    def candidates(self, values: Array, errors: Array) -> tuple[Array, Array, Array]:
        """Which groups may be at the top and at the bottom, bool [T, K, G], and which targets may decide, bool [T].

        Args:
          values: [T, K, G].
          errors: [T, K, G], standard errors.
        """
        errors = np.where(np.isnan(errors), 0, errors)
        top, bottom = _near(values, errors), _near(-values, errors)
        gap = _or(largest(values) - smallest(values), -np.inf).max(1)
        room = _CANDIDATES * np.sqrt(2) * errors.max((1, 2))
        deciding = np.isfinite(gap)
        if self.metric.lift == "max" and deciding.any():
            deciding &= gap + room >= gap.max() - room
        return top, bottom, deciding

    def errors(self, deviations: Array, candidates: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        """The smallest and the largest error that the extreme may have, [B].

        Args:
          deviations: [B, T, K, G], of the groups' values from their own.
          candidates: of `candidates`.
        """
        top, bottom, deciding = candidates
        at_top, at_bottom = (np.where(chosen, deviations, np.nan) for chosen in (top, bottom))
        if self.metric.extreme == "min":
            low, high = smallest(at_bottom), largest(at_bottom)
        elif self.metric.extreme == "max":
            low, high = smallest(at_top), largest(at_top)
        else:
            low, high = smallest(at_top) - largest(at_bottom), largest(at_top) - smallest(at_bottom)
        if self.metric.combined == "mean":
            low, high = mean_of_defined(low), mean_of_defined(high)
        else:
            low, high = smallest(low), largest(high)
        low, high = (np.where(deciding, x, np.nan) for x in (low, high))
        if self.metric.lift == "mean":
            return mean_of_defined(low), mean_of_defined(high)
        return smallest(low), largest(high)

    def bias(self, low: Array, high: Array) -> float:
        """By how much the extreme is off on average if its candidates are in truth equal."""
        return float(mean_of_defined(low if self.metric.extreme == "min" else high))

    def value(self, values: Array) -> Array:
        """The extreme of values of groups [..., T, K, G], [...]."""
        top, bottom = largest(values), smallest(values)
        x = {"min": bottom, "max": top, "range": top - bottom}[self.metric.extreme]
        x = mean_of_defined(x) if self.metric.combined == "mean" else largest(x)
        return mean_of_defined(x) if self.metric.lift == "mean" else largest(x)


def _or(x: Array, other: float) -> Array:
    return np.where(np.isnan(x), other, x)


def _near(values: Array, errors: Array) -> Array:
    """Groups whose value may be the largest of theirs."""
    filled = _or(values, -np.inf)
    first = filled.argmax(-1)[..., None]
    with np.errstate(invalid="ignore"):  # of nothing but undefined values
        apart = np.take_along_axis(filled, first, -1) - filled
    return (apart <= _CANDIDATES * np.hypot(errors, np.take_along_axis(errors, first, -1))) & ~np.isnan(values)


def extremes(plan: Plan) -> list[Extreme]:
    """The plan's rows that are extremes over groups, as far as the groups' own rows are in the plan."""
    place = {key: i for i, key in enumerate(plan.rows.itertuples(index=False, name=None))}
    out = []
    for g in plan.groupings:
        groups = [name for name, scored in zip(g.names, g.scored, strict=True) if scored]
        for m in plan.metrics:
            if not m.extreme_of or not g.attributes or len(groups) < 2:
                continue
            each = plan.targets if m.lift or m.of_target else ("",)
            found = np.array(
                [[[place.get((b, g.label, x, t), -1) for x in groups] for b in m.extreme_of] for t in each], int
            )
            if (found < 0).any():
                continue
            for i, target in enumerate(plan.targets if m.of_target else ("",)):
                row = place.get((m.name, g.label, "", target))
                if row is not None:
                    out.append(Extreme(row, found[i : i + 1] if m.of_target else found, m))
    return out


def same_profile(difference: Array, errors: Array) -> bool:
    """Whether two methods may differ by the same amount in every group (a chi-square test).

    Args:
      difference: [T, K, G], of the groups' values.
      errors: [T, K, G], standard errors.
    """
    weight = np.where((errors > 0) & np.isfinite(difference), 1 / np.maximum(errors, 1e-12) ** 2, 0)
    total = weight.sum(-1, keepdims=True)
    mean = (weight * np.nan_to_num(difference)).sum(-1, keepdims=True) / np.maximum(total, 1e-12)
    statistic = float((weight * (np.nan_to_num(difference) - mean) ** 2).sum())
    df = int(np.maximum((weight > 0).sum(-1) - 1, 0).sum())
    return df < 1 or statistic <= stats.chi2.ppf(1 - _DIFFERENT, df)


@dataclasses.dataclass(frozen=True)
class ByChance:
    """What a gap would be if all groups were equal.

    Attributes:
      mean: on average.
      high: its 95 % quantile.
      debiased: the gap without what noise adds to it, at least 0.
    """

    mean: float
    high: float
    debiased: float


def by_chance(extreme: Extreme, values: Array, deviations: Sequence[Array], variance: Array) -> ByChance:
    """The noise floor of a gap.

    Args:
      extreme: a range over groups.
      values: [S, T, K, G], the groups' values of each seed.
      deviations: for each seed [B, T, K, G], resamples of the groups' values less those values.
      variance: [T, K, G], of the groups' means over seeds.
    """
    equal = np.mean([extreme.value(d) for d in deviations], 0)
    centre = _spread_of_truth(mean_of_defined(values, 0), variance)
    noisy = [float(mean_of_defined(extreme.value(centre + d))) for d in deviations]
    seen = float(mean_of_defined(extreme.value(values)))
    known = equal[np.isfinite(equal)]
    if not len(known):
        return ByChance(np.nan, np.nan, np.nan)
    bias = float(np.mean(noisy) - extreme.value(centre))
    return ByChance(float(known.mean()), float(np.quantile(known, 0.95)), max(seen - bias, 0.0))


def _spread_of_truth(mean: Array, variance: Array) -> Array:
    """Groups' values drawn together until they spread as their truths do, the noise taken away (empirical Bayes).

    Args:
      mean: [T, K, G].
      variance: [T, K, G], of the noise.
    """
    known = ~np.isnan(mean)
    spread = np.maximum(_variance(mean) - mean_of_defined(np.where(known, variance, np.nan)), 0)[..., None]
    spread = np.nan_to_num(spread)
    weight = np.where(known, 1 / np.maximum(variance + spread, 1e-12), 0)
    centre = (weight * np.nan_to_num(mean)).sum(-1, keepdims=True) / np.maximum(weight.sum(-1, keepdims=True), 1e-12)
    return centre + (mean - centre) * np.sqrt(spread / np.maximum(spread + variance, 1e-12))


def _variance(x: Array, axis: int = -1) -> Array:
    """Unbiased variance of what is defined; NaN with fewer than two values."""
    squares = mean_of_defined((x - np.expand_dims(mean_of_defined(x, axis), axis)) ** 2, axis)
    count = (~np.isnan(x)).sum(axis)
    return np.where(count > 1, squares * count / np.maximum(count - 1, 1), np.nan)


class Deviations:
    """How far resampled values of groups lie from their own, for one method.

    A group that is all right does not vary when drawn again, though it could have been otherwise. Where groups may in
    truth be alike, a proportion's deviations therefore get at least the variance it has at the groups' shared value.
    """

    def __init__(self, found: Sequence[Extreme], values: Array, trials: Array, units: Array):
        """Prepares.

        Args:
          found: extremes that are asked for.
          values: [S, Q].
          trials: [Q], denominators of the values that are proportions, else NaN.
          units: int [Q].
        """
        self._rows = np.unique(np.concatenate([e.bases.ravel() for e in found])) if found else np.zeros(0, int)
        self._values, self._worth = values, np.fmin(trials, units + 0 * trials)
        self._of_seeds: list[Array] = []
        self._kept: dict[int, tuple[list[Array], Array]] = {}

    def watch(self, blocks: Iterable[Array]) -> Iterator[Array]:
        """Passes the resamples of each seed, [B, Q], on, and keeps those of groups."""
        for seed, block in enumerate(blocks):
            if len(self._rows):
                self._of_seeds.append(block[:, self._rows] - self._values[seed, self._rows])
            yield block

    def _of(self, extreme: Extreme) -> tuple[list[Array], Array]:
        """Of each seed [B, T, K, G], and standard errors of the mean over seeds [T, K, G]."""
        if extreme.row in self._kept:
            return self._kept[extreme.row]
        at = np.searchsorted(self._rows, extreme.bases)
        drawn = [d[:, at] for d in self._of_seeds]
        variance = np.nan_to_num(_variance(np.mean(drawn, 0), 0))
        alike, _ = self._if_alike(extreme, variance)
        lacking = np.maximum(alike - variance, 0)
        if (lacking > 0).any():
            more = np.random.default_rng(0).normal(size=drawn[0].shape) * np.sqrt(lacking)
            drawn = [d + more for d in drawn]
        self._kept[extreme.row] = drawn, np.sqrt(variance + lacking)
        return self._kept[extreme.row]

    def _if_alike(self, extreme: Extreme, variance: Array) -> tuple[Array, Array]:
        """Variances [T, K, G] of the groups' means at the values that they may in truth have, and if all are equal.

        0 where they are no proportions.
        """
        n, p = self._worth[extreme.bases], self.means(extreme)
        fine = (n > 0) & np.isfinite(p)
        n, p = np.where(fine, n, 1), np.where(fine, p, 0)

        def of(x: Array) -> Array:
            return np.where(fine, x * (1 - x) / n, 0)

        def inner(x: Array) -> Array:
            return (n * x + _SCORE / 2) / (n + _SCORE)  # the middle of Wilson's interval

        common = (fine * n * p).sum(-1, keepdims=True) / np.maximum((fine * n).sum(-1, keepdims=True), 1)
        # By how much subjects or an average over seeds make the variance another than a binomial's.
        effect = (n * variance).sum(-1, keepdims=True) / np.maximum((n * of(p)).sum(-1, keepdims=True), 1e-12)
        centre = _spread_of_truth(np.where(fine, p, np.nan), effect * of(common + 0 * p))
        centre = np.clip(np.nan_to_num(centre), 0, 1)
        return effect * np.maximum(of(inner(centre)), of(inner(p))), effect * of(common + 0 * p)

    def means(self, extreme: Extreme) -> Array:
        """The groups' means over seeds, [T, K, G]."""
        return mean_of_defined(self._values[:, extreme.bases], 0)

    def candidates(self, extreme: Extreme) -> tuple[Array, Array, Array]:
        """Of Extreme.candidates, from the mean over seeds."""
        return extreme.candidates(self.means(extreme), self._of(extreme)[1])

    def errors(self, extreme: Extreme) -> tuple[Array, Array]:
        """The smallest and the largest error of the mean over seeds of an extreme, [B] each."""
        chosen = self.candidates(extreme)
        low, high = zip(*(extreme.errors(d, chosen) for d in self._of(extreme)[0]), strict=True)
        return np.mean(low, 0), np.mean(high, 0)

    def by_chance(self, extreme: Extreme) -> ByChance:
        """The noise floor of a gap."""
        at = np.searchsorted(self._rows, extreme.bases)
        drawn = [d[:, at] for d in self._of_seeds]
        variance = np.nan_to_num(_variance(np.mean(drawn, 0), 0))
        _, equal = self._if_alike(extreme, variance)
        if (equal > 0).any():  # proportions: as they would vary around one value
            equal = np.where(equal > 0, equal, variance)
            more = np.random.default_rng(0).normal(size=drawn[0].shape) * np.sqrt(np.where(variance > 0, 0, equal))
            scale = np.sqrt(np.where(variance > 0, equal / np.maximum(variance, 1e-30), 1))
            drawn, variance = [d * scale + more for d in drawn], equal
        return by_chance(extreme, self._values[:, extreme.bases], drawn, variance)
