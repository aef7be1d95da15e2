"""Convolution and max pooling with a lowering chosen by platform.

Under `vmap` over kernels XLA's convolution becomes a grouped convolution, which on CPU is six to ten times slower
than a batched matrix product. The `gemm` lowering writes the patches out (im2col) and leaves one `dot_general`, which
`vmap` turns into a batched one. Values and gradients equal `lax.conv_general_dilated`.
"""

from __future__ import annotations

import itertools

import jax
import jax.numpy as jnp
from jax import lax

Padding = tuple[tuple[int, int], tuple[int, int]]
LOWERINGS = ("auto", "gemm", "xla")


def resolve(lowering: str) -> str:
    """'auto' is 'gemm' on CPU (measured) and XLA's own convolution elsewhere (not measured).

    Raises:
      ValueError: unknown lowering.
    """
    if lowering not in LOWERINGS:
        raise ValueError(f"conv lowering {lowering!r} is not one of {', '.join(LOWERINGS)}")
    if lowering == "auto":
        return "gemm" if jax.default_backend() == "cpu" else "xla"
    return lowering


def _windows(x: jax.Array, size: tuple[int, int], strides: tuple[int, int]) -> list[jax.Array]:
    """The strided slices of a padded NHWC array that a window of `size` meets, row by row."""
    (kh, kw), (sh, sw) = size, strides
    b, h, w, c = x.shape
    oh, ow = (h - kh) // sh + 1, (w - kw) // sw + 1
    return [
        lax.slice(x, (0, i, j, 0), (b, i + (oh - 1) * sh + 1, j + (ow - 1) * sw + 1, c), (1, sh, sw, 1))
        for i, j in itertools.product(range(kh), range(kw))
    ]


def conv2d(
    x: jax.Array, kernel: jax.Array, strides: tuple[int, int], padding: Padding, lowering: str = "auto"
) -> jax.Array:
    """2-D convolution (cross-correlation).

    Args:
      x: [B, H, W, C].
      kernel: [kh, kw, C, D].
      strides: of rows and columns.
      padding: zeros before and after rows and columns.
      lowering: one of LOWERINGS.

    Returns:
      [B, H', W', D].
    """
    if resolve(lowering) == "xla":
        return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))
    if any(p for pair in padding for p in pair):
        x = jnp.pad(x, ((0, 0), *padding, (0, 0)))
    kh, kw, c, d = kernel.shape
    patches = _windows(x, (kh, kw), strides)
    stacked = patches[0] if len(patches) == 1 else jnp.concatenate(patches, axis=-1)
    return lax.dot_general(stacked, kernel.reshape(kh * kw * c, d), (((3,), (0,)), ((), ())))


def max_pool2d(x: jax.Array, size: int, stride: int, padding: int, lowering: str = "auto") -> jax.Array:
    """Max pooling of [B, H, W, C] with square windows; padding never wins."""
    if resolve(lowering) == "xla":
        pad = ((0, 0), (padding, padding), (padding, padding), (0, 0))
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, size, size, 1), (1, stride, stride, 1), pad)
    pad = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    x = jnp.pad(x, pad, constant_values=jnp.finfo(x.dtype).min)
    # Separable: rows, then columns.
    rows = _windows(x, (size, 1), (stride, 1))
    x = rows[0]
    for other in rows[1:]:
        x = jnp.maximum(x, other)
    columns = _windows(x, (1, size), (1, stride))
    x = columns[0]
    for other in columns[1:]:
        x = jnp.maximum(x, other)
    return x
