"""Arbitrariness: how often do two training seeds of one method disagree about a person?

Two models that differ in nothing but their seed may be equally accurate and still disagree about one person in four,
and more often about some groups. Cooper et al. 2024 ("Arbitrariness and social prediction: the confounding role of
variance in fair classification") call the chance that two of them agree an example's self-consistency, and let a
majority abstain where it is low.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

from frown_jax.errors import OutcomesError
from frown_jax.metrics.bootstrap import members_of
from frown_jax.metrics.intervals import wilson
from frown_jax.metrics.outcomes import Outcomes
from frown_jax.metrics.plan import TINY, Grouping, grouping

Array = np.ndarray
KAPPAS = tuple(round(0.1 * i, 1) for i in range(11))


def votes(predictions: Array, classes: int) -> Array:
    """How many runs give each answer, int [N, ..., K], of predictions int [R, N, ...] in 0 to K - 1."""
    return np.stack([(predictions == k).sum(0) for k in range(classes)], -1)


def self_consistency(counts: Array) -> Array:
    """The share of pairs of runs that agree, of each decision: sum over answers of k (k - 1) / (R (R - 1)).

    Every pair of different runs counts once, so its mean over choices of runs is the chance that two new runs agree.

    Args:
      counts: int [..., K], of `votes`.

    Returns:
      [...], 0 to 1; NaN with fewer than two runs.

    >>> self_consistency(np.array([[4, 0], [3, 1], [2, 2]])).round(3).tolist()
    [1.0, 0.5, 0.333]
    """
    total = counts.sum(-1).astype(np.float64)
    pairs = total * (total - 1)
    agreeing = (counts * (counts - 1)).sum(-1)
    return np.divide(agreeing, pairs, out=np.full(pairs.shape, np.nan), where=pairs > 0)


def majority_right(counts: Array, labels: Array) -> Array:
    """Whether the most frequent answer is right, [...]: 1, 0, or 1 / m where it is one of m answers alike."""
    top = counts == counts.max(-1, keepdims=True)
    own = np.take_along_axis(top, np.maximum(labels, 0)[..., None], -1)[..., 0]
    return np.where(labels < 0, np.nan, own / top.sum(-1))


def _decisions(outcomes: Outcomes) -> tuple[Array, Array, int]:
    """Predictions [R, N, T], labels [N, T] and the number of answers: one decision an image, or one a label."""
    if outcomes.multilabel:
        return outcomes.predictions, outcomes.labels, 2
    return outcomes.predictions[..., None], outcomes.labels[:, None], len(outcomes.targets)


def _divisions(outcomes: Outcomes, attributes: tuple[str, ...] | None) -> list[Grouping]:
    names = tuple(outcomes.attributes) if attributes is None else attributes
    return [grouping(outcomes), *(grouping(outcomes, (a,), "all") for a in names)]


def consistency(outcomes: Outcomes, attributes: tuple[str, ...] | None = None, level: float = 0.95) -> pd.DataFrame:
    """Self-consistency of every method, of everybody and of each group.

    Args:
      outcomes: runs; methods with one run are left out. Multi-label: over all labels, a decision each.
      attributes: whose groups; all by default.
      level: of the intervals.

    Returns:
      A row for each method and group: method, attribute, group ('' is everybody), n (images), subjects, seeds,
      consistency (mean over images), lower, upper, disagreeing (share of images about which not all runs agree). The
      interval is about people: other ones of the same group (one person's frames count as one draw) and, from three
      runs on, about seeds (a jackknife over them).

    Raises:
      OutcomesError: no method has two runs.
    """
    rows = []
    predictions, _, classes = _decisions(outcomes)
    for method, runs in _several(outcomes):
        counts = votes(predictions[runs], classes)
        own = self_consistency(counts).mean(-1)
        apart = (counts.max(-1) < len(runs)).any(-1)
        without = [self_consistency(votes(predictions[np.delete(runs, i)], classes)).mean(-1) for i in range(len(runs))]
        for division in _divisions(outcomes, attributes):
            for g, name in enumerate(division.names):
                inside = division.codes == g
                value, low, high, people = _interval(
                    own[inside],
                    None if outcomes.subjects is None else outcomes.subjects[inside],
                    np.array([w[inside].mean() if inside.any() else np.nan for w in without]),
                    level,
                )
                rows.append(
                    {
                        "method": method,
                        "attribute": division.label,
                        "group": name,
                        "n": int(inside.sum()),
                        "subjects": people,
                        "seeds": len(runs),
                        "consistency": value,
                        "lower": low,
                        "upper": high,
                        "disagreeing": apart[inside].mean() if inside.any() else np.nan,
                    }
                )
    return pd.DataFrame(rows)


def _several(outcomes: Outcomes) -> list[tuple[str, Array]]:
    """Methods with at least two runs, and the positions of those."""
    methods, members = members_of(outcomes.runs)
    out = [(m, own[own >= 0]) for m, own in zip(methods, members, strict=True) if (own >= 0).sum() > 1]
    if not out:
        raise OutcomesError("every method has one run: it takes two seeds of a method to disagree")
    return out


def _interval(values: Array, subjects: Array | None, without: Array, level: float) -> tuple[float, float, float, int]:
    """Mean of values, its interval and the number of people: Wilson's with as many images as its variance is worth.

    `without` are the means with each run left out.
    """
    n = len(values)
    if not n:
        return (float("nan"),) * 3 + (0,)
    person = np.unique(np.arange(n) if subjects is None else subjects, return_inverse=True)[1]
    people = int(person.max()) + 1
    mean = float(values.mean())
    if people < 2:
        low, high = wilson(np.array(mean), 1, level)
        return mean, float(low), float(high), people
    residuals = np.bincount(person, weights=values - mean)
    of_people = people / (people - 1) * float((residuals**2).sum()) / n**2
    runs = len(without)
    of_seeds = (runs - 1) / runs * float(((without - without.mean()) ** 2).sum()) if runs > 2 else 0.0
    total = of_people + of_seeds
    worth = float(people)
    if total > 0:
        parts = of_people**2 / (people - 1) + of_seeds**2 / (runs - 1)
        factor = float(stats.t.ppf((1 + level) / 2, total**2 / parts) / stats.norm.ppf((1 + level) / 2)) ** 2
        worth = mean * (1 - mean) / (total * factor)
        if people < TINY:
            worth = min(worth, people)
    low, high = wilson(np.array(mean * worth), np.array(worth), level)
    return mean, float(low), float(high), people


def abstention(
    outcomes: Outcomes, attributes: tuple[str, ...] | None = None, kappas: tuple[float, ...] = KAPPAS
) -> pd.DataFrame:
    """Accuracy of the runs' majority if it abstains where self-consistency is below kappa, by group.

    Args:
      outcomes: runs; methods with one run are left out.
      attributes: whose groups; all by default.
      kappas: thresholds, 0 to 1.

    Returns:
      A row for each method, group and kappa: method, attribute, group ('' is everybody), kappa, n (decisions with a
      known label), answered (share of them that is decided), accuracy of those (of equally frequent answers each
      counts its share; NaN where nobody is left).

    Raises:
      OutcomesError: no method has two runs.
    """
    predictions, labels, classes = _decisions(outcomes)
    rows = []
    for method, runs in _several(outcomes):
        counts = votes(predictions[runs], classes)
        sure, right = self_consistency(counts), majority_right(counts, labels)
        known = ~np.isnan(right)
        for division in _divisions(outcomes, attributes):
            for g, name in enumerate(division.names):
                inside = known & (division.codes == g)[:, None]
                own, hits = sure[inside], right[inside]
                for kappa in kappas:
                    kept = own >= kappa - 1e-9
                    rows.append(
                        {
                            "method": method,
                            "attribute": division.label,
                            "group": name,
                            "kappa": kappa,
                            "n": len(own),
                            "answered": kept.mean() if len(own) else np.nan,
                            "accuracy": hits[kept].mean() if kept.any() else np.nan,
                        }
                    )
    return pd.DataFrame(rows)
