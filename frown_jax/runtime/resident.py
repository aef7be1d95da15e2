"""Where the images (or features) of a data set lie while members train.

On every device; if they are too large for one, over the devices that share a member; if for these too, outside them.
"""

from __future__ import annotations

import itertools
from typing import Any

import jax
import numpy as np
from flax import struct

from frown_jax.runtime.memory import usable_bytes
from frown_jax.runtime.packing import Packing

_SHARE = 0.5  # of a device's memory
_OUTSIDE: dict[int, np.ndarray] = {}
_numbers = itertools.count()


class HostRows(struct.PyTreeNode):
    """Rows that stay in host memory, or in a memory-mapped file, and come to the device batch by batch."""

    handle: jax.Array  # int32, of an array that this process has open
    shape: tuple[int, ...] = struct.field(pytree_node=False)
    dtype: Any = struct.field(pytree_node=False)

    def __len__(self) -> int:
        return self.shape[0]


class SpreadRows(struct.PyTreeNode):
    """Rows of which each of the devices that share a member has a part; they gather what a batch needs."""

    parts: jax.Array  # with rows at the end that make the parts alike
    count: int = struct.field(pytree_node=False)

    def __len__(self) -> int:
        return self.count

    @property
    def shape(self) -> tuple[int, ...]:
        return self.count, *self.parts.shape[1:]


Rows = jax.Array | HostRows | SpreadRows


def put(array: np.ndarray | Rows, packing: Packing, limit: float | None = None) -> Rows:
    """Puts rows where they fit.

    Args:
      array: [N, ...]; what is there already stays.
      packing: of the program that reads them.
      limit: bytes of each device that they may take; by default half of its memory.
    """
    if not isinstance(array, np.ndarray):
        return array
    if limit is None:
        limit = _SHARE * usable_bytes()
    if array.nbytes <= limit:
        return packing.everywhere(array)
    if packing.per_member > 1 and array.nbytes / packing.per_member <= limit:
        more = -len(array) % packing.per_member
        even = np.concatenate([array, array[:more]]) if more else array
        return SpreadRows(packing.spread(even), len(array))
    number = next(_numbers)
    _OUTSIDE[number] = array
    handle = packing.everywhere(np.asarray(number, np.int32))
    return HostRows(handle, tuple(array.shape), np.dtype(array.dtype))


def take(array: Rows, rows: jax.Array) -> jax.Array:
    """array[rows]; traced."""
    if isinstance(array, SpreadRows):
        return array.parts[rows]
    if not isinstance(array, HostRows):
        return array[rows]

    def fetch(handle: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return _OUTSIDE[int(np.asarray(handle).flat[0])][np.asarray(rows)]

    shape = jax.ShapeDtypeStruct((*rows.shape, *array.shape[1:]), array.dtype)
    return jax.pure_callback(fetch, shape, array.handle, rows, vmap_method="broadcast_all")
