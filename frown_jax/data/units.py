"""Which Action Units are predicted: those that occur often enough."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from frown_jax.data.dataset import au_columns, au_labels
from frown_jax.errors import DataError


def occurrences(table: pd.DataFrame) -> pd.DataFrame:
    """Images that show each Action Unit, that do not, and of which it is not known.

    Returns:
      Columns unit, present, absent, unknown; the most frequent first, units of equal counts by number.
    """
    units = au_columns(table)
    labels = au_labels(table, units)
    counts = {name: (labels == value).sum(0) for name, value in (("present", 1), ("absent", 0), ("unknown", -1))}
    return pd.DataFrame({"unit": units, **counts}).sort_values("present", ascending=False, kind="stable")


def select(
    table: pd.DataFrame, wanted: Sequence[str], fewest: int, name: str
) -> tuple[tuple[str, ...], pd.DataFrame, list[str]]:
    """The units to predict.

    Args:
      table: with AU columns.
      wanted: units by name; empty for those that at least `fewest` images show.
      fewest: the study's 8,000, "occurrence here means the display of the Action Unit on a face".
      name: of the data set, for errors.

    Returns:
      The units by number; `occurrences` with a column chosen; notes.

    Raises:
      DataError: there are no Action Units, not the wanted ones, or none occurs so often.
    """
    counts = occurrences(table).reset_index(drop=True)
    there = counts["unit"].tolist()
    if not there:
        raise DataError(f"{name}: no Action Unit labels (columns AU1, AU2, ...)")
    absent = [unit for unit in wanted if unit not in there]
    if absent:
        known = ", ".join(au_columns(table))
        raise DataError(f"--config.data.aus names {', '.join(absent)}; this data has {known}")
    chosen = counts["unit"].isin(wanted) if wanted else counts["present"] >= fewest
    counts["chosen"] = chosen
    if not chosen.any():
        most = ", ".join(f"{r.unit} {r.present:,}" for r in counts.head(3).itertuples())
        raise DataError(
            f"{name}: no Action Unit occurs {fewest:,} times (the most frequent: {most}); lower "
            "--config.data.min_occurrences, or name them with --config.data.aus=('AU1','AU12')"
        )
    units = tuple(u for u in au_columns(table) if u in set(counts.loc[chosen, "unit"]))
    notes = []
    left = counts.loc[~chosen, "unit"].tolist()
    if left and not wanted:
        notes.append(f"Action Units with fewer than {fewest:,} occurrences left out: {', '.join(left)}")
    single = [u for u in units if len(set(au_labels(table, [u]).ravel()) - {-1}) < 2]
    if single:
        raise DataError(f"{name}: all images of which {single[0]} is known agree in it: there is nothing to learn")
    return units, counts, notes


def labelled(table: pd.DataFrame, units: Sequence[str]) -> np.ndarray:
    """Whether any of the units is known, bool [N]."""
    return np.asarray((au_labels(table, units) >= 0).any(1))
