"""Where the images (or features) of a data set lie while members train.

On every device; if they are too large for one, over the devices that share a member; if for these too, outside them.
"""

from __future__ import annotations

import contextlib
import itertools
import math
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
from flax import struct

from frown_jax.runtime.memory import usable_bytes
from frown_jax.runtime.packing import BATCH, Packing

_SHARE = 0.5  # of a device's memory
_OUTSIDE: dict[int, np.ndarray] = {}
_numbers = itertools.count()


class HostRows(struct.PyTreeNode):
    """Rows that stay in host memory, or in a memory-mapped file, and come to the device batch by batch."""

    handle: Any  # jax.Array, int32, of an array that this process has open
    shape: tuple[int, ...] = struct.field(pytree_node=False)
    dtype: Any = struct.field(pytree_node=False)

    def __len__(self) -> int:
        return self.shape[0]


class SpreadRows(struct.PyTreeNode):
    """Rows of which each of the devices that share a member has a part; they gather what a batch needs."""

    parts: Any  # jax.Array with rows at the end that make the parts alike
    count: int = struct.field(pytree_node=False)

    def __len__(self) -> int:
        return self.count

    @property
    def shape(self) -> tuple[int, ...]:
        return self.count, *self.parts.shape[1:]


Rows = jax.Array | HostRows | SpreadRows


def put(array: np.ndarray | Rows, packing: Packing, limit: float | None = None) -> Rows:
    """Puts rows where they fit; `release` lets go of those that stay outside the devices.

    Args:
      array: [N, ...]; what is there already stays.
      packing: of the program that reads them.
      limit: bytes of each device that they may take; by default half of its memory.
    """
    if not isinstance(array, np.ndarray):
        return array
    kind = _kind(array.nbytes, packing, limit)
    if kind is SpreadRows:
        more = -len(array) % packing.per_member
        even = np.concatenate([array, array[:more]]) if more else array
        return SpreadRows(packing.spread(even), len(array))
    if kind is HostRows:
        number = next(_numbers)
        _OUTSIDE[number] = array
        handle = packing.everywhere(np.asarray(number, np.int32))
        return HostRows(handle, tuple(array.shape), np.dtype(array.dtype))
    return packing.everywhere(array)


def _kind(size: int, packing: Packing, limit: float | None) -> type:
    """How `size` bytes of rows will lie: HostRows, SpreadRows, or jax.Array for whole ones."""
    if limit is None:
        limit = _SHARE * usable_bytes()
    if size <= limit:
        return jax.Array
    return SpreadRows if packing.per_member > 1 and size / packing.per_member <= limit else HostRows


def abstract(shape: tuple[int, ...], dtype: np.dtype, packing: Packing, limit: float | None = None) -> Any:
    """What `put` would make of rows of this shape, without any: ShapeDtypeStructs with their shardings."""
    kind = _kind(math.prod(shape) * dtype.itemsize, packing, limit)
    if kind is SpreadRows:
        parts = (-(-shape[0] // packing.per_member) * packing.per_member, *shape[1:])
        return SpreadRows(jax.ShapeDtypeStruct(parts, dtype, sharding=packing.sharding(BATCH)), shape[0])
    if kind is HostRows:
        return HostRows(jax.ShapeDtypeStruct((), np.int32, sharding=packing.sharding()), tuple(shape), dtype)
    return jax.ShapeDtypeStruct(shape, dtype, sharding=packing.sharding())


def release(rows: Rows) -> None:
    """Lets go of rows that stay outside the devices; they cannot be taken any more. Others are left alone."""
    if isinstance(rows, HostRows):
        _OUTSIDE.pop(int(np.asarray(rows.handle.addressable_shards[0].data)), None)


@contextlib.contextmanager
def lent(array: np.ndarray | Rows, packing: Packing) -> Iterator[Rows]:
    """`put` while the block runs; what was there already stays there."""
    rows = put(array, packing)
    try:
        yield rows
    finally:
        if rows is not array:
            release(rows)


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
