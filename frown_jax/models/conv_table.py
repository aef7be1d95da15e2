"""Which lowering is fastest, from the measurements in conv_table.json."""

from __future__ import annotations

import functools
import importlib.resources
import json
import math
from typing import NamedTuple

import jax

# Where nothing was measured: XLA's own convolution.
FALLBACK = "xla"


class Case(NamedTuple):
    """A convolution of one member."""

    kernel: tuple[int, ...]  # kh, kw, C, D
    strides: tuple[int, int]
    batch: int
    out: tuple[int, ...]  # rows, columns of the output
    dtype: str


def _place(members: int, case: Case) -> tuple[float, ...]:
    """Coordinates in which neighbouring cases have the same best lowering: logarithms of what products are made of."""
    kh, kw, c, d = case.kernel
    sizes = (members, case.batch * case.out[0] * case.out[1], c, d)
    return (*(math.log2(max(1, s)) for s in sizes), 4 * math.log2(kh * kw), 4 * math.log2(max(case.strides)))


@functools.cache
def _rows(platform: str, dtype: str, operation: str) -> tuple[tuple[tuple[float, ...], str], ...]:
    text = (importlib.resources.files(__package__) / "conv_table.json").read_text()
    found = []
    for row in json.loads(text)["rows"]:
        if (row["platform"], row["dtype"]) == (platform, dtype) and operation in row["best"]:
            case = Case(tuple(row["kernel"]), tuple(row["strides"]), row["batch"], tuple(row["out"]), dtype)
            found.append((_place(row["members"], case), row["best"][operation]))
    return tuple(found)


@functools.cache
def best(operation: str, members: int, case: Case, platform: str = "") -> str:
    """The lowering of the nearest measured case.

    Args:
      operation: 'forward', 'input_gradient' or 'kernel_gradient'.
      members: size of the `vmap` around it.
      case: the convolution.
      platform: 'cpu', 'gpu' or 'tpu'; the default backend when empty.

    Returns:
      A lowering; FALLBACK where the platform was not measured. A dtype that was not measured takes float32's.
    """
    platform = platform or jax.default_backend()
    rows = _rows(platform, case.dtype, operation) or _rows(platform, "float32", operation)
    if not rows:
        return FALLBACK
    here = _place(members, case)
    return min(rows, key=lambda row: math.dist(row[0], here))[1]
