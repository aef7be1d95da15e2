"""Images drawn again: weights, and every value of a plan under many weightings at once, on the device.

All runs get the same weights, so that differences between them are paired. Sources: Efron & Tibshirani 1993
(bootstrap, clusters, jackknife), Rao & Wu 1988 (drawing one fewer than there are, for few seeds).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from frown_jax.errors import OutcomesError
from frown_jax.metrics import catalogue
from frown_jax.metrics.outcomes import Outcomes
from frown_jax.metrics.plan import AXES, Plan
from frown_jax.metrics.statistics import Answers, tally_weighted

Array = Any
_BLOCKS = 1000  # of the jackknife
_MEMORY = 1 << 29  # bytes of replicates held at once
_AT_ONCE = 8  # methods between two reports of progress


@dataclasses.dataclass(frozen=True)
class Units:
    """What is drawn again: images, or subjects with all their images, within strata.

    Attributes:
      of_image: int32 [N], 0 to U - 1.
      stratum: int32 [U], 0 to H - 1.
    """

    of_image: np.ndarray
    stratum: np.ndarray

    @property
    def count(self) -> int:
        return len(self.stratum)


def draws_subjects(outcomes: Outcomes, by_subject: bool | None) -> bool:
    """Whether subjects are drawn, not images: as asked for, or if subjects are known and some have several images.

    Raises:
      OutcomesError: subjects are asked for and not known.
    """
    if by_subject and outcomes.subjects is None:
        raise OutcomesError("by_subject: the outcomes name no subjects")
    if by_subject is None:
        return outcomes.subjects is not None and len(np.unique(outcomes.subjects)) < len(outcomes.subjects)
    return by_subject


def units(outcomes: Outcomes, stratify: str = "cells", by_subject: bool | None = None) -> Units:
    """Units and strata of a data set.

    Args:
      outcomes: what is measured.
      stratify: 'cells' keeps the size of every cell of all attributes; 'cells and labels' of every cell and class;
        'none' draws from everything.
      by_subject: draws subjects with all their images, as frames of one person are no independent images; by default
        if subjects are known and some have several images. Subjects are stratified by their attributes where all
        their images agree in them, else not at all.

    Raises:
      ValueError: no such stratification, or subjects are asked for and not known.
    """
    n = len(outcomes.labels)
    if stratify not in ("cells", "cells and labels", "none"):
        raise ValueError(f"stratify={stratify!r}: there are 'cells', 'cells and labels', 'none'")
    keys = [np.zeros(n, np.int64)]
    if stratify != "none":
        keys += [a.codes for a in outcomes.attributes.values()]
    if stratify == "cells and labels":
        keys += list(outcomes.labels.T) if outcomes.multilabel else [outcomes.labels]
    cells = np.unique(np.stack(keys, 1), axis=0, return_inverse=True)[1].ravel()
    if not draws_subjects(outcomes, by_subject) or outcomes.subjects is None:
        return Units(np.arange(n, dtype=np.int32), cells.astype(np.int32))
    of_image = np.unique(outcomes.subjects, return_inverse=True)[1].ravel().astype(np.int32)
    low, high = np.full(of_image.max() + 1, n), np.full(of_image.max() + 1, -1)
    np.minimum.at(low, of_image, cells)
    np.maximum.at(high, of_image, cells)
    mixed = n  # a stratum of their own for subjects whose images differ
    stratum = np.unique(np.where(low == high, low, mixed), return_inverse=True)[1].ravel()
    return Units(of_image, stratum.astype(np.int32))


@functools.partial(jax.jit, static_argnames=("resamples", "strata"))
def _draw(key: jax.Array, stratum: jax.Array, of_image: jax.Array, resamples: int, strata: int) -> jax.Array:
    order = jnp.argsort(stratum)
    size = jnp.zeros(strata, jnp.int32).at[stratum].add(1)
    start = jnp.cumsum(size) - size
    ranked = stratum[order]
    drawn = jax.random.uniform(key, (len(stratum), resamples)) * size[ranked][:, None]
    place = start[ranked][:, None] + jnp.minimum(drawn.astype(jnp.int32), size[ranked][:, None] - 1)
    times = jnp.zeros((len(stratum), resamples), jnp.float32)
    times = times.at[order[place], jnp.arange(resamples)].add(1)
    return times[of_image]


def bootstrap_weights(drawn: Units, resamples: int, seed: int = 0) -> jax.Array:
    """How often each image is in each resample, float32 [N, resamples]: with replacement within strata."""
    strata = int(drawn.stratum.max(initial=0)) + 1
    return _draw(jax.random.key(seed), jnp.asarray(drawn.stratum), jnp.asarray(drawn.of_image), resamples, strata)


def jackknife_weights(drawn: Units, seed: int = 0) -> np.ndarray:
    """Weights that leave out one unit, or one of 1,000 random blocks of units, at a time; float32 [N, J]."""
    blocks = min(drawn.count, _BLOCKS)
    block = np.random.default_rng(seed).permutation(drawn.count) % blocks
    return (block[drawn.of_image][:, None] != np.arange(blocks)).astype(np.float32)


def seed_weights(seeds: int, resamples: int, seed: int = 0) -> np.ndarray:
    """How often each training seed is in each resample, float32 [resamples, seeds]; rows sum to seeds - 1 (or 1).

    S - 1 of S seeds are drawn with replacement: the spread of their mean is then that of the mean of S seeds without
    bias, where drawing S makes it too small by (S - 1) / S, which matters with four.
    """
    if seeds < 2:
        return np.ones((resamples, seeds), np.float32)
    draws = np.random.default_rng([seed, seeds]).integers(0, seeds, (resamples, seeds - 1))
    return (draws[..., None] == np.arange(seeds)).sum(1).astype(np.float32)


def _part(
    answers: Answers, codes: jax.Array, scored: jax.Array, weights: jax.Array, metrics: tuple[str, ...], targets: int
) -> jax.Array:
    """Values [P, B, Q'] of P groupings padded to the same number of groups, [P, N] codes, [P, M] scored."""
    chosen = [catalogue.metric(m) for m in metrics]

    def one(grouping: tuple[jax.Array, jax.Array]) -> jax.Array:
        groups, compared = grouping
        s = tally_weighted(answers, groups, scored.shape[1], targets, weights)
        only = s.only(compared)
        parts = []
        for m in chosen:
            x = m.compute(only if m.of_attribute else s)
            parts.append(x.reshape(*x.shape[: x.ndim - AXES[m.per]], -1))
        return jnp.concatenate(parts, -1)

    return jax.lax.map(one, (codes, scored))


@dataclasses.dataclass(frozen=True)
class _Layout:
    """A plan's groupings in two parts, padded, and where each of its rows is found in their values."""

    codes: tuple[np.ndarray, ...]  # int32 [P, N] each
    scored: tuple[np.ndarray, ...]  # bool [P, M] each
    metrics: tuple[tuple[str, ...], ...]
    place: np.ndarray  # int32 [Q]


def _layout(plan: Plan) -> _Layout:
    targets = len(plan.targets)
    coarse = [i for i, g in enumerate(plan.groupings) if len(g.attributes) < 2]
    fine = [i for i, g in enumerate(plan.groupings) if len(g.attributes) > 1]
    codes, scored, names, where, base = [], [], [], {}, 0
    for part in (coarse, fine):
        chosen = [m for m in plan.metrics if part is coarse or not m.of_target]
        if not part or not chosen:
            continue
        widest = max(len(plan.groupings[i].names) for i in part)
        size = {m.name: (1 if m.of_attribute else widest) * (targets if m.of_target else 1) for m in chosen}
        for i in part:
            for m in chosen:
                where[i, m.name] = base
                base += size[m.name]
        codes.append(np.stack([plan.groupings[i].codes for i in part]))
        masks = [plan.groupings[i].scored for i in part]
        scored.append(np.stack([np.pad(x, (0, widest - len(x))) for x in masks]))
        names.append(tuple(m.name for m in chosen))
    place: list[int] = []
    for i, g, m in plan.blocks():
        length = (1 if m.of_attribute else len(g.names)) * (targets if m.of_target else 1)
        place += range(where[i, m.name], where[i, m.name] + length)
    return _Layout(tuple(codes), tuple(scored), tuple(names), np.array(place, np.int32))


def _values(
    answers: Answers, layout: tuple, weights: jax.Array, metrics: tuple[tuple[str, ...], ...], targets: int
) -> jax.Array:
    """Values [B, Q] of one run."""
    codes, scored, place = layout
    parts = [
        jnp.moveaxis(_part(answers, c, s, weights, m, targets), 0, 1).reshape(weights.shape[1], -1)
        for c, s, m in zip(codes, scored, metrics, strict=True)
    ]
    return jnp.concatenate(parts, -1)[:, place]


@functools.partial(jax.jit, static_argnames=("metrics", "targets"))
def _means(
    labels: jax.Array,
    runs: Answers,
    of_method: jax.Array,
    layout: tuple,
    weights: jax.Array,
    seeds: jax.Array,
    metrics: tuple[tuple[str, ...], ...],
    targets: int,
) -> jax.Array:
    """Mean over each method's runs, [methods, B, Q].

    `of_method` int32 [methods, S] are positions in the runs, -1 for none; `seeds` [methods, B, S] counts the seeds.
    """

    def method(one_method: tuple[jax.Array, jax.Array]) -> jax.Array:
        positions, times_of_seeds = one_method

        def add(sums: tuple, run: tuple) -> tuple:
            position, times = run
            one = jax.tree.map(lambda x: x[position], runs)._replace(labels=labels)
            values = _values(one, layout, weights, metrics, targets)
            defined = ~jnp.isnan(values) & (position >= 0)
            total, count = sums
            return (
                total + jnp.where(defined, values, 0) * times[:, None],
                count + defined * times[:, None],
            ), None

        zero = jnp.zeros((weights.shape[1], len(layout[2])))
        (total, count), _ = jax.lax.scan(add, (zero, zero), (positions, times_of_seeds.T))
        return jnp.where(count > 0, total / jnp.where(count > 0, count, 1), jnp.nan)

    return jax.lax.map(method, (of_method, seeds))


def replicates(
    outcomes: Outcomes, plan: Plan, members: np.ndarray, weights: Array, seeds: np.ndarray | None = None
) -> Iterator[tuple[slice, np.ndarray]]:
    """Every value of a plan under every weighting, averaged over the runs of each method.

    Args:
      outcomes: R runs.
      plan: Q values.
      members: int [methods, S]: each method's runs, -1 where it lacks a seed.
      weights: float32 [N, B], of the images.
      seeds: float32 [methods, B, S], of the seeds; None counts each once.

    Returns:
      An iterator over consecutive methods, as a slice, and float32 [methods in it, B, Q]; a value is NaN where it is
      undefined for every run. A few methods at once, within half a gigabyte.
    """
    return replicates_of(outcomes.answers, plan, members, weights, seeds)


def replicates_of(
    given: Answers, plan: Plan, members: np.ndarray, weights: Array, seeds: np.ndarray | None = None
) -> Iterator[tuple[slice, np.ndarray]]:
    """As `replicates`, of prepared answers."""
    if not plan.needs_scores:
        given = given._replace(ranks=None, log_loss=None, brier=None, bins=None, misses=None)
    layout = _layout(plan)
    labels = jnp.asarray(given.labels)
    runs = jax.tree.map(jnp.asarray, given._replace(labels=None))
    arrays = tuple(jax.tree.map(jnp.asarray, (layout.codes, layout.scored, layout.place)))
    weights = jnp.asarray(weights)
    if seeds is None:
        seeds = np.ones((len(members), weights.shape[1], members.shape[1]), np.float32)
    fitting = _MEMORY // (4 * weights.shape[1] * max(len(layout.place), 1))
    at_once = max(1, min(fitting, _AT_ONCE, len(members)))
    for begin in range(0, len(members), at_once):
        end = min(begin + at_once, len(members))
        some = np.full((at_once, members.shape[1]), -1, np.int32)  # one program, also for the last few
        some[: end - begin] = members[begin:end]
        times = np.zeros((at_once, *seeds.shape[1:]), np.float32)
        times[: end - begin] = seeds[begin:end]
        given_seeds = jnp.asarray(times)
        out = _means(labels, runs, jnp.asarray(some), arrays, weights, given_seeds, layout.metrics, len(plan.targets))
        yield slice(begin, end), np.asarray(out[: end - begin])
