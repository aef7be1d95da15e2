"""What is measured: labels, the answers of one or many runs on the same images, and the images' attributes."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from frown_jax.errors import OutcomesError
from frown_jax.metrics import statistics

UNKNOWN = -1  # code of an attribute value or a label that is not known
_SUM_TOLERANCE = 1e-3


@dataclasses.dataclass(frozen=True)
class Attribute:
    """One attribute of every image: position in the vocabulary, int32 [N], UNKNOWN where it has no value."""

    codes: np.ndarray
    vocabulary: tuple[str, ...]

    @classmethod
    def of(cls, values: Any, vocabulary: Sequence[str] | None = None) -> Attribute:
        """Codes of values; None, NaN and '' are unknown, and so is what a given vocabulary lacks."""
        text = [None if _missing(v) else _name(v) for v in np.asarray(values, object)]
        names = tuple(vocabulary) if vocabulary is not None else tuple(sorted({t for t in text if t is not None}))
        codes = pd.Index(list(names), dtype=object).get_indexer(pd.Index(text, dtype=object))
        return cls(codes.astype(np.int32), names)


@dataclasses.dataclass(frozen=True)
class Outcomes:
    """Checked labels and answers; build it with `of` (arrays) or metrics.read.outcomes (data frames).

    Attributes:
      targets: T names: classes, or the labels (Action Units) of a multi-label task.
      labels: int32 [N], 0 to T - 1; multi-label int32 [N, T]: 1, 0, UNKNOWN.
      predictions: int32 [R, N], or [R, N, T].
      probabilities: float [R, N, T] in 0 to 1; None if there are none.
      attributes: by name, in order.
      runs: R rows with columns method and seed, and others that identify a run.
      ids: object [N], what errors and tables call an image.
      subjects: int32 [N], who is on the image; None if not known.
    """

    targets: tuple[str, ...]
    labels: np.ndarray
    predictions: np.ndarray
    probabilities: np.ndarray | None
    attributes: dict[str, Attribute]
    runs: pd.DataFrame
    ids: np.ndarray
    subjects: np.ndarray | None = None

    @property
    def multilabel(self) -> bool:
        return self.labels.ndim == 2

    @functools.cached_property
    def answers(self) -> statistics.Answers:
        """What the statistics are made from."""
        return statistics.answers(self.labels, self.predictions, self.probabilities)

    def select(self, runs: np.ndarray) -> Outcomes:
        """Some of the runs, by position or mask."""
        p = self.probabilities
        chosen = self.runs.iloc[np.flatnonzero(runs) if runs.dtype == bool else runs].reset_index(drop=True)
        return dataclasses.replace(
            self, predictions=self.predictions[runs], probabilities=None if p is None else p[runs], runs=chosen
        )

    @classmethod
    def of(
        cls,
        y_true: Any,
        y_pred: Any = None,
        probabilities: Any = None,
        attributes: Mapping[str, Any] | pd.DataFrame | None = None,
        *,
        targets: Sequence[Any] | None = None,
        runs: pd.DataFrame | None = None,
        subjects: Any = None,
        ids: Any = None,
        threshold: float = 0.5,
    ) -> Outcomes:
        """Checks arrays.

        Args:
          y_true: [N] class names or numbers; or multi-label [N, T] of 1, 0 and -1 or NaN (not known).
          y_pred: [N] or [R, N] (multi-label [N, T] or [R, N, T]); None takes the most probable class, or what
            reaches the threshold.
          probabilities: [N, T] or [R, N, T], columns in the order of `targets`; None if there are none.
          attributes: values [N] by name, or an `Attribute`; None, NaN and '' are unknown.
          targets: classes in order. By default what occurs in y_true and y_pred, sorted; 0 to T - 1 for probabilities.
          runs: R rows that identify the runs; by default method 'model' and seeds 0 to R - 1.
          subjects: [N], for the cluster bootstrap; without a name, an image is a subject of its own.
          ids: [N], names of the images.
          threshold: of multi-label probabilities.

        Raises:
          OutcomesError: unequal lengths, values out of range or unknown, missing predictions.
        """
        truth = _array(y_true)
        n = len(truth)
        if truth.ndim not in (1, 2):
            raise OutcomesError(f"y_true has shape {truth.shape}: [N] classes or [N, T] labels are expected")
        if y_pred is None and probabilities is None:
            raise OutcomesError("give y_pred or probabilities")
        p = None if probabilities is None else _with_runs(probabilities, 3, "probabilities", n)
        given = None if y_pred is None else _with_runs(y_pred, truth.ndim + 1, "y_pred", n)
        names = _targets(truth, given, p, targets)
        if p is not None:
            check_probabilities(p, names, simplex=truth.ndim == 1)
        if truth.ndim == 2:
            labels = binary_of(truth, names, "y_true", missing=True)
            if labels.shape[1] != len(names):
                raise OutcomesError(f"y_true has {labels.shape[1]} columns for {len(names)} targets")
            answers = binary_of(given, names, "y_pred", False) if given is not None else _above(p, threshold)
        else:
            labels = codes_of(truth, names, "y_true")
            answers = codes_of(given, names, "y_pred") if given is not None else _most_probable(p)
        if p is not None and answers.shape[:2] != p.shape[:2]:
            raise OutcomesError(f"y_pred has {len(answers)} runs and probabilities {len(p)}")
        if runs is None:
            runs = pd.DataFrame({"method": "model", "seed": np.arange(len(answers))})
        if len(runs) != len(answers):
            raise OutcomesError(f"there are {len(answers)} runs and {len(runs)} rows that name them")
        known = {} if attributes is None else {str(k): v for k, v in attributes.items()}
        made = {k: v if isinstance(v, Attribute) else Attribute.of(v) for k, v in known.items()}
        for name, attribute in made.items():
            if len(attribute.codes) != n:
                raise OutcomesError(f"attribute {name!r} has {len(attribute.codes)} values for {n} labels")
        if subjects is not None and len(subjects) != n:
            raise OutcomesError(f"subjects has {len(subjects)} values for {n} labels")
        clusters = None if subjects is None else subject_codes(subjects)
        where = np.arange(n).astype(str).astype(object) if ids is None else np.asarray(ids, object)
        return cls(names, labels, answers, p, made, runs.reset_index(drop=True), where, clusters)


def subject_codes(subjects: Any) -> np.ndarray:
    """Numbers of subjects, int32 [N]; an image without a name is a subject of its own."""
    codes = pd.factorize(np.asarray(subjects, object))[0].astype(np.int32)
    alone = codes < 0
    codes[alone] = codes.max(initial=-1) + 1 + np.arange(alone.sum())
    return codes


def _array(values: Any) -> np.ndarray:
    """An array in which a missing name among strings is not the string 'nan'."""
    array = np.asarray(values)
    return array if isinstance(values, np.ndarray) or array.dtype.kind not in "US" else np.asarray(values, object)


def _with_runs(values: Any, axes: int, name: str, n: int) -> np.ndarray:
    array = _array(values)
    if array.ndim == axes - 1:
        array = array[None]
    if array.ndim != axes:
        raise OutcomesError(f"{name} has shape {np.shape(values)}: {axes - 1} axes, or {axes} with runs, are expected")
    if array.shape[1] != n:
        raise OutcomesError(f"{name} has {array.shape[1]} rows and y_true {n}")
    return array


def _above(p: np.ndarray | None, threshold: float) -> np.ndarray:
    assert p is not None
    return np.asarray(p >= threshold, np.int32)


def _most_probable(p: np.ndarray | None) -> np.ndarray:
    assert p is not None
    return p.argmax(-1).astype(np.int32)


def _targets(
    truth: np.ndarray, given: np.ndarray | None, p: np.ndarray | None, targets: Sequence[Any] | None
) -> tuple[str, ...]:
    if targets is not None:
        names = tuple(str(t) for t in targets)
        if len(set(names)) != len(names):
            raise OutcomesError(f"targets are named twice: {', '.join(names)}")
        if p is not None and p.shape[-1] != len(names):
            raise OutcomesError(f"probabilities have {p.shape[-1]} columns for {len(names)} targets")
        return names
    width = truth.shape[1] if truth.ndim == 2 else (p.shape[-1] if p is not None else 0)
    if width:
        return tuple(str(k) for k in range(width))
    occurring = set(pd.unique(truth)) | (set() if given is None else set(pd.unique(given.ravel())))
    real = [v for v in occurring if not _missing(v)]
    try:
        return tuple(str(v) for v in sorted(real))
    except TypeError:
        return tuple(sorted(str(v) for v in real))


def _missing(value: Any) -> bool:
    return value is None or value != value or (isinstance(value, str) and not value.strip())


def _name(value: Any) -> str:
    """How a class is called: 3.0 as read from a CSV with gaps is the class 3."""
    return str(int(value)) if isinstance(value, float | np.floating) and float(value).is_integer() else str(value)


def codes_of(
    values: np.ndarray, targets: tuple[str, ...], column: str, row: Callable[[int], str] = "row {}".format
) -> np.ndarray:
    """Class numbers, int32, shape of `values`; `row` says how errors call one.

    Raises:
      OutcomesError: a value is missing or no class.
    """
    flat = np.asarray(values).ravel()
    _, first, inverse = np.unique(flat.astype(object).astype(str), return_index=True, return_inverse=True)
    numbers = {name: k for k, name in enumerate(targets)}
    found = np.array([UNKNOWN if _missing(v) else numbers.get(_name(v), UNKNOWN) for v in flat[first]], np.int32)
    out = found[inverse].reshape(np.shape(values))
    if (out < 0).any():
        at = np.argwhere(out < 0)[0]
        value = np.asarray(values)[tuple(at)]
        what = "no value" if _missing(value) else f"{value!s:.60} is none of the classes {', '.join(targets)}"
        raise OutcomesError(f"column {column}, {row(int(at[-1]))}: {what}{_of_run(at[:-1])}")
    return out


def binary_of(
    values: np.ndarray,
    targets: tuple[str, ...],
    column: str,
    missing: bool,
    row: Callable[[int], str] = "row {}".format,
) -> np.ndarray:
    """0, 1 and (if `missing` are allowed) UNKNOWN; int32."""
    try:
        numbers = np.asarray(values, np.float64)
    except (TypeError, ValueError) as e:
        raise OutcomesError(f"column {column}: 0, 1 or -1 are expected ({e})") from None
    unknown = np.isnan(numbers) | (numbers == UNKNOWN)
    bad = ~(np.isin(numbers, (0, 1)) | (unknown & missing))
    if bad.any():
        at = np.argwhere(bad)[0]
        raise OutcomesError(
            f"column {column}, target {targets[at[-1]]}, {row(int(at[-2]))}: {numbers[tuple(at)]:g} is neither 0 nor 1"
            f"{' nor -1 (not known)' if missing else ''}{_of_run(at[:-2])}"
        )
    return np.where(unknown, UNKNOWN, numbers).astype(np.int32)


def check_probabilities(
    p: np.ndarray, targets: tuple[str, ...], simplex: bool, row: Callable[[int], str] = "row {}".format
) -> None:
    """Raises OutcomesError for a probability outside 0 to 1, NaN, or (`simplex`) rows that do not sum to 1."""
    if not np.issubdtype(p.dtype, np.floating):
        try:
            p = p.astype(np.float64)
        except (TypeError, ValueError) as e:
            raise OutcomesError(f"probabilities are not numbers ({e})") from None
    bad = ~((p >= -1e-6) & (p <= 1 + 1e-6))
    if bad.any():
        r, i, k = np.argwhere(bad)[0]
        raise OutcomesError(f"column p_{targets[k]}, {row(i)}: {p[r, i, k]:g} is not between 0 and 1{_of_run([r])}")
    if simplex and p.size:
        total = p.sum(-1, dtype=np.float64)
        wrong = abs(total - 1) > _SUM_TOLERANCE
        if wrong.any():
            r, i = np.argwhere(wrong)[0]
            columns = f"p_{targets[0]} to p_{targets[-1]}"
            raise OutcomesError(f"columns {columns}, {row(i)}: they sum to {total[r, i]:.6g}, not 1{_of_run([r])}")


def _of_run(at: Any) -> str:
    return f" (run {int(at[0])})" if len(at) and int(at[0]) else ""
