"""Where the images (or features) of a data set lie while members train: on the device, or, if too large, outside it."""

from __future__ import annotations

import itertools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from frown_jax.capacity import usable_bytes

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


Rows = jax.Array | HostRows


def put(array: np.ndarray | Rows, limit: float | None = None) -> Rows:
    """On the device if it takes at most `limit` bytes there (half of its memory), else where it is."""
    if not isinstance(array, np.ndarray):
        return array
    if limit is None:
        limit = _SHARE * usable_bytes(jax.local_devices()[0])
    if array.nbytes <= limit:
        return jnp.asarray(array)
    number = next(_numbers)
    _OUTSIDE[number] = array
    return HostRows(jnp.asarray(number, jnp.int32), tuple(array.shape), np.dtype(array.dtype))


def take(array: Rows, rows: jax.Array) -> jax.Array:
    """array[rows]; traced."""
    if not isinstance(array, HostRows):
        return array[rows]

    def fetch(handle: np.ndarray, rows: np.ndarray) -> np.ndarray:
        return _OUTSIDE[int(np.asarray(handle).flat[0])][np.asarray(rows)]

    shape = jax.ShapeDtypeStruct((*rows.shape, *array.shape[1:]), array.dtype)
    return jax.pure_callback(fetch, shape, array.handle, rows, vmap_method="broadcast_all")
