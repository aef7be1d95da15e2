"""What every reader hands on: one table and one array of images."""

from __future__ import annotations

import dataclasses
import re

import numpy as np
import pandas as pd

from frown_jax import schema

AU_COLUMN = re.compile(r"AU\d+$")
_MEASURED = ("age_years", "skin_tone")  # numbers that describe a face; not groups


class DataError(ValueError):
    """The user's data or data settings are at fault; the message says what, where and how to mend it."""


@dataclasses.dataclass(frozen=True)
class Dataset:
    """Images with their labels; row i of `table` describes `images[i]`.

    Attributes:
      name: 'faces', 'rafdb', 'manifest'.
      table: columns id, split ('train', 'val', 'test'), emotion, optionally subject, any attributes (strings,
        missing as None) and AU columns ('AU12': 1, 0 or missing).
      images: uint8 [N, H, W, 3], sRGB.
      classes: emotion names; a label's code is its position.
      attributes: group vocabularies by attribute name; a value's code is its position.
      fingerprint: changes when any image or label does.
      notes: what the reader wants the user to know (skipped files, counts that differ from the published).
    """

    name: str
    table: pd.DataFrame
    images: np.ndarray
    classes: tuple[str, ...]
    attributes: dict[str, tuple[str, ...]]
    fingerprint: str
    notes: tuple[str, ...] = ()

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
        if not len(rows):
            found = ", ".join(sorted(self.table["split"].unique()))
            raise DataError(f"the data set {self.name!r} has no {name!r} images; its splits: {found}")
        return self.take(rows)

    @property
    def labels(self) -> np.ndarray:
        """Class codes, int32 [N]."""
        return schema.codes(self.table["emotion"], self.classes)

    def groups(self, attribute: str) -> np.ndarray:
        """Group codes of one attribute, int32 [N], -1 where unknown."""
        return schema.codes(self.table[attribute], self.attributes[attribute])


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
