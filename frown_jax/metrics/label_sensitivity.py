"""What wrong group labels could do to a gap between groups.

Groups are somebody's reading of a face. If one in twenty labels of race is wrong, is the gap in accuracy still there?
Two answers, which differ in what is assumed about the errors:

- **Alike** (non-differential): whether a label is wrong has nothing to do with whether the model is right about the
  image, given the true group. With P(label a | truly b) known, shares and means of the true groups follow by inverting
  the matrix (Kuha & Skinner 1997; Barron 1977). Errors of this kind mix the groups, so the true gap is mostly larger.
- **At worst** (differential): nothing is assumed but how many labels are wrong. Which ones is chosen as badly as can
  be, for instance all those images on which one group fares badly. The bounds are sharp: some choice reaches them.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from frown_jax.errors import OutcomesError
from frown_jax.metrics.bootstrap import members_of
from frown_jax.metrics.outcomes import Outcomes
from frown_jax.metrics.plan import Grouping, grouping
from frown_jax.metrics.small_cells import rights

Array = np.ndarray
RATES = (0.01, 0.02, 0.05, 0.1)
_TOLERANCE = 1e-9
_HALVINGS = 50
_SINGULAR = 1e8  # condition number


def uniform(groups: int, rate: float) -> Array:
    """P(label a | truly b), [true, label]: each label is wrong with probability `rate`, in favour of any other alike.

    >>> uniform(3, 0.1).round(3).tolist()
    [[0.9, 0.05, 0.05], [0.05, 0.9, 0.05], [0.05, 0.05, 0.9]]
    """
    if groups < 2:
        return np.ones((groups, groups))
    other = rate / (groups - 1)
    return np.full((groups, groups), other) + (1 - rate - other) * np.eye(groups)


@dataclasses.dataclass(frozen=True)
class Corrected:
    """True groups, if errors are alike.

    Attributes:
      shares: [G], of all images, summing to 1.
      means: [G], of the true groups; NaN where a share is 0.
      feasible: whether shares and means are possible. If not, the matrix claims more errors than the data can have
        had (but for chance), and shares and means are only what the algebra gives.
    """

    shares: Array
    means: Array
    feasible: bool


def corrected(sizes: Array, sums: Array, matrix: Array) -> Corrected:
    """Shares and means of the true groups, by inversion.

    Args:
      sizes: [G], images labelled as each group.
      sums: [G], of a value in 0 to 1 over them.
      matrix: [G true, G label], P(label | true group); rows sum to 1.

    Raises:
      OutcomesError: the matrix is none of probabilities, or has no inverse.
    """
    sizes, sums = np.asarray(sizes, np.float64), np.asarray(sums, np.float64)
    check_matrix(matrix, len(sizes))
    # Images labelled a come from all true groups: sizes = matrix.T @ true sizes, and so do the sums over them.
    true_sizes, true_sums = np.linalg.solve(np.asarray(matrix, np.float64).T, np.stack([sizes, sums], 1)).T
    slack = _TOLERANCE * max(sizes.sum(), 1)
    feasible = bool(
        (true_sizes >= -slack).all() and (true_sums >= -slack).all() and (true_sums <= true_sizes + slack).all()
    )
    means = np.divide(true_sums, true_sizes, out=np.full(len(sizes), np.nan), where=np.abs(true_sizes) > slack)
    return Corrected(true_sizes / sizes.sum(), means, feasible)


def check_matrix(matrix: Array, groups: int) -> None:
    """Refuses what is no matrix of P(label | true group).

    Raises:
      OutcomesError: its shape is not [groups, groups], a row is none of probabilities, or it has no inverse.
    """
    m = np.asarray(matrix, np.float64)
    if m.shape != (groups, groups):
        raise OutcomesError(f"the matrix of label errors has shape {m.shape}: {groups} groups need {groups} x {groups}")
    for b, row in enumerate(m):
        if not ((row >= 0) & (row <= 1)).all() or abs(row.sum() - 1) > 1e-6:
            raise OutcomesError(
                f"the matrix of label errors, row {b}: {row.round(4).tolist()} are not probabilities that sum to 1"
            )
    if np.linalg.cond(m) > _SINGULAR:
        raise OutcomesError("the matrix of label errors has no inverse: labels do not tell the true groups apart")


def largest_gap(right: Array, wrong: Array, rate: float, a: int, b: int) -> float:
    """The largest mean of true group a minus that of b, if up to `rate` of the labels in each group are wrong.

    What could have happened at worst: images of a that count 0 belong to b, images of b that count 1 belong to a, and
    other groups' images of either kind belong to a or b. How other groups' wrong labels are divided between a and b is
    the only trade-off; the gap is concave in it.

    Args:
      right, wrong: [G], labelled images that count 1 and 0 (or sums of a value in 0 to 1, and of what it lacks to 1).
      rate: of wrong labels among those labelled as a group, P(truly another | label), 0 to 1.
      a, b: two groups.

    Returns:
      -1 to 1; NaN if a or b may be empty.
    """
    right, wrong = np.asarray(right, np.float64), np.asarray(wrong, np.float64)
    budget = rate * (right + wrong)
    if not min(right[a] + wrong[a], right[b] + wrong[b]) > 0 or rate >= 1:
        return float("nan")
    leave_a, leave_b = min(wrong[a], budget[a]), min(right[b], budget[b])
    others = [g for g in range(len(right)) if g not in (a, b)]
    to_a = sum(min(right[g], budget[g]) for g in others)
    to_b = sum(min(wrong[g], budget[g]) for g in others)
    together = sum(budget[g] for g in others)  # never more than right + wrong
    # Means of a and b with x images of other groups to a, y to b.
    sum_a, size_a = right[a] + leave_b, right[a] + wrong[a] - leave_a + leave_b
    sum_b, size_b = right[b] - leave_b, right[b] + wrong[b] - leave_b + leave_a

    def gap(x: float) -> float:
        y = min(to_b, together - x)
        mean_a = (sum_a + x) / (size_a + x) if size_a + x > 0 else 1.0
        return mean_a - sum_b / (size_b + y)

    # x + y = together: the slopes of the two means are equal at `level`, unless one kind of image runs out before.
    low, high = max(together - to_b, 0.0), to_a
    root_a, root_b = np.sqrt(max(size_a - sum_a, 0.0)), np.sqrt(max(sum_b, 0.0))
    level = high
    if root_a + root_b > 0:
        level = float((root_a * (size_b + together) - root_b * size_a) / (root_a + root_b))
    return float(gap(min(max(level, low), high)))


def bounds(right: Array, wrong: Array, rate: float, a: int, b: int) -> tuple[float, float]:
    """The smallest and the largest mean of true group a minus that of b; arguments as in `largest_gap`."""
    return -largest_gap(right, wrong, rate, b, a), largest_gap(right, wrong, rate, a, b)


def bounds_of_matrix(right: Array, wrong: Array, matrix: Array, a: int, b: int) -> tuple[float, float]:
    """Bounds of the gap if the matrix is known, but errors may have to do with the answer.

    How many images moved from where to where follows from the matrix; which ones does not.

    Args:
      right, wrong: [G], as in `largest_gap`.
      matrix: [G true, G label], P(label | true group).
      a, b: two groups.

    Returns:
      The smallest and the largest mean of true group a minus that of b; NaN if the matrix does not fit the sizes.
    """
    right, wrong = np.asarray(right, np.float64), np.asarray(wrong, np.float64)
    found = corrected(right + wrong, right, matrix)
    moved = found.shares[:, None] * np.asarray(matrix, np.float64) * (right + wrong).sum()  # [true, label] images
    if (found.shares < -_TOLERANCE).any() or min(found.shares[a], found.shares[b]) <= _TOLERANCE:
        return float("nan"), float("nan")
    moved = np.maximum(moved, 0)
    true_sizes = moved.sum(1)

    def largest(a: int, b: int) -> float:
        """Right answers of each label go to a first, to b last."""
        to_a = np.minimum(right, moved[a])
        neither = moved.sum(0) - moved[a] - moved[b]
        to_b = np.maximum(right - to_a - neither, 0)
        return float(to_a.sum() / true_sizes[a] - to_b.sum() / true_sizes[b])

    return -largest(b, a), largest(a, b)


def sign_lost_at(right: Array, wrong: Array, a: int, b: int) -> float:
    """The smallest rate of wrong labels at which the gap between a and b may have been none, at worst.

    Args:
      right, wrong: [G], as in `largest_gap`.
      a, b: two groups.

    Returns:
      0 to 1; 0 if there is no gap, NaN if a group is empty.
    """
    sizes = np.asarray(right, np.float64) + np.asarray(wrong, np.float64)
    if min(sizes[a], sizes[b]) <= 0:
        return float("nan")
    if right[a] / sizes[a] < right[b] / sizes[b]:
        a, b = b, a
    low, high = 0.0, 1.0
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if bounds(right, wrong, middle, a, b)[0] <= 0 else (middle, high)
    return high if high > 1e-12 else 0.0


def sign_lost_at_alike(sizes: Array, sums: Array, a: int, b: int) -> float:
    """The rate of `uniform` errors at which the corrected gap between a and b is none.

    Two groups never get there: errors that are alike only shrink a gap. With more, the smaller of two groups is the
    more diluted one, and the sign can turn.

    Args:
      sizes, sums: [G], as in `corrected`.
      a, b: two groups.

    Returns:
      The rate; infinity if no rate that the data allow does it.
    """
    sizes, sums = np.asarray(sizes, np.float64), np.asarray(sums, np.float64)
    groups = len(sizes)
    share, value = sizes / sizes.sum(), sums / sizes.sum()
    total = value.sum()
    # Group g's mean is (value_g - c total) / (share_g - c), c = rate / (G - 1): the squares of c cancel.
    above = value[a] * share[b] - value[b] * share[a]
    below = value[a] - value[b] + total * (share[b] - share[a])
    if above == 0:
        return 0.0
    if groups < 3 or below == 0:
        return float("inf")
    rate = float(above / below * (groups - 1))
    if not 0 < rate < (groups - 1) / groups:
        return float("inf")
    return rate if corrected(sizes, sums, uniform(groups, rate)).feasible else float("inf")


def sensitivity(
    outcomes: Outcomes,
    errors: Mapping[str, float | Array] | None = None,
    scored: str | Mapping = "studies",
    rates: tuple[float, ...] = RATES,
) -> pd.DataFrame:
    """How gaps in accuracy between the groups of an attribute depend on wrong labels of that attribute.

    Args:
      outcomes: runs with methods; accuracies are means over a method's runs.
      errors: of attributes, the rate of wrong labels, or the matrix P(label | true group) in the vocabulary's order
        [true, label]. None takes all attributes at `rates`.
      scored: which groups are compared, see plan.grouping.
      rates: without `errors`.

    Returns:
      A row for each method, attribute, pair of groups (the better one first) and rate: method, attribute, group,
      other, n and n_other (images labelled so), rate (of wrong labels; of a matrix, the share that it implies), gap
      (of the labels as they are), alike (if errors are alike; NaN where that is not possible), lower and upper (at
      worst), sign_lost_at (smallest rate that may undo the gap at worst) and sign_lost_at_alike. A rate is, at
      worst, the largest share of wrong labels among those labelled as a group; alike, the share of a true group that
      is labelled as another. With several runs the worst case may give one image to two groups, a part to each: its
      bounds are then wider than they need be, never narrower.

    Raises:
      OutcomesError: an attribute does not exist, or a rate or matrix is impossible.
    """
    given: Mapping[str, tuple[float | Array, ...]]
    given = dict.fromkeys(outcomes.attributes, rates) if errors is None else {a: (e,) for a, e in errors.items()}
    methods, members = members_of(outcomes.runs)
    right = rights(outcomes)
    value = np.stack([right[own[own >= 0]].mean(0) for own in members])
    rows: list[dict] = []
    for attribute, every in given.items():
        division = grouping(outcomes, (attribute,), scored, 1)
        for error in every:
            _check_rate(attribute, error, len(division.names))
        for method, own in zip(methods, value, strict=True):
            rows += [{"method": method, "attribute": attribute} | row for row in _pairs(division, own, every)]
    return pd.DataFrame(rows)


def _check_rate(attribute: str, error: float | Array, groups: int) -> None:
    if np.ndim(error):
        check_matrix(np.asarray(error), groups)
    elif not 0 <= float(error) < 1:
        raise OutcomesError(f"the rate of wrong labels of {attribute!r} is {error}: at least 0 and below 1 is expected")


def _pairs(division: Grouping, value: Array, errors: Sequence[float | Array]) -> list[dict]:
    """A row for each pair of scored groups and each error, of one method."""
    inside = (division.codes >= 0) & ~np.isnan(value)
    codes, value = division.codes[inside], value[inside]
    sizes = np.bincount(codes, minlength=len(division.names)).astype(np.float64)
    sums = np.bincount(codes, weights=value, minlength=len(sizes))
    known = np.flatnonzero(sizes > 0)  # by rate alone, an empty group is nobody's true group
    rows = []
    for a, b in itertools.combinations(np.flatnonzero(division.scored & (sizes > 0)), 2):
        if sums[a] / sizes[a] < sums[b] / sizes[b]:
            a, b = b, a
        at = tuple(int(np.flatnonzero(known == g)[0]) for g in (a, b))
        pair = {
            "group": division.names[a],
            "other": division.names[b],
            "n": int(sizes[a]),
            "n_other": int(sizes[b]),
        }
        right, wrong = sums[known], (sizes - sums)[known]
        lost = {
            "sign_lost_at": sign_lost_at(right, wrong, *at),
            "sign_lost_at_alike": sign_lost_at_alike(sizes[known], sums[known], *at),
        }
        for error in errors:
            if isinstance(error, np.ndarray):
                found = _at_matrix(sizes, sums, error, int(a), int(b))
            else:
                found = _at_rate(right, wrong, float(error), *at)
            rows.append(pair | found | lost)
    return rows


def _at_rate(right: Array, wrong: Array, rate: float, a: int, b: int) -> dict[str, float]:
    matrix = uniform(len(right), rate)
    alike = float("nan")
    if np.linalg.cond(matrix) <= _SINGULAR:
        alike = _gap_alike(corrected(right + wrong, right, matrix), a, b)
    low, high = bounds(right, wrong, rate, a, b)
    gap = right[a] / (right[a] + wrong[a]) - right[b] / (right[b] + wrong[b])
    return {"rate": rate, "gap": gap, "alike": alike, "lower": low, "upper": high}


def _at_matrix(sizes: Array, sums: Array, matrix: Array, a: int, b: int) -> dict[str, float]:
    found = corrected(sizes, sums, matrix)
    low, high = bounds_of_matrix(sums, sizes - sums, matrix, a, b)
    gap = sums[a] / sizes[a] - sums[b] / sizes[b]
    wrong_labels = float(1 - found.shares @ np.diag(matrix))
    return {"rate": wrong_labels, "gap": gap, "alike": _gap_alike(found, a, b), "lower": low, "upper": high}


def _gap_alike(found: Corrected, a: int, b: int) -> float:
    return float(found.means[a] - found.means[b]) if found.feasible else float("nan")
