"""From predictions to the tidy results table, and its summary over seeds."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from frown_jax.metrics import predictions_table
from frown_jax.metrics.catalogue import METRICS
from frown_jax.metrics.outcomes import Outcomes
from frown_jax.metrics.plan import ROW_COLUMNS, Grouping, Plan, groupings
from frown_jax.metrics.statistics import Statistics

COLUMNS = ("member", "method", "seed", "split", *ROW_COLUMNS, "n", "value", "note")
_NOT_BY_DEFAULT = ("generalized_entropy_index", "theil_index")  # of each target; `metrics=` asks for them


def default_plan(outcomes: Outcomes, divisions: Sequence[Grouping] | None = None) -> Plan:
    """Every metric on these groupings; by default everybody, every attribute, intersections of up to three."""
    scored = outcomes.probabilities is not None
    names = [m.name for m in METRICS.values() if m.name not in _NOT_BY_DEFAULT and (scored or not m.scored)]
    return Plan.of(outcomes, groupings(outcomes) if divisions is None else divisions, names)


def values(outcomes: Outcomes, plan: Plan | None = None, tallies: Sequence[Statistics] | None = None) -> pd.DataFrame:
    """Every value of every run; `tallies` are the plan's, if they are at hand.

    Returns:
      The runs' columns, ROW_COLUMNS, n (images), value, note (see Plan.notes).
    """
    plan = plan or default_plan(outcomes)
    tallies = plan.tallies(outcomes) if tallies is None else tallies
    found, n, notes = plan.values(tallies), plan.n(tallies), plan.notes(tallies)
    rows = plan.rows
    out = pd.concat([rows] * len(outcomes.runs), ignore_index=True)
    for i, column in enumerate(outcomes.runs.columns):
        out.insert(i, column, np.repeat(outcomes.runs[column].to_numpy(), len(rows)))
    out["n"] = n.ravel().astype(np.int64)
    out["value"] = found.ravel()
    out["note"] = np.tile(notes, len(outcomes.runs))
    return out


def results(predictions: pd.DataFrame, attributes: Mapping[str, tuple[str, ...]]) -> pd.DataFrame:
    """Every metric of every member and split.

    Args:
      predictions: one row per member, split and image, as of `predictions_frame`: with a probability column per class
        ('p_Surprise', ...) and a column per attribute.
      attributes: group vocabularies of the attributes to report.

    Returns:
      Long format with COLUMNS, and draw of runs that draw their subjects. `attribute` and `group` are empty for
      everybody, `target` for what is not of one
      class; groups of intersections are joined by ' x '. Undefined values are NaN, with their n and a note.

    Raises:
      OutcomesError: predictions that cannot be measured.
    """
    frames = []
    for split, part in predictions.groupby("split", sort=False, observed=True):
        for draw, same in of_same_images(part):
            frame = values(predictions_table.outcomes(same, attributes))
            frame["split"], frame["draw"] = split, draw
            frames.append(frame)
    out = pd.concat(frames, ignore_index=True)
    for column in ("member", "method", "seed"):
        if column not in out:
            out[column] = 0
    columns = [*COLUMNS[:3], *(["draw"] if "draw" in predictions else []), *COLUMNS[3:]]
    return out.sort_values(["member", "split"], kind="stable", ignore_index=True)[columns]


def of_same_images(predictions: pd.DataFrame) -> Iterator[tuple[int, pd.DataFrame]]:
    """Predictions cut so that all runs of a part predict the same images; with the draw of subjects they are of."""
    if "draw" not in predictions:
        yield 0, predictions
        return
    for draw, part in predictions.groupby("draw", sort=False):
        images = part.groupby("member")["id"].agg(lambda ids: hash(tuple(sorted(ids))))
        for _, members in images.groupby(images, sort=False):
            yield int(str(draw)), part[part["member"].isin(members.index)].drop(columns="draw")


def over_seeds(table: pd.DataFrame) -> pd.DataFrame:
    """Spread over seeds.

    Args:
      table: of `results`.

    Returns:
      Per method, split, metric, attribute, group, target: n (images), seeds (defined values), mean, sd (ddof 1, NaN
      for one seed), min, max.
    """
    keys = ["method", "split", *ROW_COLUMNS]
    grouped = table.groupby(keys, sort=False, dropna=False)
    out = grouped["value"].agg(seeds="count", mean="mean", sd="std", min="min", max="max")
    out.insert(0, "n", grouped["n"].first())
    return out.reset_index()
