"""What a mitigation sees of the training images: labels and attributes, never pixels."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from frown_jax.data.dataset import Dataset
from frown_jax.errors import MitigationError

EFFECTIVE_BETA = 0.9999
LABEL = "emotion"  # the column of classes, which groups may be made of like any attribute


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


PRESENCE = ("absent", "present")  # the groups of a label that an image may have or not, an Action Unit


def columns(
    classes: Sequence[str], vocabularies: Mapping[str, tuple[str, ...]], multilabel: bool
) -> dict[str, tuple[str, ...]]:
    """What images can be grouped by, with the groups: LABEL, or every one of many labels; and the attributes."""
    own = dict.fromkeys(classes, PRESENCE) if multilabel else {LABEL: tuple(classes)}
    return {**own, **vocabularies}


@dataclasses.dataclass(frozen=True)
class Annotations:
    """Labels and attributes of N training images.

    Attributes:
      classes: K names.
      labels: int32 [N]; or [N, K] of 1, 0 and -1 (not known), where an image has many labels.
      vocabularies: groups of each attribute.
      attributes: int32 [N] by name, -1 where unknown.
      subjects: object [N], who is on each image; None if that is not known.
    """

    classes: tuple[str, ...]
    labels: np.ndarray
    vocabularies: dict[str, tuple[str, ...]]
    attributes: dict[str, np.ndarray]
    subjects: np.ndarray | None = None

    @classmethod
    def of(cls, data: Dataset) -> Annotations:
        codes = {a: data.groups(a) for a in data.attributes}
        subjects = data.table["subject"].to_numpy(object) if "subject" in data.table else None
        return cls(data.classes, data.labels, dict(data.attributes), codes, subjects)

    @property
    def multilabel(self) -> bool:
        return self.labels.ndim == 2

    @property
    def columns(self) -> dict[str, tuple[str, ...]]:
        """What the images can be grouped by."""
        return columns(self.classes, self.vocabularies, self.multilabel)

    def take(self, rows: np.ndarray) -> Annotations:
        """Some of the images."""
        attributes = {a: codes[rows] for a, codes in self.attributes.items()}
        subjects = None if self.subjects is None else self.subjects[rows]
        return dataclasses.replace(self, labels=self.labels[rows], attributes=attributes, subjects=subjects)

    @classmethod
    def without_attributes(cls, labels: np.ndarray, classes: int) -> Annotations:
        """Labels alone; classes are called 0, 1, ..."""
        return cls(tuple(map(str, range(classes))), np.asarray(labels, np.int32), {}, {})

    def __len__(self) -> int:
        return len(self.labels)

    def vocabulary(self, column: str) -> tuple[str, ...]:
        """The values of an attribute, of LABEL, or of one of many labels.

        Raises:
          MitigationError: there is no such column.
        """
        if column not in self.columns:
            raise MitigationError(f"there is no column {column!r} to group by: one of {', '.join(self.columns)}")
        return self.columns[column]

    def codes(self, column: str) -> np.ndarray:
        """Position in its vocabulary, int32 [N], -1 where unknown."""
        if column in self.attributes:
            return self.attributes[column]
        return self.labels[:, self.classes.index(column)] if self.multilabel else self.labels

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
            own = self.codes(column)
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
