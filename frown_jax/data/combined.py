"""Several data sets as one: what a set does not annotate is not known there."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from frown_jax.data import store
from frown_jax.data.dataset import au_columns
from frown_jax.errors import DataError


class CombinedSource:
    """Implements store.Source.

    Attributes:
      table: the parts' tables one after another: ids and subjects with their part's name in front ('ckplus/S005'), a
        column source with that name, Action Units as 1, 0 and NaN (of a part that does not annotate them).
      notes: of all parts.
    """

    name = "combined"

    def __init__(self, parts: Sequence[store.Source]):
        """`parts` in order.

        Raises:
          DataError: fewer than two, or one of them twice.
        """
        if len(parts) < 2:
            raise DataError("--config.data.parts: name at least two data sets, ('ckplus:DIR', 'actor_study:DIR')")
        if len({p.fingerprint for p in parts}) < len(parts):
            raise DataError("--config.data.parts: a data set is there twice, so that a person could be in two splits")
        self._parts = tuple(parts)
        names = [p.name if [q.name for q in parts].count(p.name) == 1 else f"{p.name}{i}" for i, p in enumerate(parts)]
        tables = []
        for name, part in zip(names, parts, strict=True):
            own = part.table.copy()
            own["id"] = f"{name}/" + own["id"].astype(str)
            if "subject" in own:
                own["subject"] = (f"{name}/" + own["subject"].astype(str)).where(own["subject"].notna(), None)
            own["source"] = name
            tables.append(own)
        units = {unit for t in tables for unit in au_columns(t)}
        # A number in one part and missing in another must stay a number.
        tables = [t.astype({u: np.float64 for u in units if u in t}) for t in tables]
        self.table = pd.concat(tables, ignore_index=True)
        for column in self.table.columns:
            if self.table[column].dtype == object:
                self.table[column] = self.table[column].where(self.table[column].notna(), None)
        self._ends = np.cumsum([len(t) for t in tables])
        self.fingerprint = store.hash_of("combined", *(p.fingerprint for p in parts))
        self.notes = tuple(
            f"{name}: {note}" for name, p in zip(names, parts, strict=True) for note in getattr(p, "notes", ())
        )

    def encoded_images(self, rows: np.ndarray) -> Iterator[bytes]:
        """As the parts'."""
        of = np.searchsorted(self._ends, rows, side="right")
        start = 0
        while start < len(rows):
            end = start + int(np.argmax(np.append(of[start:] != of[start], True)))
            part = int(of[start])
            first = self._ends[part - 1] if part else 0
            yield from self._parts[part].encoded_images(rows[start:end] - first)
            start = end
