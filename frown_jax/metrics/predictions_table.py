"""Outcomes from a table of predictions, of this package or of anybody: one row per run and image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from frown_jax.errors import OutcomesError
from frown_jax.metrics.outcomes import (
    Attribute,
    Outcomes,
    binary_of,
    check_probabilities,
    codes_of,
    subject_codes,
)

TRUTH = ("y_true", "emotion", "label")
PREDICTION = ("y_pred", "prediction", "predicted")
PROBABILITY = "p_"
TRUE_LABEL, DECISION = "y_true_", "y_pred_"  # of one of many labels
RUN_COLUMNS = ("member", "method", "seed")


def probability_column(target: str) -> str:
    return f"{PROBABILITY}{target}"


def classes_of(table: pd.DataFrame) -> tuple[str, ...]:
    """The targets that a table has probabilities of, in its order."""
    return tuple(c[len(PROBABILITY) :] for c in table.columns if c.startswith(PROBABILITY))


def _first(table: pd.DataFrame, names: Sequence[str]) -> str | None:
    return next((n for n in names if n in table.columns), None)


def _line(i: int) -> str:
    return f"row {i} (line {i + 2} of a CSV)"


def outcomes(
    table: pd.DataFrame,
    attributes: Sequence[str] | Mapping[str, Sequence[str]] = (),
    classes: Sequence[str] | None = None,
    threshold: float = 0.5,
) -> Outcomes:
    """Checks a table of predictions, all of one split.

    Args:
      table: columns y_true (or emotion, label); y_pred (or prediction, predicted), or probabilities p_<class> of
        every class, or both; the attributes; optionally method, seed and member (a run each), id (which image: needed
        if there are several runs, unless they list the same images in the same order), subject. Multi-label: columns
        y_true_<label> of 1, 0 and -1 or blank (not known), and y_pred_<label> or p_<label>.
      attributes: columns; with their groups in order, or sorted.
      classes: in order; by default those of the p_ columns, or what occurs.
      threshold: of multi-label probabilities.

    Raises:
      OutcomesError: naming the column, the row and the value.
    """
    if table.empty:
        raise OutcomesError("the table of predictions is empty")
    table = table.reset_index(drop=True)
    truth = _first(table, TRUTH)
    labels = [c.removeprefix(TRUE_LABEL) for c in table.columns if c.startswith(TRUE_LABEL)]
    if truth is None and not labels:
        raise OutcomesError(f"there is no column {' or '.join(TRUTH)}; there are {', '.join(map(str, table.columns))}")
    for name in attributes:
        if name not in table:
            raise OutcomesError(f"there is no column {name!r}; there are {', '.join(map(str, table.columns))}")
    if truth is None:
        return _multilabel(table, tuple(labels), attributes, threshold)
    predicted, found = _first(table, PREDICTION), classes_of(table)
    if predicted is None and not found:
        raise OutcomesError(f"there is no column {' or '.join(PREDICTION)}, nor probabilities {PROBABILITY}<class>")
    targets = tuple(str(c) for c in classes) if classes else found
    if not targets:
        values = pd.unique(pd.concat([table[truth], table[predicted]]).dropna())
        targets = tuple(Attribute.of(values).vocabulary)
        targets = tuple(sorted(targets, key=float)) if all(_is_number(t) for t in targets) else targets
    missing = [t for t in targets if t not in found]
    if found and missing:
        raise OutcomesError(f"there is no column {probability_column(missing[0])!r} for the class {missing[0]!r}")
    codes = codes_of(table[truth].to_numpy(object), targets, truth, _line)
    p = _probabilities(table, targets, simplex=True) if found else None
    if predicted is not None:
        answers = codes_of(table[predicted].to_numpy(object), targets, predicted, _line)
    else:
        assert p is not None
        answers = p.argmax(-1).astype(np.int32)
    return _by_run(table, targets, codes, answers, p, attributes)


def _multilabel(
    table: pd.DataFrame, targets: tuple[str, ...], attributes: Sequence[str] | Mapping, threshold: float
) -> Outcomes:
    truth = binary_of(table[[f"{TRUE_LABEL}{t}" for t in targets]].to_numpy(), targets, "y_true", True, _line)
    predicted = [t for t in targets if f"{DECISION}{t}" in table]
    scored = [t for t in targets if probability_column(t) in table]
    for prefix, present in ((DECISION, predicted), (PROBABILITY, scored)):
        if present and len(present) < len(targets):
            lacking = next(t for t in targets if t not in present)
            raise OutcomesError(f"there is no column {prefix}{lacking!r}")
    if not predicted and not scored:
        raise OutcomesError(f"there are no columns {DECISION}{targets[0]} or {probability_column(targets[0])}")
    p = _probabilities(table, targets, simplex=False) if scored else None
    if predicted:
        answers = binary_of(table[[f"{DECISION}{t}" for t in targets]].to_numpy(), targets, "y_pred", False, _line)
    else:
        assert p is not None
        answers = (p >= threshold).astype(np.int32)
    return _by_run(table, targets, truth, answers, p, attributes)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _probabilities(table: pd.DataFrame, targets: tuple[str, ...], simplex: bool) -> np.ndarray:
    columns = [probability_column(t) for t in targets]
    for column in columns:
        if not pd.api.types.is_numeric_dtype(table[column]):
            numbers = pd.to_numeric(table[column], errors="coerce")
            i = int(np.argmax(numbers.isna()))
            raise OutcomesError(f"column {column}, {_line(i)}: {table[column].iloc[i]!r} is not a number")
    p = table[columns].to_numpy()
    check_probabilities(p[None], targets, simplex, _line)
    return p


def _by_run(
    table: pd.DataFrame,
    targets: tuple[str, ...],
    labels: np.ndarray,
    answers: np.ndarray,
    p: np.ndarray | None,
    attributes: Sequence[str] | Mapping[str, Sequence[str]],
) -> Outcomes:
    """Rows of a long table as runs beside each other on the same images."""
    keys = [c for c in RUN_COLUMNS if c in table]
    run: np.ndarray = np.zeros(len(table), np.int64)
    frame = pd.DataFrame(index=[0])
    if keys:
        grouped = table.groupby(keys, sort=False, dropna=False)
        run = grouped.ngroup().to_numpy()
        frame = table.loc[~table.duplicated(keys), keys].reset_index(drop=True)
    if "method" not in frame:
        frame = frame.assign(method="model")
    if "seed" not in frame:
        frame["seed"] = np.arange(len(frame)) if "member" in frame else 0
    if frame.duplicated(["method", "seed"]).any():
        who = frame[frame.duplicated(["method", "seed"])].iloc[0]
        raise OutcomesError(f"method {who['method']!r} has several runs of seed {who['seed']}")
    image = _images(table, run, len(frame))
    place = np.full((len(frame), image.max() + 1), -1)
    place[run, image] = np.arange(len(table))
    if (place < 0).any():
        r, i = np.argwhere(place < 0)[0]
        names = ", ".join(f"{k} {v}" for k, v in frame.iloc[r].items())
        has = table["id"].iloc[place[place[:, i] >= 0][0, i]] if "id" in table else i
        raise OutcomesError(
            f"run {names} has no row for image {has}, which another has: runs are compared on the same images"
        )
    first = place[0]
    given = dict(attributes) if isinstance(attributes, Mapping) else dict.fromkeys(attributes)
    made = {a: Attribute.of(table[a], v) for a, v in given.items()}
    for name, values in [("labels", labels), *((a, x.codes) for a, x in made.items())]:
        differs = (values[place] != values[first]).reshape(len(frame), len(first), -1).any(-1)
        if differs.any():
            r, i = np.argwhere(differs)[0]
            raise OutcomesError(
                f"{name}, {_line(int(place[r, i]))}: not what {_line(int(first[i]))} says of the same image"
                + ("" if "id" in table else "; with several runs a column id tells which image a row is about")
            )
    return Outcomes(  # checked above, row by row
        targets,
        labels[first],
        answers[place],
        None if p is None else p[place],
        {a: Attribute(x.codes[first], x.vocabulary) for a, x in made.items()},
        frame,
        table["id"].to_numpy(object)[first] if "id" in table else np.arange(len(first)).astype(str).astype(object),
        subject_codes(table["subject"].to_numpy(object)[first]) if "subject" in table else None,
    )


def _images(table: pd.DataFrame, run: np.ndarray, runs: int) -> np.ndarray:
    """Which image each row is about, int [rows]."""
    if "id" in table:
        image = pd.factorize(table["id"])[0]
        if (image < 0).any():
            raise OutcomesError(f"column id, {_line(int(np.argmax(image < 0)))}: no value")
        twice = pd.DataFrame({"run": run, "image": image}).duplicated().to_numpy()
        if twice.any():
            i = int(np.argmax(twice))
            raise OutcomesError(f"column id, {_line(i)}: {table['id'].iloc[i]!r} is there twice in one run")
        return image
    sizes = np.bincount(run, minlength=runs)
    if (sizes != sizes[0]).any():
        raise OutcomesError(
            f"runs have {sizes.min()} to {sizes.max()} rows: "
            "with several runs a column id tells which image a row is about"
        )
    return pd.Series(run).groupby(run).cumcount().to_numpy()
