"""The images of a split as the networks of a program are shown them."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from frown_jax.data.annotations import Annotations
from frown_jax.runtime import resident

Inputs = np.ndarray | resident.Rows  # what a network sees: uint8 [M, H, W, 3], or features [M, F]


@dataclasses.dataclass(frozen=True)
class Images:
    """The images that members look at.

    Attributes:
      inputs: of M images.
      data: what is known of them; None: nothing.
      rows: of each training, by its position, its own images; None: all of them, for everybody.
      inverted: makes the inputs of the inverted images.
    """

    inputs: Inputs
    data: Annotations | None
    rows: Sequence[np.ndarray] | None = None
    inverted: Callable[[], Inputs] | None = None

    def rows_of(self, i: int) -> np.ndarray:
        """Rows of one training."""
        return np.arange(len(self.inputs), dtype=np.int32) if self.rows is None else self.rows[i]

    def data_of(self, i: int) -> Annotations | None:
        """What is known of its images."""
        if self.rows is None or self.data is None:
            return self.data
        return self.data.take(self.rows[i])

    def of_rows(self, rows: Sequence[np.ndarray]) -> Images:
        """The same images, of which each training has its own."""
        return dataclasses.replace(self, rows=rows)

    def turned(self) -> Images:
        """The same with inverted images."""
        assert self.inverted is not None
        return dataclasses.replace(self, inputs=self.inverted(), inverted=None)
