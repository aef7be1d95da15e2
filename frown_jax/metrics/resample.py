"""Images drawn again: weights, and every value of a plan under many weightings at once, on the device.

All runs get the same weights, so that differences between them are paired. Sources: Efron & Tibshirani 1993
(bootstrap, clusters, jackknife), Rao & Wu 1988 (drawing one fewer than there are, with larger weights, within strata).
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
from frown_jax.metrics import catalogue, condense
from frown_jax.metrics.outcomes import Outcomes
from frown_jax.metrics.plan import AXES, Plan
from frown_jax.metrics.statistics import Answers, tally_weighted

Array = Any
FEWEST_IN_STRATUM = 5  # units; smaller strata are merged into coarser ones
_BLOCKS = 1000  # of the jackknife
_MEMORY = 1 << 29  # bytes of replicates, or of weights, held at once
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

    @property
    def are_images(self) -> bool:
        """Whether every image is a unit of its own."""
        return len(self.stratum) == len(self.of_image)


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
        'none' draws from everything. A stratum of fewer than FEWEST_IN_STRATUM units, which could not vary as it
        should, is merged with the other small ones that agree in all attributes but the last, then in all but the
        last two, and so on.
      by_subject: draws subjects with all their images, as frames of one person are no independent images; by default
        if subjects are known and some have several images. Where the images of a subject differ in an attribute, that
        and the following ones do not stratify it.

    Raises:
      ValueError: no such stratification, or subjects are asked for and not known.
    """
    n = len(outcomes.labels)
    if stratify not in ("cells", "cells and labels", "none"):
        raise ValueError(f"stratify={stratify!r}: there are 'cells', 'cells and labels', 'none'")
    keys: list[np.ndarray] = []
    if stratify != "none":
        keys += [a.codes for a in outcomes.attributes.values()]
    if stratify == "cells and labels":
        keys += list(outcomes.labels.T) if outcomes.multilabel else [outcomes.labels]
    of_image = np.arange(n, dtype=np.int32)
    if draws_subjects(outcomes, by_subject) and outcomes.subjects is not None:
        of_image = np.unique(outcomes.subjects, return_inverse=True)[1].ravel().astype(np.int32)
        keys = [_agreed(k, of_image) for k in keys]
    return Units(of_image, _strata(keys, int(of_image.max(initial=-1)) + 1))


def _agreed(codes: np.ndarray, of_image: np.ndarray) -> np.ndarray:
    """The code of each unit, [U]; a code of its own for those whose images differ in it."""
    mixed = int(codes.max(initial=0)) + 1
    low, high = np.full(of_image.max() + 1, mixed), np.full(of_image.max() + 1, -2)
    np.minimum.at(low, of_image, codes)
    np.maximum.at(high, of_image, codes)
    return np.where(low == high, low, mixed)


def _strata(keys: list[np.ndarray], count: int) -> np.ndarray:
    """Strata of `count` units by all keys; small ones by ever fewer of them; int32 [U]."""
    out = np.full(count, -1, np.int64)
    left, made = np.arange(count), 0
    for used in range(len(keys), -1, -1):
        if not len(left):
            break
        _, kind, size = condense.kinds([np.zeros(len(left), int), *(k[left] for k in keys[:used])])
        enough = size[kind] >= FEWEST_IN_STRATUM
        if used == 0 and (out < 0).all():
            enough[:] = True
        out[left[enough]] = made + kind[enough]
        made += len(size)
        left = left[~enough]
    if len(left):  # too few to vary by themselves: they join the largest stratum
        values, sizes = np.unique(out[out >= 0], return_counts=True)
        out[left] = values[sizes.argmax()]
    return np.unique(out, return_inverse=True)[1].ravel().astype(np.int32)


@functools.partial(jax.jit, static_argnames=("resamples", "strata"))
def _draw(key: jax.Array, stratum: jax.Array, of_image: jax.Array, resamples: int, strata: int) -> jax.Array:
    order = jnp.argsort(stratum)
    size = jnp.zeros(strata, jnp.int32).at[stratum].add(1)
    start = jnp.cumsum(size) - size
    ranked = stratum[order]
    drawn = jax.random.uniform(key, (len(stratum), resamples)) * size[ranked][:, None]
    place = start[ranked][:, None] + jnp.minimum(drawn.astype(jnp.int32), size[ranked][:, None] - 1)
    # One unit of each stratum does not draw, unless it is the only one.
    draws = (jnp.arange(len(stratum)) > start[ranked]) | (size[ranked] == 1)
    weight = size[ranked] / jnp.maximum(size[ranked] - 1, 1)
    times = jnp.zeros((len(stratum), resamples), jnp.float32)
    times = times.at[order[place], jnp.arange(resamples)].add((draws * weight)[:, None])
    return times[of_image]


def bootstrap_weights(drawn: Units, resamples: int, seed: int = 0) -> jax.Array:
    """How much each image counts in each resample, float32 [N, resamples].

    From each stratum of m units m - 1 are drawn with replacement, each weighing m / (m - 1): sizes stay what they are,
    and the variance of a mean is that of the data without bias (Rao & Wu 1988). Drawing m would lose 1 / m of it.
    """
    strata = int(drawn.stratum.max(initial=0)) + 1
    return _draw(jax.random.key(seed), jnp.asarray(drawn.stratum), jnp.asarray(drawn.of_image), resamples, strata)


def jackknife_weights(drawn: Units, seed: int = 0) -> np.ndarray:
    """Weights that leave out one unit, or one of 1,000 random blocks of units, at a time; float32 [N, J]."""
    blocks = min(drawn.count, _BLOCKS)
    block = np.random.default_rng(seed).permutation(drawn.count) % blocks
    return (block[drawn.of_image][:, None] != np.arange(blocks)).astype(np.float32)


def units_of_values(plan: Plan, drawn: Units) -> tuple[np.ndarray, np.ndarray]:
    """Units that each value of a plan rests on: those of its group, or of all groups that are compared.

    Returns:
      How many, int [Q]; and how many independent images they are worth at least, float [Q]: however alike the images
      of one subject are, a mean over subjects of n_1, n_2, ... images is worth (sum n)^2 / sum n^2 (Kish 1965).
    """
    of_group: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []
    for g in plan.groupings:
        inside = np.flatnonzero(g.codes >= 0)
        pairs, sizes = np.unique(
            g.codes[inside].astype(np.int64) * drawn.count + drawn.of_image[inside], return_counts=True
        )
        group, width = pairs // max(drawn.count, 1), len(g.names)
        of_group.append(
            (np.bincount(group, minlength=width), np.bincount(group, sizes, width), np.bincount(group, sizes**2, width))
        )
    count: list[int] = []
    worth: list[float] = []
    for i, g, m in plan.blocks():
        targets = len(plan.targets) if m.of_target else 1
        n, size, squared = (x[g.scored].sum(keepdims=True) if m.of_attribute else x for x in of_group[i])
        count += np.repeat(n, targets).tolist()
        worth += np.repeat(size**2 / np.maximum(squared, 1), targets).tolist()
    return np.array(count, int), np.array(worth)


class Draws:
    """Resamples of some outcomes, for any of their runs.

    Images that are alike (the same groups, class and answers) are drawn as counts where that is smaller: a million
    images without probabilities then cost no more than a thousand.
    """

    def __init__(self, outcomes: Outcomes, plan: Plan, drawn: Units, resamples: int, seed: int = 0):
        self.resamples, self._seed = resamples, seed
        self._given, self._plan, self._drawn = outcomes.answers, plan, drawn
        self._counts: np.ndarray | None = None
        self._kept: Array = None
        n = len(outcomes.labels)
        if plan.needs_scores or not drawn.are_images or n * resamples * 4 <= _MEMORY:
            return
        first, _, counts = condense.kinds(plan.columns(outcomes, drawn.stratum))
        if len(counts) <= n // 4:
            self._counts = counts
            self._given = Answers(self._given.labels[first], self._given.predictions[:, first])
            self._plan = plan.at(first)
            self._drawn = Units(np.arange(len(first), dtype=np.int32), drawn.stratum[first])

    def _weights(self, begin: int, end: int) -> Array:
        """Weights of resamples `begin` to `end`; the same whenever they are asked for."""
        if self._counts is None:
            seed = self._seed if not begin else int(np.random.default_rng([self._seed, begin]).integers(2**31))
            return bootstrap_weights(self._drawn, end - begin, seed)
        rng = np.random.default_rng([self._seed, begin])
        out = np.ones((len(self._counts), end - begin), np.float32)
        for h in range(int(self._drawn.stratum.max(initial=0)) + 1):
            at = np.flatnonzero(self._drawn.stratum == h)
            m = int(self._counts[at].sum())
            if m > 1:
                out[at] = rng.multinomial(m - 1, self._counts[at] / m, end - begin).T * (m / (m - 1))
            else:
                out[at] = m
        return out

    def of_runs(self, runs: np.ndarray) -> Iterator[np.ndarray]:
        """Every value of the plan in every resample, float32 [B, Q], for one run after the other.

        Args:
          runs: int, positions of runs.
        """
        rows = len(self._given.labels)
        step = max(1, min(self.resamples, _MEMORY // (4 * rows)))
        pieces = [(b, min(b + step, self.resamples)) for b in range(0, self.resamples, step)]
        if len(pieces) == 1:
            if self._kept is None:
                self._kept = self._weights(0, self.resamples)
            for _, values in replicates_of(self._given, self._plan, np.asarray(runs)[:, None], self._kept):
                yield from values
            return
        for run in runs:
            parts = [
                next(iter(replicates_of(self._given, self._plan, np.array([[run]]), self._weights(*p))))[1][0]
                for p in pieces
            ]
            yield np.concatenate(parts)


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
    metrics: tuple[tuple[str, ...], ...],
    targets: int,
) -> jax.Array:
    """Mean over each method's runs, [methods, B, Q].

    `of_method` int32 [methods, S] are positions in the runs, -1 for none.
    """

    def method(positions: jax.Array) -> jax.Array:
        def add(sums: tuple, position: jax.Array) -> tuple:
            one = jax.tree.map(lambda x: x[position], runs)._replace(labels=labels)
            values = _values(one, layout, weights, metrics, targets)
            defined = ~jnp.isnan(values) & (position >= 0)
            total, count = sums
            return (total + jnp.where(defined, values, 0), count + defined), None

        zero = jnp.zeros((weights.shape[1], len(layout[2])))
        (total, count), _ = jax.lax.scan(add, (zero, zero), positions)
        return jnp.where(count > 0, total / jnp.where(count > 0, count, 1), jnp.nan)

    return jax.lax.map(method, of_method)


def replicates(
    outcomes: Outcomes, plan: Plan, members: np.ndarray, weights: Array
) -> Iterator[tuple[slice, np.ndarray]]:
    """Every value of a plan under every weighting, averaged over the runs of each method.

    Args:
      outcomes: R runs.
      plan: Q values.
      members: int [methods, S]: each method's runs, -1 where it lacks a seed.
      weights: float32 [N, B], of the images.

    Returns:
      An iterator over consecutive methods, as a slice, and float32 [methods in it, B, Q]; a value is NaN where it is
      undefined for every run. A few methods at once, within half a gigabyte.
    """
    return replicates_of(outcomes.answers, plan, members, weights)


def replicates_of(
    given: Answers, plan: Plan, members: np.ndarray, weights: Array
) -> Iterator[tuple[slice, np.ndarray]]:
    """As `replicates`, of prepared answers."""
    if not plan.needs_scores:
        given = given._replace(ranks=None, log_loss=None, brier=None, bins=None, misses=None)
    layout = _layout(plan)
    labels = jnp.asarray(given.labels)
    runs = jax.tree.map(jnp.asarray, given._replace(labels=None))
    arrays = tuple(jax.tree.map(jnp.asarray, (layout.codes, layout.scored, layout.place)))
    weights = jnp.asarray(weights)
    fitting = _MEMORY // (4 * weights.shape[1] * max(len(layout.place), 1))
    at_once = max(1, min(fitting, _AT_ONCE, len(members)))
    for begin in range(0, len(members), at_once):
        end = min(begin + at_once, len(members))
        some = np.full((at_once, members.shape[1]), -1, np.int32)  # one program, also for the last few
        some[: end - begin] = members[begin:end]
        out = _means(labels, runs, jnp.asarray(some), arrays, weights, layout.metrics, len(plan.targets))
        yield slice(begin, end), np.asarray(out[: end - begin])
