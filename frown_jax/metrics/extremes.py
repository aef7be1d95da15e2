"""Worst groups, best groups and gaps: what noise alone makes of them.

The smallest of several groups is too small on average, a gap too large, and quantiles of resamples do not know it:
they hold a gap of 0 half of the time. What is known is how far each group may be from its truth, and from that how
far an extreme may be from its own. The error of the smallest of some estimates lies between the smallest and the
largest of their errors, that of a gap between (smallest error at the top - largest at the bottom) and (largest at the
top - smallest at the bottom); only groups that may be at the top or the bottom count.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
from scipy import stats

from frown_jax.metrics.catalogue import Metric
from frown_jax.metrics.plan import Plan

Array = np.ndarray
_CANDIDATES = 2.0  # standard errors from the extreme within which a group may be the extreme one
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
        with np.errstate(invalid="ignore"):
            top = _near(values, errors)
            bottom = _near(-values, errors)
            gap = np.nanmax(_or(values, -np.inf), -1) - np.nanmin(_or(values, np.inf), -1)
        gap = np.where(np.isfinite(gap), gap, -np.inf).max(1)
        room = _CANDIDATES * np.sqrt(2) * errors.max((1, 2))
        deciding = gap + room >= gap.max() - room if self.metric.lift == "max" else np.isfinite(gap)
        return top, bottom, deciding

    def errors(self, deviations: Array, candidates: tuple[Array, Array, Array]) -> tuple[Array, Array]:
        """The smallest and the largest error that the extreme may have, [B].

        Args:
          deviations: [B, T, K, G], of the groups' values from their own.
          candidates: of `candidates`.
        """
        top, bottom, deciding = candidates
        d = deviations
        high_top, low_top = _over(d, top, np.nanmax), _over(d, top, np.nanmin)
        high_bottom, low_bottom = _over(d, bottom, np.nanmax), _over(d, bottom, np.nanmin)
        if self.metric.extreme == "min":
            low, high = low_bottom, high_bottom
        elif self.metric.extreme == "max":
            low, high = low_top, high_top
        else:
            low, high = low_top - high_bottom, high_top - low_bottom
        if self.metric.combined == "mean":
            low, high = np.nanmean(low, 2), np.nanmean(high, 2)
        else:
            low, high = np.nanmin(low, 2), np.nanmax(high, 2)
        low, high = low[:, deciding], high[:, deciding]
        if self.metric.lift == "mean":
            return np.nanmean(low, 1), np.nanmean(high, 1)
        return np.nanmin(low, 1), np.nanmax(high, 1)

    def bias(self, low: Array, high: Array) -> float:
        """By how much the extreme is off on average if its candidates are in truth equal."""
        return float(np.nanmean(low if self.metric.extreme == "min" else high))

    def value(self, values: Array) -> Array:
        """The extreme of values of groups [..., T, K, G], [...]."""
        top, bottom = np.nanmax(_or(values, -np.inf), -1), np.nanmin(_or(values, np.inf), -1)
        x = {"min": bottom, "max": top, "range": top - bottom}[self.metric.extreme]
        x = np.where(np.isfinite(x), x, np.nan)
        x = np.nanmean(x, -1) if self.metric.combined == "mean" else np.nanmax(x, -1)
        return np.nanmean(x, -1) if self.metric.lift == "mean" else np.nanmax(x, -1)


def _or(x: Array, other: float) -> Array:
    return np.where(np.isnan(x), other, x)


def _near(values: Array, errors: Array) -> Array:
    """Groups whose value may be the largest of theirs."""
    filled = _or(values, -np.inf)
    first = filled.argmax(-1)[..., None]
    apart = np.take_along_axis(filled, first, -1) - filled
    return (apart <= _CANDIDATES * np.hypot(errors, np.take_along_axis(errors, first, -1))) & ~np.isnan(values)


def _over(d: Array, chosen: Array, how: Callable[..., Array]) -> Array:
    """An extreme over the chosen groups; NaN without one."""
    worst = -np.inf if how is np.nanmax else np.inf
    x = how(np.where(chosen & ~np.isnan(d), d, worst), -1)
    return np.where(np.isfinite(x), x, np.nan)


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


def by_chance(extreme: Extreme, values: Array, deviations: Sequence[Array]) -> ByChance:
    """The noise floor of a gap.

    Args:
      extreme: a range over groups.
      values: [S, T, K, G], the groups' values of each seed.
      deviations: for each seed [B, T, K, G], resamples of the groups' values less those values.
    """
    equal = np.mean([extreme.value(d) for d in deviations], 0)
    centre = _spread_of_truth(_mean(values), np.mean(deviations, 0))
    bias = float(np.mean([np.nanmean(extreme.value(centre + d)) for d in deviations]) - extreme.value(centre))
    seen = float(np.nanmean(extreme.value(values)))
    return ByChance(float(np.nanmean(equal)), float(np.nanquantile(equal, 0.95)), max(seen - bias, 0.0))


def _spread_of_truth(mean: Array, noise: Array) -> Array:
    """Groups' values drawn together until they spread as their truths do, the noise taken away (empirical Bayes)."""
    variance = np.nan_to_num(np.nanvar(noise, 0))
    # A group that happens not to vary is no better known than the others.
    variance = np.maximum(variance, variance.mean(-1, keepdims=True) / 2)
    added = np.nanmean(np.nanvar(noise, -1, ddof=1), 0)[..., None]
    spread = np.maximum(np.nanvar(mean, -1, ddof=1)[..., None] - added, 0)
    weight = np.where(np.isnan(mean), 0, 1 / np.maximum(variance + spread, 1e-12))
    centre = (weight * np.nan_to_num(mean)).sum(-1, keepdims=True) / np.maximum(weight.sum(-1, keepdims=True), 1e-12)
    return centre + (mean - centre) * np.sqrt(spread / np.maximum(spread + variance, 1e-12))


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
        mean = np.mean(drawn, 0)
        variance = np.nan_to_num(np.nanvar(mean, 0))
        n = self._worth[extreme.bases]
        p = np.clip(_spread_of_truth(self.means(extreme), mean), 0, 1)
        p = (n * p + 1) / (n + 2)
        with np.errstate(invalid="ignore"):
            lacking = np.maximum(np.nan_to_num(p * (1 - p) / n) / len(drawn) - variance, 0)
        if (lacking > 0).any():
            more = np.random.default_rng(0).normal(size=mean.shape) * np.sqrt(lacking)
            drawn = [d + more for d in drawn]
        self._kept[extreme.row] = drawn, np.sqrt(variance + lacking)
        return self._kept[extreme.row]

    def means(self, extreme: Extreme) -> Array:
        """The groups' means over seeds, [T, K, G]."""
        return _mean(self._values[:, extreme.bases])

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
        return by_chance(extreme, self._values[:, extreme.bases], self._of(extreme)[0])


def _mean(x: Array) -> Array:
    """Mean over axis 0 of what is defined."""
    count = (~np.isnan(x)).sum(0)
    return np.where(count > 0, np.nansum(x, 0) / np.maximum(count, 1), np.nan)
