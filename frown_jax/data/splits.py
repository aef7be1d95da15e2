"""Validation and test splits. Subjects with several images are never divided."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd

from frown_jax.errors import DataError

STUDY_FRACTION, STUDY_SEED = 0.2, 5
_CANDIDATES = 64


def study_split(count: int, fraction: float = STUDY_FRACTION, seed: int = STUDY_SEED) -> np.ndarray:
    """The first study's validation rows: scikit-learn's train_test_split(test_size=0.2, random_state=5).

    Unstratified; for RAF-DB's 12,271 training rows in label-file order it gives 2,455.

    Returns:
      bool [count], True for validation.
    """
    chosen = np.random.RandomState(seed).permutation(count)[: math.ceil(count * fraction)]
    mask = np.zeros(count, bool)
    mask[chosen] = True
    return mask


def _whole_strata(code: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Rows drawn per stratum, with the rounding of strata adjusted to the total (largest remainder)."""
    exact = fraction * np.bincount(code)
    take = np.floor(exact).astype(int)
    short = round(fraction * len(code)) - take.sum()
    take[np.argsort(take - exact, kind="stable")[:short]] += 1
    order = rng.permutation(len(code))
    order = order[np.argsort(code[order], kind="stable")]
    starts = np.concatenate([[0], np.cumsum(np.bincount(code))[:-1]])
    rank = np.arange(len(code)) - starts[code[order]]
    mask = np.zeros(len(code), bool)
    mask[order[rank < take[code[order]]]] = True
    return mask


def _whole_subjects(code: np.ndarray, person: np.ndarray, fraction: float, rng: np.random.Generator) -> np.ndarray:
    """Subjects taken one by one, each time the best for the strata's missing counts among some drawn at random."""
    counts = np.zeros((person.max() + 1, code.max() + 1))
    np.add.at(counts, (person, code), 1)
    wanted, missing = fraction * counts.sum(0), fraction * len(code)
    left = rng.permutation(len(counts)).tolist()
    taken = np.zeros(len(counts), bool)
    while left and missing > 0:
        drawn = rng.choice(len(left), min(_CANDIDATES, len(left)), replace=False)
        c = counts[[left[i] for i in drawn]]
        gain = (c * (2 * wanted - c)).sum(1)
        gain[c.sum(1) > 2 * missing] = -np.inf  # nearer to the total without
        best = int(gain.argmax())
        if gain[best] == -np.inf:
            break
        chosen = left.pop(int(drawn[best]))
        taken[chosen] = True
        wanted, missing = wanted - counts[chosen], missing - counts[chosen].sum()
    return taken[person]


def stratified_split(
    strata: pd.DataFrame, subjects: pd.Series | None, fraction: float, seed: int
) -> tuple[np.ndarray, list[str]]:
    """Takes `fraction` of the rows so that every stratum gives its share, as far as whole subjects allow.

    Args:
      strata: one column per variable to stratify by; rows that agree in all of them are a stratum.
      subjects: who is on each row, or None if every row is a person of its own. Missing names are persons of
        their own.
      fraction: of the rows, 0 to 1.
      seed: of the draw.

    Returns:
      bool [rows], True for the rows taken; and the names of the strata that gave none.
    """
    rng = np.random.default_rng(seed)
    stratum = strata.astype(object).where(strata.notna(), "?").astype(str).agg(" ".join, axis=1)
    code, names = pd.factorize(stratum, sort=True)
    own = pd.Series([f"\0{i}" for i in range(len(strata))], index=strata.index)
    person = pd.factorize(own if subjects is None else subjects.where(subjects.notna(), own))[0]
    if person.max() + 1 == len(person):
        mask = _whole_strata(code, fraction, rng)
    else:
        mask = _whole_subjects(code, person, fraction, rng)
    got = np.bincount(code[mask], minlength=len(names))
    return mask, [str(n) for n, g in zip(names, got, strict=True) if not g]


def assign(
    table: pd.DataFrame,
    source: str,
    target: str,
    fraction: float,
    by: tuple[str, ...],
    seed: int,
) -> tuple[pd.DataFrame, list[str]]:
    """Moves a stratified share of one split into another.

    Args:
      table: with columns split and those in `by` that exist.
      source: split to take from.
      target: split to move to.
      fraction: share to move, strictly between 0 and 1.
      by: columns to stratify by; absent ones are passed over.
      seed: of the draw.

    Returns:
      The table with its split column changed, and notes for the user.

    Raises:
      DataError: bad fraction, or too few rows to divide.
    """
    if not 0 < fraction < 1:
        raise DataError(f"the share to move from {source} to {target} is {fraction}: it must lie between 0 and 1")
    rows = np.flatnonzero((table["split"] == source).to_numpy())
    part = table.iloc[rows]
    columns = [c for c in by if c in part]
    strata = part[columns] if columns else pd.DataFrame({"all": ["all"] * len(part)}, index=part.index)
    mask, empty = stratified_split(strata, part.get("subject"), fraction, seed)
    if not mask.any() or mask.all():
        raise DataError(f"{len(rows)} {source} images are too few to move a share of {fraction} to {target}")
    split = table["split"].to_numpy(object).copy()
    split[rows[mask]] = target
    notes = []
    if empty:
        shown = ", ".join(empty[:8]) + (", ..." if len(empty) > 8 else "")
        notes.append(f"{target}: no image of {len(empty)} strata of {' x '.join(columns)} (too few): {shown}")
    return table.assign(split=split), notes
