"""Intervals of values: percentile or BCa, Wilson for small cells. For one run, or for a method over its seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from typing import Literal

import numpy as np
import pandas as pd
from scipy import stats

from frown_jax.metrics import catalogue, resample
from frown_jax.metrics.extremes import Deviations, extremes
from frown_jax.metrics.intervals import wilson
from frown_jax.metrics.outcomes import Outcomes
from frown_jax.metrics.plan import Plan
from frown_jax.metrics.reference import Variances, reach
from frown_jax.metrics.statistics import Statistics
from frown_jax.metrics.variance import Resampled, moderated

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
      vary_seeds: let the spread over training seeds widen intervals, so that they speak of the method and not of
        these runs; a method with one run cannot.
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
      kind: object [methods, Q]: 'percentile', 'bca', 'wilson', 'extreme' or '' (no interval).
      undefined: [methods, Q], share of resamples in which the value is undefined.
      sd_images, sd_seeds: [methods, Q], standard deviation of the mean over these seeds that comes of the images, and
        of the seeds.
      chance, chance_high, debiased: [methods, Q], of gaps: see extremes.ByChance; NaN for other values.
    """

    rows: pd.DataFrame
    mean: Array
    lower: Array
    upper: Array
    kind: Array
    undefined: Array
    sd_images: Array
    sd_seeds: Array
    chance: Array
    chance_high: Array
    debiased: Array


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
      Quantiles of the resampled images, stretched about the estimate by what the seeds add (see `reference`), within
      the metric's range. A proportion that is worth fewer than SMALL independent images has Wilson's interval of as
      many images as its variance stands for, at most as many as there are subjects. An extreme over groups whose
      groups' values are in the plan has an interval from their deviations (see `extremes`). A value that is undefined
      in more than half of the resamples, or that rests on a single subject, has none.
    """
    if members is None:
        members = np.arange(len(outcomes.runs), dtype=np.int32)[:, None]
    tallies = plan.tallies(outcomes) if tallies is None else tallies
    of_runs, trials = plan.values(tallies), over_runs(plan.trials(tallies), members)
    mean = over_runs(of_runs, members)
    drawn = resample.units(outcomes, settings.stratify, settings.by_subject)
    units, alone = resample.units_of_values(plan, drawn)
    df_images = np.full(len(units), np.inf) if drawn.are_images else np.maximum(units - 1.0, 1)
    draws = resample.Draws(outcomes, plan, drawn, settings.resamples, settings.seed)
    found = extremes(plan)
    ends = np.full((2, *mean.shape), np.nan)
    undefined = np.zeros(mean.shape)
    chance = np.full((3, *mean.shape), np.nan)
    parts: list[Variances] = []
    left_out: Iterator[Array] | None = None
    if settings.kind == "bca":
        every = resample.replicates(outcomes, plan, members, resample.jackknife_weights(drawn, settings.seed))
        left_out = (one for _, several in every for one in several)
    for i, positions in enumerate(members):
        own = positions[positions >= 0]
        noise = Deviations(found, of_runs[own], trials[i], units)
        resampled = Resampled(noise.watch(draws.of_runs(own)))
        undefined[i] = resampled.undefined
        if left_out is None:
            ends[:, i] = percentile(resampled.mean, settings.level)
        else:
            ends[:, i] = bca(resampled.mean, mean[i], next(left_out), settings.level)
        for extreme in found:
            low, high = noise.errors(extreme)
            ends[:, i, extreme.row] = mean[i, extreme.row] - _tails(low, high, settings.level)
            if extreme.metric.extreme == "range":
                chance[:, i, extreme.row] = dataclasses.astuple(noise.by_chance(extreme))
        values = of_runs[own] if settings.vary_seeds else of_runs[own][:1]
        parts.append(resampled.variances(values, df_images))
        if progress:
            progress(i + 1, len(members))
    v = steadied(parts)
    z = stats.norm.ppf((1 + settings.level) / 2)
    half = reach(v, settings.level)
    with np.errstate(invalid="ignore", divide="ignore"):
        stretch = np.where(v.images > 0, half / (z * np.sqrt(v.images)), 1)
    ends = mean + (ends - mean) * np.maximum(np.nan_to_num(stretch, nan=1.0), 1)
    bounds = np.array([[catalogue.metric(m).low, catalogue.metric(m).high] for m in plan.rows["metric"]]).T
    ends = np.clip(ends, bounds[0], bounds[1])
    missing = (undefined > 1 - _FEWEST) | np.isnan(mean)
    kind = np.where(missing, "", settings.kind).astype(object)
    is_extreme = np.isin(np.arange(len(plan.rows)), [e.row for e in found])
    kind[~missing & is_extreme] = "extreme"
    worth = _worth(mean, trials, half, v, alone, drawn.are_images, z)
    small = (trials > 0) & ((worth < SMALL) | (ends[0] == ends[1]))
    if not drawn.are_images:
        worth = np.where(small, np.minimum(worth, np.maximum(units, 1)), worth)
    ends[:, small] = wilson(np.clip(mean * worth, 0, worth)[small], worth[small], settings.level)
    kind[small] = "wilson"
    missing |= (not drawn.are_images) & (units < 2)
    ends[:, missing] = np.nan
    kind[missing] = ""
    return Estimates(
        plan.rows, mean, ends[0], ends[1], kind, undefined, np.sqrt(v.images), np.sqrt(v.of_seeds), *chance
    )


def steadied(parts: Sequence[Variances], shared: Array | None = None) -> Variances:
    """The variances of several methods, [M, Q], their spreads over seeds steadied by each other's; see `moderated`."""
    v = Variances(*(np.stack([getattr(p, f.name) for p in parts]) for f in dataclasses.fields(Variances)))
    seeds, df = moderated(v.seeds, v.df_seeds, shared)
    return dataclasses.replace(v, seeds=seeds, df_seeds=df)


def _tails(low: Array, high: Array, level: float) -> Array:
    """How far below and above the estimate its errors lie: [2], to be taken from the estimate."""
    upper, lower = np.array([(1 + level) / 2]), np.array([(1 - level) / 2])
    return np.array([quantiles(high[:, None], upper)[0, 0], quantiles(low[:, None], lower)[0, 0]])


def _worth(mean: Array, trials: Array, half: Array, v: Variances, alone: Array, images: bool, z: float) -> Array:
    """How many independent images a proportion's variance stands for (the design effect taken away)."""
    with np.errstate(invalid="ignore", divide="ignore"):
        seen = z**2 * mean * (1 - mean) / half**2
    least = np.broadcast_to(trials if images else np.minimum(trials, alone), mean.shape)
    known = np.isfinite(seen) & (seen > 0)
    if images:
        known &= v.count > 1  # the variance of a binomial needs no estimate
        return np.where(known, np.minimum(seen, trials), least)
    return np.where(known, np.clip(seen, least, np.maximum(trials, least)), least)
