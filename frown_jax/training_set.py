"""What a mitigation sees of the training images: labels and attributes, never pixels."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from frown_jax.data.dataset import Dataset

EFFECTIVE_BETA = 0.9999
LABEL = "emotion"  # the column of classes, which groups may be made of like any attribute


class MitigationError(ValueError):
    """A mitigation that is unknown, misspelt, or does not fit the data; the message says what would do."""


@dataclasses.dataclass(frozen=True)
class Groups:
    """A division of images.

    Attributes:
      names: G tuples of values, one for each column.
      codes: int32 [N], 0 to G - 1; -1 where a value is not known or was dropped.
    """

    names: tuple[tuple[str, ...], ...]
    codes: np.ndarray

    @property
    def sizes(self) -> np.ndarray:
        """Images of each group, int64 [G]."""
        return np.bincount(self.codes[self.codes >= 0], minlength=len(self.names))


@dataclasses.dataclass(frozen=True)
class TrainingSet:
    """Labels and attributes of N training images.

    Attributes:
      classes: K names.
      labels: int32 [N].
      vocabularies: groups of each attribute.
      attributes: int32 [N] by name, -1 where unknown.
    """

    classes: tuple[str, ...]
    labels: np.ndarray
    vocabularies: dict[str, tuple[str, ...]]
    attributes: dict[str, np.ndarray]

    @classmethod
    def of(cls, data: Dataset) -> TrainingSet:
        codes = {a: data.groups(a) for a in data.attributes}
        return cls(data.classes, data.labels, dict(data.attributes), codes)

    @classmethod
    def without_attributes(cls, labels: np.ndarray, classes: int) -> TrainingSet:
        """Labels alone; classes are called 0, 1, ..."""
        return cls(tuple(map(str, range(classes))), np.asarray(labels, np.int32), {}, {})

    def __len__(self) -> int:
        return len(self.labels)

    def vocabulary(self, column: str) -> tuple[str, ...]:
        """The values of an attribute, or of LABEL.

        Raises:
          MitigationError: there is no such column.
        """
        if column == LABEL:
            return self.classes
        if column not in self.vocabularies:
            known = ", ".join((LABEL, *self.vocabularies))
            raise MitigationError(f"there is no column {column!r} to group by: one of {known}")
        return self.vocabularies[column]

    def groups(self, by: str | Sequence[str], drop: Sequence[str] = ()) -> Groups:
        """Groups of one column, or of a combination of several.

        Args:
          by: column names; LABEL is the class.
          drop: values whose images are in no group: 'Unsure', say.

        Raises:
          MitigationError: no such column, or a dropped value that no column has.
        """
        columns = columns_of(by)
        codes = np.zeros(len(self), np.int32)
        names: tuple[tuple[str, ...], ...] = ((),)
        for column in columns:
            vocabulary = self.vocabulary(column)
            own = self.labels if column == LABEL else self.attributes[column]
            own = np.where(np.isin(own, [i for i, v in enumerate(vocabulary) if v in drop]), -1, own)
            known = (codes >= 0) & (own >= 0)
            codes = np.where(known, codes * len(vocabulary) + own, -1).astype(np.int32)
            names = tuple((*left, right) for left in names for right in vocabulary)
        everything = {v for c in columns for v in self.vocabulary(c)}
        for value in drop:
            if value not in everything:
                raise MitigationError(f"drop names {value!r}, which {' x '.join(columns)} does not have")
        return Groups(names, codes)


def cells(groups: Groups, labels: np.ndarray, classes: int) -> np.ndarray:
    """Images of each group and class, float64 [G, K]."""
    known = groups.codes >= 0
    count = np.zeros((len(groups.names), classes))
    np.add.at(count, (groups.codes[known], labels[known]), 1)
    return count


def effective_weight(counts: np.ndarray, beta: float = EFFECTIVE_BETA) -> np.ndarray:
    """(1 - beta) / (1 - beta^n), one over the effective number of examples (Cui et al. 2019); 0 where n is 0."""
    n = np.asarray(counts, np.float64)
    return np.where(n > 0, (1 - beta) / np.maximum(1 - beta ** np.maximum(n, 1), 1e-12), 0)


def columns_of(by: str | Sequence[str]) -> tuple[str, ...]:
    """Column names: one, several, or several joined by 'x' or '*' in one string."""
    if isinstance(by, str):
        by = [part.strip() for part in by.replace("*", " x ").split(" x ")]
    return tuple(by)
