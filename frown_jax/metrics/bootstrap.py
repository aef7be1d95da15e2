"""Intervals from replicates: percentile, BCa, Wilson for small cells. For one run, or for a method over its seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from frown_jax.metrics import classification, fairness, resample
from frown_jax.metrics.intervals import wilson
from frown_jax.metrics.outcomes import Outcomes
from frown_jax.metrics.plan import Plan
from frown_jax.metrics.statistics import Statistics

Array = np.ndarray
SMALL = 50  # a proportion of fewer images gets Wilson's interval
_FEWEST = 0.5  # share of resamples in which a value must be defined to have an interval

Progress = Callable[[int, int], None]  # methods done, of how many


@dataclasses.dataclass(frozen=True)
class Bootstrap:
    """How intervals are made.

    Attributes:
      resamples: B.
      level: of confidence.
      kind: 'percentile'; or 'bca' (bias-corrected and accelerated, Efron 1987), which costs twice as much.
      stratify: 'cells', 'cells and labels' or 'none', see resample.units.
      by_subject: draw subjects with all their images; None: if subjects with several images are known.
      vary_seeds: draw the training seeds too (a hierarchical bootstrap), so that an interval speaks of the method
        and not of these runs; a method with one run cannot.
      seed: of the draws.
    """

    resamples: int = 1000
    level: float = 0.95
    kind: Literal["percentile", "bca"] = "percentile"
    stratify: str = "cells"
    by_subject: bool | None = None
    vary_seeds: bool = True
    seed: int = 0

    def __post_init__(self) -> None:
        if self.resamples < 2:
            raise ValueError(f"resamples={self.resamples}: at least 2")
        if not 0 < self.level < 1:
            raise ValueError(f"level={self.level}: between 0 and 1")
        if self.kind not in ("percentile", "bca"):
            raise ValueError(f"kind={self.kind!r}: 'percentile' or 'bca'")


def quantiles(values: Array, probabilities: Array) -> Array:
    """Quantiles over axis 0 of what is not NaN, linear between order statistics.

    Args:
      values: [B, Q].
      probabilities: [P] or [P, Q], 0 to 1.

    Returns:
      [P, Q]; NaN where nothing is defined, or the probability is NaN.
    """
    ranked = np.sort(values, 0)  # NaN goes last
    count = (~np.isnan(values)).sum(0)
    p = np.broadcast_to(
        np.asarray(probabilities, np.float64).reshape(len(probabilities), -1), (len(probabilities), values.shape[1])
    )
    at = np.where(np.isnan(p), 0, p) * np.maximum(count - 1, 0)
    low = np.floor(at).astype(int)
    high = np.minimum(low + 1, np.maximum(count - 1, 0))
    below, above = np.take_along_axis(ranked, low, 0), np.take_along_axis(ranked, high, 0)
    return np.where(np.isnan(p) | (count == 0), np.nan, below + (above - below) * (at - low))


def percentile(values: Array, level: float) -> Array:
    """Percentile interval, [2, Q] of replicates [B, Q]."""
    return quantiles(values, np.array([(1 - level) / 2, (1 + level) / 2]))


def bca(values: Array, estimate: Array, left_out: Array, level: float) -> Array:
    """BCa interval (Efron 1987; Efron & Tibshirani 1993, equations 14.9 to 14.15).

    Args:
      values: replicates [B, Q].
      estimate: [Q].
      left_out: jackknife values [J, Q].
      level: of confidence.

    Returns:
      [2, Q]; NaN where the estimate is.
    """
    defined = ~np.isnan(values)
    count = np.maximum(defined.sum(0), 1)
    # Ties, up to the replicates' float32, count half, so that a discrete statistic is not taken for a biased one.
    apart = values - estimate
    tied = np.abs(apart) <= 1e-6 * np.maximum(np.abs(estimate), 1)
    below = ((apart < 0) & ~tied & defined).sum(0) + (tied & defined).sum(0) / 2
    z0 = stats.norm.ppf(np.clip(below / count, 0.5 / count, 1 - 0.5 / count))
    with np.errstate(invalid="ignore", divide="ignore"):
        known = ~np.isnan(left_out)
        centre = np.where(known, left_out, 0).sum(0) / np.maximum(known.sum(0), 1)
        influence = np.where(known, centre - left_out, 0)
        a = (influence**3).sum(0) / (6 * (influence**2).sum(0) ** 1.5)
        a = np.where(np.isfinite(a), a, 0)
        z = z0 + stats.norm.ppf(np.array([(1 - level) / 2, (1 + level) / 2]))[:, None]
        p = stats.norm.cdf(z0 + z / (1 - a * z))
    return quantiles(values, np.where(np.isnan(estimate), np.nan, p))


@dataclasses.dataclass(frozen=True)
class Estimates:
    """Methods' values with intervals.

    Attributes:
      rows: what each of the Q values is.
      mean: [methods, Q], over the method's seeds.
      lower, upper: [methods, Q].
      kind: object [methods, Q]: 'percentile', 'bca', 'wilson', 'range' or '' (no interval).
      undefined: [methods, Q], share of resamples in which the value is undefined.
    """

    rows: pd.DataFrame
    mean: Array
    lower: Array
    upper: Array
    kind: Array
    undefined: Array


def members_of(runs: pd.DataFrame) -> tuple[list[str], Array]:
    """Methods in order of appearance, and their runs: int [methods, S], columns are seeds, -1 where there is none.

    Raises:
      ValueError: a method has a seed twice.
    """
    methods, seeds = list(dict.fromkeys(runs["method"])), sorted(set(runs["seed"]))
    members = np.full((len(methods), len(seeds)), -1, np.int32)
    for position, (method, seed) in enumerate(zip(runs["method"], runs["seed"], strict=True)):
        at = methods.index(method), seeds.index(seed)
        if members[at] >= 0:
            raise ValueError(f"method {method!r} has seed {seed} twice")
        members[at] = position
    return methods, members


def over_runs(values: Array, members: Array) -> Array:
    """Mean over each method's runs of what is defined; values [R, Q] -> [methods, Q]."""
    chosen = np.where(members[..., None] >= 0, values[members], np.nan)
    count = (~np.isnan(chosen)).sum(1)
    return np.where(count > 0, np.nansum(chosen, 1) / np.maximum(count, 1), np.nan)


def estimates(
    outcomes: Outcomes,
    plan: Plan,
    settings: Bootstrap = Bootstrap(),
    members: Array | None = None,
    progress: Progress | None = None,
    tallies: Sequence[Statistics] | None = None,
) -> Estimates:
    """Every value with its interval.

    Args:
      outcomes: R runs.
      plan: Q values.
      settings: how.
      members: int [methods, S], runs to average, -1 for none; by default each run by itself.
      progress: is told how far it is.
      tallies: of plan.tallies, if they are at hand.

    Returns:
      A plain proportion of fewer than SMALL images, or whose replicates are all equal (0 or 1), has Wilson's
      interval, as if the method's mean over seeds were one run's on these images. A range over groups whose groups'
      values are in the plan has an interval from their deviations (see docs/statistics.md). A value that is
      undefined in more than half of the resamples has none.
    """
    if members is None:
        members = np.arange(len(outcomes.runs), dtype=np.int32)[:, None]
    tallies = plan.tallies(outcomes) if tallies is None else tallies
    mean, trials = over_runs(plan.values(tallies), members), over_runs(plan.trials(tallies), members)
    drawn = resample.units(outcomes, settings.stratify, settings.by_subject)
    weights = resample.bootstrap_weights(drawn, settings.resamples, settings.seed)
    seeds = seed_weights(members, settings)
    ends = np.full((2, *mean.shape), np.nan)
    undefined = np.zeros(mean.shape)
    ranges = _ranges(plan)
    is_range = np.isin(np.arange(len(plan.rows)), list(ranges))
    left_out = None
    if settings.kind == "bca":
        every = resample.jackknife_weights(drawn, settings.seed)
        left_out = resample.replicates(outcomes, plan, members, every)
    for chosen, values in resample.replicates(outcomes, plan, members, weights, seeds):
        jackknife = None if left_out is None else next(left_out)[1]
        for i, method in enumerate(range(chosen.start, chosen.stop)):
            undefined[method] = np.isnan(values[i]).mean(0)
            if jackknife is None:
                ends[:, method] = percentile(values[i], settings.level)
            else:
                ends[:, method] = bca(values[i], mean[method], jackknife[i], settings.level)
            for row, bases in ranges.items():
                reach = _reach(values[i] - mean[method], bases, settings.level)
                ends[:, method, row] = mean[method, row] + np.array([-reach, reach])
        if progress:
            progress(chosen.stop, len(members))
    ends[0, :, is_range] = np.maximum(ends[0, :, is_range], 0)
    missing = (undefined > 1 - _FEWEST) | np.isnan(mean)
    ends[:, missing] = np.nan
    kind = np.where(missing, "", settings.kind).astype(object)
    kind[~missing & is_range] = "range"
    small = (trials > 0) & ((trials < SMALL) | (ends[0] == ends[1]))
    ends[:, small] = wilson(np.clip(mean * trials, 0, trials)[small], trials[small], settings.level)
    kind[small] = "wilson"
    return Estimates(plan.rows, mean, ends[0], ends[1], kind, undefined)


@dataclasses.dataclass(frozen=True)
class _Bases:
    """The rows of the groups that a range is taken over: int [targets, metrics, groups]."""

    rows: Array
    combined: str
    lift: str


def _ranges(plan: Plan) -> dict[int, _Bases]:
    """For each row that is a range over groups, the rows that it is the range of, if the plan has them."""
    place = {key: i for i, key in enumerate(plan.rows.itertuples(index=False, name=None))}
    out = {}
    for g in plan.groupings:
        groups = [name for name, scored in zip(g.names, g.scored, strict=True) if scored]
        for m in plan.metrics:
            if not m.range_of or not g.attributes or len(groups) < 2:
                continue
            each = plan.targets if m.lift or m.of_target else ("",)
            found = np.array(
                [[[place.get((b, g.label, x, t), -1) for x in groups] for b in m.range_of] for t in each], int
            )
            if (found < 0).any():
                continue
            for i, target in enumerate(plan.targets if m.of_target else ("",)):
                row = place.get((m.name, g.label, "", target))
                if row is not None:
                    out[row] = _Bases(found[i : i + 1] if m.of_target else found, m.combined, m.lift)
    return out


def _reach(deviations: Array, bases: _Bases, level: float) -> float:
    """How far a range over groups may be from its estimate.

    The range of the truth differs from that of the estimates by at most the range of their differences, whose
    quantile the bootstrap knows; quantiles of the range itself do not cover a small gap, which resampling inflates.
    """
    d = deviations[:, bases.rows]  # [B, targets, metrics, groups]
    apart = fairness.difference(d)
    apart = classification.mean_of_defined(apart) if bases.combined == "mean" else classification.largest(apart)
    apart = classification.mean_of_defined(apart) if bases.lift == "mean" else classification.largest(apart)
    return float(quantiles(apart[:, None], np.array([level]))[0, 0])


def seed_weights(members: Array, settings: Bootstrap) -> Array:
    """Weights of each method's seeds in each resample, [methods, B, S]: drawn again if the settings say so.

    Methods with the same seeds have the same draws.
    """
    out = np.ones((len(members), settings.resamples, members.shape[1]), np.float32)
    if settings.vary_seeds:
        for weights, positions in zip(out, members, strict=True):
            present = positions >= 0
            weights[:, present] = resample.seed_weights(int(present.sum()), settings.resamples, settings.seed)
    return out
