"""The embedded faces as a data source: renders on first use."""

from __future__ import annotations

import concurrent.futures
import functools
import io
from collections.abc import Iterator

import numpy as np
import pandas as pd
from PIL import Image

from frown_jax.faces import recipe as recipes
from frown_jax.faces import sequences
from frown_jax.faces.face import Face
from frown_jax.faces.render import render_many
from frown_jax.runtime.progress import Progress

_BLOCK = 1024


def _png(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "PNG", compress_level=1)
    return buffer.getvalue()


class FacesSource:
    """Implements store.Source for a recipe, of single images or of sequences."""

    def __init__(self, recipe: recipes.Recipe | sequences.SequenceRecipe):
        self._recipe = recipe
        self.name = "faces" if isinstance(recipe, recipes.Recipe) else "face_sequences"
        self.fingerprint = recipe.fingerprint()

    @functools.cached_property
    def _drawn(self) -> tuple[pd.DataFrame, list[Face]]:
        if isinstance(self._recipe, recipes.Recipe):
            return recipes.generate(self._recipe)
        return sequences.generate(self._recipe)

    @property
    def table(self) -> pd.DataFrame:
        return self._drawn[0]

    @property
    def faces(self) -> list[Face]:
        """Of the table's rows."""
        return self._drawn[1]

    def encoded_images(self, rows: np.ndarray) -> Iterator[bytes]:
        faces = [self.faces[i] for i in rows]
        with (
            Progress(len(faces), f"rendering {self.table['split'][rows[0]]} faces", "faces") as progress,
            concurrent.futures.ThreadPoolExecutor() as pool,
        ):
            for first in range(0, len(faces), _BLOCK):
                yield from pool.map(_png, render_many(faces[first : first + _BLOCK], progress.advance))
