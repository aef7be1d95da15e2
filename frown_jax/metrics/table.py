"""From predictions to the tidy results table, and its summary over seeds."""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd

from frown_jax import schema
from frown_jax.metrics import classification, fairness

COLUMNS = ("member", "method", "seed", "split", "metric", "attribute", "group", "n", "value")
TINY = 10  # images: a claim that rests on fewer says so
_SEPARATOR = " x "
_MAX_CROSSED = 3  # attributes in an intersection


def probability_column(emotion: str) -> str:
    return f"p_{emotion}"


def classes_of(predictions: pd.DataFrame) -> tuple[str, ...]:
    """The class order of a predictions table."""
    return tuple(c[2:] for c in predictions.columns if c.startswith("p_"))


def _scored_groups(attribute: str, vocabulary: tuple[str, ...]) -> tuple[str, ...]:
    """Groups that enter the studies' fairness measures (no 'Unsure', 0-3 or 70+)."""
    study = schema.STUDY_GROUPS.get(attribute)
    return tuple(v for v in vocabulary if v in study) if study else vocabulary


def _intersections(attributes: Mapping[str, tuple[str, ...]]) -> list[tuple[str, ...]]:
    """Every pair and triple of the attributes, in their order."""
    names = list(attributes)
    return [c for size in range(2, min(len(names), _MAX_CROSSED) + 1) for c in itertools.combinations(names, size)]


def _rows(
    frame: pd.DataFrame, classes: tuple[str, ...], attributes: Mapping[str, tuple[str, ...]]
) -> Iterator[tuple[str, str, str, int, float]]:
    """(metric, attribute, group, n, value) of one member on one split."""
    labels, predicted = schema.codes(frame["emotion"], classes), schema.codes(frame["prediction"], classes)
    probabilities = frame[[probability_column(c) for c in classes]].to_numpy()
    n, k = len(frame), len(classes)
    matrix = classification.confusion(labels, predicted, k)
    overall = {
        "accuracy": classification.accuracy(labels, predicted),
        "balanced_accuracy": classification.balanced_accuracy(matrix),
        "macro_f1": classification.macro_f1(matrix),
        "weighted_f1": classification.weighted_f1(matrix),
        "auroc": classification.auroc(labels, probabilities),
        "log_loss": classification.log_loss(labels, probabilities),
    }
    for metric, value in overall.items():
        yield metric, "", "", n, value
    for name, recall, count in zip(classes, classification.recalls(matrix), matrix.sum(1), strict=True):
        yield "recall", "emotion", name, int(count), float(recall)

    correct = labels == predicted
    for attribute, vocabulary in attributes.items():
        groups = schema.codes(frame[attribute], vocabulary)
        by_group = {}
        for g, name in enumerate(vocabulary):
            chosen = groups == g
            by_group[name] = float(correct[chosen].mean()) if chosen.any() else float("nan")
            yield "accuracy", attribute, name, int(chosen.sum()), by_group[name]
        scored = _scored_groups(attribute, vocabulary)
        groups = schema.codes(frame[attribute], scored)
        count = int((groups >= 0).sum())
        opportunity = fairness.generalized_equal_opportunity(labels, predicted, groups, k, len(scored))
        parity = fairness.statistical_parity_gap(predicted, groups, k, len(scored))
        yield "generalized_equal_opportunity", attribute, "", count, opportunity
        yield "statistical_parity_gap", attribute, "", count, parity
        known = [by_group[name] for name in scored if np.isfinite(by_group[name])]
        gap = max(known) - min(known) if len(known) > 1 else float("nan")
        yield "accuracy_gap", attribute, "", count, gap
        yield "worst_group_accuracy", attribute, "", count, min(known, default=float("nan"))
    for crossed in _intersections(attributes):
        for cell in itertools.product(*(attributes[a] for a in crossed)):
            chosen = np.logical_and.reduce([(frame[a] == v).to_numpy() for a, v in zip(crossed, cell, strict=True)])
            value = float(correct[chosen].mean()) if chosen.any() else float("nan")
            yield "accuracy", _SEPARATOR.join(crossed), _SEPARATOR.join(cell), int(chosen.sum()), value


def results(predictions: pd.DataFrame, attributes: Mapping[str, tuple[str, ...]]) -> pd.DataFrame:
    """Every metric of every member and split.

    Args:
      predictions: one row per member, split and image, as of `predictions_frame`: with a probability column per class
        ('p_Surprise', ...) and a column per attribute.
      attributes: group vocabularies of the attributes to report.

    Returns:
      Long format with COLUMNS. `attribute` and `group` are empty for overall metrics; groups of intersections are
      joined by ' x '. Undefined values are NaN, with their n.
    """
    classes = classes_of(predictions)
    out = []
    for (member, method, seed, split), frame in predictions.groupby(
        ["member", "method", "seed", "split"], sort=True, observed=True
    ):
        who = (member, method, seed, split)
        out += [(*who, *row) for row in _rows(frame, classes, attributes)]
    return pd.DataFrame(out, columns=list(COLUMNS))


def over_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Spread over seeds.

    Args:
      table: of `results`.

    Returns:
      Per method, split, metric, attribute, group: n (images), seeds (defined values), mean, sd (ddof 1, NaN for
      one seed), min, max.
    """
    keys = ["method", "split", "metric", "attribute", "group"]
    grouped = table.groupby(keys, sort=False, dropna=False)
    out = grouped["value"].agg(seeds="count", mean="mean", sd="std", min="min", max="max")
    out.insert(0, "n", grouped["n"].first())
    return out.reset_index()
