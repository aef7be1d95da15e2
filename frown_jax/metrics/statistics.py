"""What every metric is a function of: weighted sums over the images of each group.

A metric is a function of `Statistics`; statistics are linear in the images' weights (only the pairs of the AUROC are
quadratic). So one pass with weights 1 gives the value, with resampled multiplicities the bootstrap, with one image
left out the jackknife, with two runs' answers exchanged the permutation test. `tally` is that pass in numpy and
float64, for values; `tally_weighted` is it in JAX, for a thousand weightings at once.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

Array = Any  # numpy or JAX

CALIBRATION_BINS = 15


@dataclasses.dataclass(frozen=True)
class Statistics:
    """Sums over the images of each group.

    Shapes have any leading axes (runs, resamples), then M groups, then T targets: the classes of a multi-class task,
    each against the rest, or the labels (Action Units) of a multi-label one.
    """

    multilabel: bool
    count: Array  # [..., M] images
    known: Array  # [..., M, T] images whose label is known
    positive: Array  # [..., M, T] ... and true
    predicted: Array  # [..., M, T] ... and predicted
    hit: Array  # [..., M, T] ... and both
    concordant: Array = None  # [..., M, T] pairs with the positive scored above the negative, ties half
    log_loss: Array = None  # [..., M] sum of -log p(true label), nats
    brier: Array = None  # [..., M] sum of squared errors of the probabilities
    miscalibration: Array = None  # [..., M, CALIBRATION_BINS] sum of correct - confidence
    memo: dict = dataclasses.field(default_factory=dict, repr=False, compare=False)  # of `once`

    def only(self, groups: Array) -> Statistics:
        """With groups emptied where `groups`, bool [M], is False: they then enter no comparison."""

        def emptied(name: str, x: Array) -> Array:
            keep = groups if name in _PER_GROUP else groups[:, None]
            return x * keep

        arrays = {k: getattr(self, k) for k in _FIELDS}
        kept: dict[str, Any] = {k: v if v is None else emptied(k, v) for k, v in arrays.items()}
        return Statistics(self.multilabel, **kept)


_FIELDS = tuple(f.name for f in dataclasses.fields(Statistics) if f.name not in ("multilabel", "memo"))
_PER_GROUP = ("count", "log_loss", "brier")


def once(f: Callable[[Statistics], Array]) -> Callable[[Statistics], Array]:
    """Computes a function of statistics once for each: metrics share rates, and a trace of them all stays short."""

    @functools.wraps(f)
    def computed(s: Statistics) -> Array:
        if f not in s.memo:
            s.memo[f] = f(s)
        return s.memo[f]

    return computed


class Answers(NamedTuple):
    """Runs' answers on the same images, with what does not depend on weights computed once.

    `labels` and `predictions` are class numbers, int32 [N] and [R, N], or for a multi-label task 0, 1 and -1 (not
    known), int32 [N, T] and [R, N, T]. The rest is None without probabilities.
    """

    labels: Array
    predictions: Array
    ranks: Array = None  # int32 [R, N, T], of the probabilities over images, equal ones share a rank
    log_loss: Array = None  # float32 [R, N]
    brier: Array = None  # float32 [R, N]
    bins: Array = None  # int32 [R, N], or [R, N, T]: of the confidence in the answer
    misses: Array = None  # float32 like bins: correct - confidence, 0 where the label is not known


def answers(labels: np.ndarray, predictions: np.ndarray, probabilities: np.ndarray | None) -> Answers:
    """Prepares answers.

    Args:
      labels: [N] from 0 to T - 1, or multi-label [N, T] of 1, 0 and -1 (not known).
      predictions: [R, N], or multi-label [R, N, T] of 1 and 0.
      probabilities: [R, N, T]; or None.
    """
    labels, predictions = np.asarray(labels, np.int32), np.asarray(predictions, np.int32)
    if probabilities is None:
        return Answers(labels, predictions)
    p = np.asarray(probabilities, np.float64)
    if labels.ndim == 2:
        known = labels >= 0
        of_truth = np.where(labels == 1, p, 1 - p)
        loss = np.where(known, -np.log(np.clip(of_truth, 1e-12, 1)), 0).sum(-1)
        brier = np.where(known, (1 - of_truth) ** 2, 0).sum(-1)
        confidence = np.where(predictions == 1, p, 1 - p)
        misses = np.where(known, (predictions == labels) - confidence, 0)
    else:
        of_truth = np.take_along_axis(p, np.broadcast_to(labels[None, :, None], (*p.shape[:2], 1)), -1)[..., 0]
        loss = -np.log(np.clip(of_truth, 1e-12, 1))
        brier = (p**2).sum(-1) - 2 * of_truth + 1
        confidence = np.take_along_axis(p, predictions[..., None], -1)[..., 0]
        misses = (predictions == labels) - confidence
    # Bins are closed on the right, as in Guo et al. 2017.
    bins = np.clip(np.ceil(confidence * CALIBRATION_BINS) - 1, 0, CALIBRATION_BINS - 1)
    return Answers(labels, predictions, _dense_ranks(p), loss, brier, bins.astype(np.int32), misses)


def _dense_ranks(p: np.ndarray) -> np.ndarray:
    """Ranks over axis 1; made once in full precision, so that the same ties are ties everywhere."""
    order = np.argsort(p, axis=1)
    ranked = np.take_along_axis(p, order, 1)
    steps = np.zeros(p.shape, np.int32)
    steps[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    out = np.empty_like(steps)
    np.put_along_axis(out, order, np.cumsum(steps, 1, dtype=np.int32), 1)
    return out


def tally(
    given: Answers, groups: np.ndarray, group_count: int, targets: int, weights: np.ndarray | None = None
) -> Statistics:
    """Statistics of every run, float64 with leading axis R.

    Args:
      given: of `answers`.
      groups: int [N], 0 to M - 1; others are in no group.
      group_count: M.
      targets: T.
      weights: float [N]; None counts every image once.
    """
    inside = (groups >= 0) & (groups < group_count)
    membership = np.zeros((len(groups), group_count))
    membership[np.flatnonzero(inside), groups[inside]] = 1 if weights is None else np.asarray(weights)[inside]
    runs, shape = len(given.predictions), (len(given.predictions), group_count)
    by_target = _indicators(given, targets)
    known, positive, predicted, hit = (np.einsum("rnt,nm->rmt", x, membership, optimize=True) for x in by_target)
    count = np.broadcast_to(membership.sum(0), shape)
    multilabel = given.labels.ndim == 2
    if given.ranks is None:
        return Statistics(multilabel, count, known, positive, predicted, hit)
    bins, misses = (np.asarray(x).reshape(runs, len(groups), -1) for x in (given.bins, given.misses))
    miscalibration = np.zeros((*shape, CALIBRATION_BINS))
    for b in range(CALIBRATION_BINS):
        miscalibration[..., b] = np.where(bins == b, misses, 0).sum(-1) @ membership
    chunk = max(1, 20_000_000 // max(len(groups) * targets, 1))
    concordant = [
        _concordant(given.ranks[r : r + chunk], by_target[0][0], by_target[1][0], groups, membership)
        for r in range(0, runs, chunk)
    ]
    return Statistics(
        multilabel,
        count,
        known,
        positive,
        predicted,
        hit,
        np.concatenate(concordant),
        given.log_loss @ membership,
        given.brier @ membership,
        miscalibration,
    )


def _indicators(given: Answers, targets: int) -> tuple[np.ndarray, ...]:
    """known, positive, predicted, hit; float64 [R, N, T]."""
    labels, predictions = np.asarray(given.labels), np.asarray(given.predictions)
    if labels.ndim == 2:
        known = np.broadcast_to(labels >= 0, predictions.shape)
        positive, predicted = np.broadcast_to(labels == 1, predictions.shape), (predictions == 1) & known
    else:
        classes = np.arange(targets)
        predicted = predictions[..., None] == classes
        positive = np.broadcast_to(labels[:, None] == classes, predicted.shape)
        known = np.ones_like(predicted)
    return tuple(x.astype(np.float64) for x in (known, positive, predicted, positive & predicted))


def _concordant(ranks: Array, known: Array, positive: Array, groups: np.ndarray, membership: Array) -> np.ndarray:
    """Weight of concordant pairs within each group; ranks [R, N, T] -> [R, M, T]."""
    ranks = np.moveaxis(np.asarray(ranks), -1, 1)
    order = np.lexsort((ranks, np.broadcast_to(groups, ranks.shape)))
    ranked = np.take_along_axis(ranks, order, -1)
    of_group = groups[order]

    def sort(x: Array) -> np.ndarray:
        return np.take_along_axis(np.broadcast_to(x, ranks.shape), order, -1)

    weight = membership.sum(1)
    up, down = sort((known * positive).T * weight), sort((known * (1 - positive)).T * weight)
    first = np.ones(ranked.shape, bool)
    first[..., 1:] = of_group[..., 1:] != of_group[..., :-1]
    fresh = first.copy()  # begins a block of equal scores
    fresh[..., 1:] |= ranked[..., 1:] != ranked[..., :-1]
    position = np.arange(ranked.shape[-1])
    before = np.concatenate([np.zeros((*down.shape[:-1], 1)), np.cumsum(down, -1)], -1)
    tie_start = np.maximum.accumulate(np.where(fresh, position, 0), -1)
    next_start = np.full(ranked.shape, len(position))
    next_start[..., :-1] = np.where(fresh, position, len(position))[..., 1:]
    tie_end = np.minimum.accumulate(next_start[..., ::-1], -1)[..., ::-1]
    group_start = np.maximum.accumulate(np.where(first, position, 0), -1)
    at_start, at_end, at_group = (np.take_along_axis(before, i, -1) for i in (tie_start, tie_end, group_start))
    wins = up * ((at_start + at_end) / 2 - at_group)
    back = np.empty_like(wins)
    np.put_along_axis(back, order, wins, -1)
    return np.moveaxis(back @ (membership > 0).astype(np.float64), 1, -1)


def tally_weighted(given: Answers, groups: jax.Array, group_count: int, targets: int, weights: jax.Array) -> Statistics:
    """Statistics of one run under many weightings of the images; traced.

    Args:
      given: of one run: without the axis R.
      groups: int32 [N], 0 to M - 1; others are in no group.
      group_count: M.
      targets: T.
      weights: float32 [N, B], whole numbers if the sums shall be exact.

    Returns:
      float32, leading axis B.
    """
    m, b = group_count, weights.shape[1]
    groups = jnp.where((groups >= 0) & (groups < m), groups, m)

    def total(rows: jax.Array, keys: jax.Array, size: int) -> jax.Array:
        """Sums of rows [N, B] with the same key; [B, M, size]. Key -1 is not summed."""
        where = jnp.where((keys >= 0) & (groups < m), groups * size + keys, m * size)
        return jnp.moveaxis(jax.ops.segment_sum(rows, where, m * size + 1)[:-1], -1, 0).reshape(b, m, size)

    zero = jnp.zeros_like(groups)
    count = total(weights, zero, 1)[..., 0]
    multilabel = given.labels.ndim == 2
    if multilabel:
        cells = jnp.where(given.labels >= 0, given.labels * 2 + given.predictions, -1)
        counts = jax.vmap(lambda keys: total(weights, keys, 4), in_axes=1, out_axes=-2)(cells)  # [B, M, T, 4]
        known, positive = counts.sum(-1), counts[..., 2] + counts[..., 3]
        predicted, hit = counts[..., 1] + counts[..., 3], counts[..., 3]
    else:
        positive = total(weights, given.labels, targets)
        predicted = total(weights, given.predictions, targets)
        hit = total(weights, jnp.where(given.predictions == given.labels, given.labels, -1), targets)
        known = jnp.broadcast_to(count[..., None], positive.shape)
    if given.ranks is None:
        return Statistics(multilabel, count, known, positive, predicted, hit)
    if multilabel:
        of_targets = [
            total(weights * given.misses[:, t, None], given.bins[:, t], CALIBRATION_BINS) for t in range(targets)
        ]
        bins = jnp.stack(of_targets).sum(0)
        is_positive, is_known = given.labels == 1, given.labels >= 0
    else:
        bins = total(weights * given.misses[:, None], given.bins, CALIBRATION_BINS)
        is_positive = given.labels[:, None] == jnp.arange(targets)
        is_known = jnp.ones_like(is_positive)
    return Statistics(
        multilabel,
        count,
        known,
        positive,
        predicted,
        hit,
        _concordant_weighted(given.ranks, is_known, is_positive, groups, m, weights),
        total(weights * given.log_loss[:, None], zero, 1)[..., 0],
        total(weights * given.brier[:, None], zero, 1)[..., 0],
        bins,
    )


def _concordant_weighted(
    ranks: jax.Array, known: jax.Array, positive: jax.Array, groups: jax.Array, m: int, weights: jax.Array
) -> jax.Array:
    """As `_concordant`, one run, [B, M, T]: images in order of group and rank, all weightings beside each other.

    A loop over the images with B x T numbers a step: the running weight of negatives stays in cache, where a
    cumulative sum would write N x T x B numbers several times.
    """
    targets, b = ranks.shape[1], weights.shape[1]
    order = jax.vmap(lambda r: jnp.lexsort((r, groups)), in_axes=1, out_axes=1)(ranks)  # [N, T]
    ranked = jnp.take_along_axis(ranks, order, 0)
    tied = jnp.concatenate([jnp.zeros((1, targets), bool), ranked[1:] == ranked[:-1]])
    up = jnp.take_along_axis(positive & known, order, 0)
    down = jnp.take_along_axis(~positive & known, order, 0)
    sizes = jnp.zeros(m + 1, jnp.int32).at[groups].add(1)
    ends = jnp.cumsum(sizes)[:m]
    zero = jnp.zeros((targets, b), weights.dtype)

    def group(_, span):
        begin, end = span

        def image(i, carry):
            below, tied_down, tied_up, won = carry  # `won` counts a tied pair, half, when its second member comes
            w = weights[order[i]]
            u, d = up[i][:, None] * w, down[i][:, None] * w
            same = (tied[i] & (i > begin))[:, None]
            below = jnp.where(same, below, below + tied_down)
            tied_down, tied_up = jnp.where(same, tied_down, 0), jnp.where(same, tied_up, 0)
            won = won + u * (below + tied_down / 2) + d * tied_up / 2
            return below, tied_down + d, tied_up + u, won

        return None, jax.lax.fori_loop(begin, end, image, (zero, zero, zero, zero))[3]

    won = jax.lax.scan(group, None, (ends - sizes[:m], ends))[1]  # [M, T, B]
    return jnp.moveaxis(won, -1, 0)
