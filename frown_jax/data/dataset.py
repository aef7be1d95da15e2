"""What every reader hands on: one table and one array of images."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Sequence

import numpy as np
import pandas as pd

from frown_jax import schema
from frown_jax.errors import DataError

AU_COLUMN = re.compile(r"AU\d+$")
_MEASURED = ("age_years", "skin_tone", "melanin")  # numbers that describe a face; not groups


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Images with their labels; row i of `table` describes `images[i]`.

    Attributes:
      name: 'faces', 'rafdb', 'manifest'.
      table: columns id, split ('train', 'val', 'test'), emotion, optionally subject, any attributes (strings,
        missing as None) and AU columns ('AU12': 1, 0 or missing).
      images: uint8 [N, H, W, 3], sRGB.
      classes: emotion names; a label's code is its position. Of a multi-label data set, its Action Units ('AU12').
      attributes: group vocabularies by attribute name; a value's code is its position.
      fingerprint: changes when any image or label does.
      notes: what the reader wants the user to know (skipped files, counts that differ from the published).
      multilabel: whether the Action Units are what is predicted.
      occurrences: of every Action Unit of the source, see data.units; None if they are not predicted.
    """

    name: str
    table: pd.DataFrame
    images: np.ndarray
    classes: tuple[str, ...]
    attributes: dict[str, tuple[str, ...]]
    fingerprint: str
    notes: tuple[str, ...] = ()
    multilabel: bool = False
    occurrences: pd.DataFrame | None = None

    def __len__(self) -> int:
        return len(self.table)

    def take(self, rows: np.ndarray) -> Dataset:
        """The given rows, in that order."""
        return dataclasses.replace(self, table=self.table.iloc[rows].reset_index(drop=True), images=self.images[rows])

    def split(self, name: str) -> Dataset:
        """The rows of one split.

        Raises:
          DataError: there is none.
        """
        rows = np.flatnonzero((self.table["split"] == name).to_numpy())
        if len(rows) == len(self):
            return self
        if not len(rows):
            found = ", ".join(sorted(self.table["split"].unique()))
            raise DataError(f"the data set {self.name!r} has no {name!r} images; its splits: {found}")
        return self.take(rows)

    @property
    def labels(self) -> np.ndarray:
        """Class codes, int32 [N]; or [N, T] of 1, 0 and -1 (not known) for each Action Unit."""
        if self.multilabel:
            return au_labels(self.table, self.classes)
        return schema.codes(self.table["emotion"], self.classes)

    def groups(self, attribute: str) -> np.ndarray:
        """Group codes of one attribute, int32 [N], -1 where unknown."""
        return schema.codes(self.table[attribute], self.attributes[attribute])


def au_labels(table: pd.DataFrame, units: Sequence[str]) -> np.ndarray:
    """1, 0 and -1 (not known) of each image and unit, int32 [N, T]."""
    values = table[list(units)].to_numpy(np.float64)
    return np.where(np.isnan(values), -1, values).astype(np.int32)


def au_columns(table: pd.DataFrame) -> tuple[str, ...]:
    """The table's Action Units, by number."""
    return tuple(sorted((c for c in table.columns if AU_COLUMN.fullmatch(c)), key=lambda c: int(c[2:])))


def attribute_vocabularies(table: pd.DataFrame) -> dict[str, tuple[str, ...]]:
    """Vocabularies of every attribute column: RAF-DB's own order for its attributes, else sorted."""
    measured = {c for c in _MEASURED if c in table and pd.api.types.is_numeric_dtype(table[c])}
    skip = {*schema.RESERVED_COLUMNS, *measured, "emotion_true", "line"}
    out = {}
    for column in table.columns:
        if column in skip or AU_COLUMN.fullmatch(column) or column.startswith("_"):
            continue
        present = set(table[column].dropna().astype(str))
        if not present:
            continue
        known = schema.ATTRIBUTES.get(column, ())
        out[column] = (*known, *sorted(present - set(known))) if known else tuple(sorted(present))
    return out
