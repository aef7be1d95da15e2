"""Where on each image a unit (or an expression) should be seen: exact for embedded faces, from landmarks elsewhere."""

from __future__ import annotations

import concurrent.futures
import dataclasses
import functools
import os
import pathlib
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from ml_collections import ConfigDict

from frown_jax.data import store
from frown_jax.data.ckplus import CkPlusSource
from frown_jax.data.faces_source import FacesSource
from frown_jax.data.load import source_of
from frown_jax.errors import DataError
from frown_jax.explain import landmarks
from frown_jax.faces import action_units, geometry
from frown_jax.faces import regions as exact
from frown_jax.faces.face import Face
from frown_jax.runtime import atomic
from frown_jax.runtime.progress import Progress

PARTS = exact.PARTS
_THREADS = max(1, os.cpu_count() or 1)
_VERSION = 1  # raise when the same image would get other regions

# Units that an expression always shows, by EMFACS (faces.action_units.prototype draws the others too).
EXPRESSIONS: dict[str, tuple[int, ...]] = {
    "Surprise": (1, 2, 5, 26),
    "Fear": (1, 2, 4, 5, 20, 25),
    "Disgust": (9, 10),
    "Happiness": (6, 12),
    "Sadness": (1, 4, 15),
    "Anger": (4, 7, 23),
    "Neutral": (),
}

# Where eyes, tip of the nose and corners of the mouth lie in the aligned frame: those of the embedded head.
ALIGNED = np.array([[0.640, 0.444], [0.360, 0.444], [0.5, 0.614], [0.613, 0.748], [0.387, 0.748]])


@dataclasses.dataclass(frozen=True)
class Regions:
    """Regions of N images.

    Attributes:
      targets: what the first regions are of: outputs of the networks.
      packed: uint8 [N, R, S * S / 8], bits of S x S pixels; R regions, the targets' and PARTS.
      points: float32 [N, 5, 2], landmarks as faces.regions.part_regions gives them.
    """

    targets: tuple[str, ...]
    packed: np.ndarray
    points: np.ndarray

    @property
    def names(self) -> tuple[str, ...]:
        """Of all regions."""
        return (*self.targets, *PARTS)

    def masks(self, rows: np.ndarray) -> np.ndarray:
        """Bool [len(rows), R, S, S]."""
        side = geometry.SIZE
        bits = np.unpackbits(self.packed[rows], axis=-1, count=side * side)
        return bits.reshape(len(rows), -1, side, side).astype(bool)


def units_of(target: str) -> tuple[int, ...]:
    """Action Units of a target: of 'AU12' itself, of an expression those that it always shows."""
    if target.startswith("AU") and target[2:].isdigit():
        return (int(target[2:]),)
    return EXPRESSIONS.get(target, ())


def _combined(of_unit: dict[int, np.ndarray], targets: Sequence[str]) -> np.ndarray:
    empty = np.zeros((geometry.SIZE, geometry.SIZE), bool)
    return np.stack(
        [np.any([of_unit[u] for u in units_of(t) if u in of_unit] or [empty], axis=0) for t in targets]
    ).reshape(len(targets), geometry.SIZE, geometry.SIZE)


def of_face(face: Face, targets: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
    """Exact regions of an embedded face: bool [R, 100, 100], and its landmarks [5, 2]."""
    units = tuple(u for u in dict.fromkeys(u for t in targets for u in units_of(t)) if u in action_units.AUS)
    of_unit = dict(zip(units, exact.au_regions(face, units), strict=True)) if units else {}
    parts, points = exact.part_regions(face)
    return np.concatenate([_combined(of_unit, targets), parts]), points


def of_landmarks(points: np.ndarray, targets: Sequence[str], shape: str) -> tuple[np.ndarray, np.ndarray]:
    """Regions from 68 landmarks [68, 2]: bool [R, 100, 100], and five of them."""
    units = tuple(dict.fromkeys(u for t in targets for u in units_of(t)))
    found = landmarks.regions(points, units, geometry.SIZE, shape)
    of_unit = dict(zip(units, found, strict=False))
    return np.concatenate([_combined(of_unit, targets), found[len(units) :]]), landmarks.five_points(points)


Found = tuple[np.ndarray, np.ndarray]  # regions and landmarks
Finder = Callable[[int], Found]  # of an image by its place


def _read_landmarks(path: str, ids: Sequence[str]) -> np.ndarray:
    """Landmarks [N, 68, 2] of a CSV: id, x0, y0, ..., x67, y67, as shares of the image.

    Raises:
      DataError: not readable, or an image is not in it.
    """
    columns = [f"{axis}{i}" for i in range(landmarks.COUNT) for axis in "xy"]
    try:
        table = pd.read_csv(path, dtype={"id": str})
    except (OSError, ValueError, pd.errors.ParserError) as e:
        raise DataError(f"--landmarks={path}: not a readable CSV ({e})") from None
    missing = [c for c in ("id", *columns) if c not in table]
    if missing:
        raise DataError(f"--landmarks={path}: no column {', '.join(missing[:3])}; it needs id, x0, y0, ... x67, y67")
    table = table.set_index("id")
    lost = [i for i in ids if i not in table.index]
    if lost:
        raise DataError(f"--landmarks={path}: {len(lost)} images are not in it, {lost[0]} for one")
    values = table.loc[list(ids), columns].to_numpy(np.float64).reshape(len(ids), landmarks.COUNT, 2)
    if not np.isfinite(values).all() or np.abs(values).max() > 10:
        raise DataError(f"--landmarks={path}: coordinates are shares of the image, about 0 to 1")
    return values


def finder(config: ConfigDict, ids: Sequence[str], targets: Sequence[str], csv: str, shape: str) -> Finder | None:
    """How regions of these images are found.

    Args:
      config: a data section.
      ids: of images.
      targets: see Regions.
      csv: landmarks; '' : the data set's own, if it has any.
      shape: of regions from landmarks.

    Returns:
      None: nothing says where anything is.

    Raises:
      DataError: bad landmarks.
    """
    if csv:
        points = _read_landmarks(csv, ids)
        return lambda i: of_landmarks(points[i], targets, shape)
    if config.name not in ("faces", "face_sequences", "ckplus"):
        return None
    source = source_of(config)
    place = {name: i for i, name in enumerate(source.table["id"])}
    if isinstance(source, FacesSource):
        faces = source.faces
        return lambda i: of_face(faces[place[ids[i]]], targets)
    if isinstance(source, CkPlusSource):
        found = source
        return lambda i: of_landmarks(found.landmarks(place[ids[i]]), targets, shape)
    return None


def find(find_one: Finder, targets: Sequence[str], count: int, key: Sequence[str], cache: pathlib.Path) -> Regions:
    """Regions of `count` images, kept in the cache.

    Args:
      find_one: see `finder`.
      targets: see Regions.
      count: of images.
      key: what changes when any region does (the data's fingerprint, ids, settings).
      cache: folder.
    """
    path = cache / "regions" / f"{store.hash_of(_VERSION, tuple(targets), tuple(key))}.npz"
    if path.is_file():
        with np.load(path) as file:
            return Regions(tuple(targets), file["packed"], file["points"])
    found = find_all([functools.partial(find_one, i) for i in range(count)], targets)
    atomic.save_arrays(path, packed=found.packed, points=found.points)
    return found


def find_all(finders: Sequence[Callable[[], Found]], targets: Sequence[str]) -> Regions:
    """Regions of as many images as there are functions that find them."""
    packed, points = [], []
    with (
        Progress(len(finders), "regions on the faces", "images") as progress,
        concurrent.futures.ThreadPoolExecutor(_THREADS) as pool,
    ):
        for masks, where in pool.map(lambda find_one: find_one(), finders):
            packed.append(np.packbits(masks.reshape(len(masks), -1), axis=-1))
            points.append(where)
            progress.advance(1)
    return Regions(tuple(targets), np.stack(packed), np.stack(points).astype(np.float32))


def alignment(points: np.ndarray) -> np.ndarray:
    """Similarity transforms from the aligned frame to images, float32 [N, 2, 3].

    Args:
      points: [N, 5, 2], columns and rows as shares of the image.

    Returns:
      A with image point = A [column, row, 1] of an aligned point, least squares over the five landmarks.
    """
    source = ALIGNED - ALIGNED.mean(0)
    target = points - points.mean(1, keepdims=True)
    scale = (source**2).sum()
    a = (target * source).sum((1, 2)) / scale
    b = (target[..., 1] * source[:, 0] - target[..., 0] * source[:, 1]).sum(1) / scale
    turn = np.stack([np.stack([a, -b], -1), np.stack([b, a], -1)], 1)
    shift = points.mean(1) - np.einsum("nij,j->ni", turn, ALIGNED.mean(0))
    return np.concatenate([turn, shift[..., None]], -1).astype(np.float32)


def aligned(maps: jax.Array, transforms: jax.Array, side: int) -> jax.Array:
    """Maps [K, B, H, W] in the aligned frame, [K, B, side, side]; 0 outside the image.

    Args:
      maps: of images.
      transforms: [B, 2, 3] of `alignment`.
      side: pixels of the result.
    """
    centres = (jnp.arange(side) + 0.5) / side
    rows, columns = jnp.meshgrid(centres, centres, indexing="ij")
    grid = jnp.stack([columns, rows, jnp.ones_like(rows)])  # [3, side, side]
    at = jnp.einsum("bij,jhw->bihw", transforms, grid)

    def one(image: jax.Array, at: jax.Array) -> jax.Array:
        height, width = image.shape
        return jax.scipy.ndimage.map_coordinates(image, [at[1] * height - 0.5, at[0] * width - 0.5], order=1)

    return jax.vmap(jax.vmap(one), in_axes=(0, None))(maps, at)
