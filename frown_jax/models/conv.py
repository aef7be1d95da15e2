"""Convolution and max pooling: one entry point, with the lowering chosen by measurement.

Under `vmap` over kernels XLA's convolution becomes a grouped convolution, several times slower on CPU than the matrix
products it stands for. So the forward pass and each of the two gradients has its own choice among `LOWERINGS`, per
platform, shape and number of members, from `conv_table.json`, which `python -m benchmarks.conv` measures. Values and
gradients equal `lax.conv_general_dilated` whichever is taken.

Reverse-mode derivatives of the first order; `vmap` in any nesting.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax import lax
from jax.custom_batching import custom_vmap

from frown_jax.models import conv_table, lowerings
from frown_jax.models.lowerings import Padding, Pair

# xla: XLA's convolution, members as groups. map: XLA's, members one after another. unroll: XLA's, an operation per
# member. gemm: im2col and one product. blocks: the same in pieces that fit the cache, members one after another.
# taps: a product per tap of the kernel. auto: conv_table.json.
LOWERINGS = ("auto", "xla", "map", "unroll", "gemm", "blocks", "taps")
_SEQUENTIAL = ("map", "blocks")


def _check(lowering: str) -> None:
    if lowering not in LOWERINGS:
        raise ValueError(f"conv lowering {lowering!r} is not one of {', '.join(LOWERINGS)}")


def _explicit(padding: Padding | str, x: jax.Array, kernel: jax.Array, strides: Pair) -> Padding:
    if not isinstance(padding, str):
        return padding
    rows, columns = lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], strides, padding)
    return (rows[0], rows[1]), (columns[0], columns[1])


def conv2d(
    x: jax.Array, kernel: jax.Array, strides: Pair = (1, 1), padding: Padding | str = "SAME", lowering: str = "auto"
) -> jax.Array:
    """2-D convolution (cross-correlation).

    Args:
      x: [B, H, W, C], floating.
      kernel: [kh, kw, C, D], of the same dtype.
      strides: of rows and columns.
      padding: zeros before and after rows and columns, or 'SAME' or 'VALID'.
      lowering: one of LOWERINGS; forces it for the forward pass and both gradients.

    Returns:
      [B, H', W', D], of the same dtype. Products of bfloat16 are summed in float32.

    Raises:
      ValueError: unknown lowering.
    """
    _check(lowering)
    return _conv(x, kernel, strides, _explicit(padding, x, kernel, strides), lowering)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2, 3, 4))
def _conv(x: jax.Array, kernel: jax.Array, strides: Pair, padding: Padding, lowering: str) -> jax.Array:
    return _forward(x, kernel, strides, padding, lowering)


def _conv_fwd(x, kernel, strides, padding, lowering):
    return _forward(x, kernel, strides, padding, lowering), (x, kernel)


def _conv_bwd(strides, padding, lowering, residuals, dy):
    x, kernel = residuals
    dx = _input_gradient(dy, kernel, strides, padding, x.shape[1:3], lowering)
    return dx, _kernel_gradient(x, dy, kernel.shape[:2], strides, padding, lowering)


_conv.defvjp(_conv_fwd, _conv_bwd)


# --- the three operations ---------------------------------------------------------------------------------------------


def _run(
    operation: str,
    implementation: Callable[[str, Any, Any], jax.Array],
    case: Callable[[Any, Any], conv_table.Case],
    lowering: str,
    a: jax.Array,
    b: jax.Array,
) -> jax.Array:
    """implementation(lowering, a, b), with the lowering chosen anew for every `vmap` around it."""

    def choose(members: int, a: Any, b: Any) -> str:
        return conv_table.best(operation, members, case(a, b)) if lowering == "auto" else lowering

    @custom_vmap
    def run(a: jax.Array, b: jax.Array) -> jax.Array:
        return implementation(choose(1, a, b), a, b)

    @run.def_vmap
    def rule(axis_size: int, batched: list[bool], a: jax.Array, b: jax.Array) -> tuple[jax.Array, bool]:
        first = [y[0] if is_batched else y for y, is_batched in zip((a, b), batched, strict=True)]
        how = choose(axis_size, *first)

        def one(member: Any) -> jax.Array:
            own = [m if is_batched else y for m, y, is_batched in zip(member, (a, b), batched, strict=True)]
            return run(*own)

        members = tuple(y if is_batched else None for y, is_batched in zip((a, b), batched, strict=True))
        if how in _SEQUENTIAL:
            return lax.map(one, members), True
        if how == "unroll":
            each = [one([None if y is None else y[i] for y in members]) for i in range(axis_size)]
            return jnp.stack(each), True
        axes = tuple(0 if is_batched else None for is_batched in batched)
        return jax.vmap(functools.partial(implementation, how), in_axes=axes)(a, b), True

    return run(a, b)


def _forward(x: jax.Array, kernel: jax.Array, strides: Pair, padding: Padding, lowering: str) -> jax.Array:
    def implementation(how: str, x: jax.Array, kernel: jax.Array) -> jax.Array:
        if how in ("gemm", "blocks"):
            return lowerings.gemm_forward(x, kernel, strides, padding, how == "blocks")
        if how == "taps":
            return lowerings.taps_forward(x, kernel, strides, padding)
        return lowerings.xla_forward(x, kernel, strides, padding)

    def case(x: Any, kernel: Any) -> conv_table.Case:
        out = lowerings.output_size(x.shape, kernel.shape, strides, padding)
        return conv_table.Case(kernel.shape, strides, x.shape[0], out, x.dtype.name)

    return _run("forward", implementation, case, lowering, x, kernel)


def _input_gradient(
    dy: jax.Array, kernel: jax.Array, strides: Pair, padding: Padding, size: Pair, lowering: str
) -> jax.Array:
    def implementation(how: str, dy: jax.Array, kernel: jax.Array) -> jax.Array:
        if how == "gemm":
            return lowerings.col2im(dy, kernel, strides, padding, size)
        if how == "taps":
            return lowerings.taps_input_gradient(dy, kernel, strides, padding, size)
        if how == "blocks":
            forward = functools.partial(lowerings.gemm_forward, strides=(1, 1), blocks=True)
            return lowerings.phases(lambda x, k, p: forward(x, k, padding=p), dy, kernel, strides, padding, size)
        x = jax.ShapeDtypeStruct((dy.shape[0], *size, kernel.shape[2]), dy.dtype)
        transposed = jax.linear_transpose(lambda x: lowerings.xla_forward(x, kernel, strides, padding), x)
        return transposed(dy)[0]

    def case(dy: Any, kernel: Any) -> conv_table.Case:
        return conv_table.Case(kernel.shape, strides, dy.shape[0], dy.shape[1:3], dy.dtype.name)

    return _run("input_gradient", implementation, case, lowering, dy, kernel)


def _kernel_gradient(
    x: jax.Array, dy: jax.Array, size: Pair, strides: Pair, padding: Padding, lowering: str
) -> jax.Array:
    def implementation(how: str, x: jax.Array, dy: jax.Array) -> jax.Array:
        if how in ("gemm", "blocks"):
            return lowerings.gemm_kernel_gradient(x, dy, size, strides, padding, how == "blocks")
        if how == "taps":
            return lowerings.taps_kernel_gradient(x, dy, size, strides, padding)
        kernel = jax.ShapeDtypeStruct((*size, x.shape[-1], dy.shape[-1]), x.dtype)
        transposed = jax.linear_transpose(lambda k: lowerings.xla_forward(x, k, strides, padding), kernel)
        return transposed(dy)[0]

    def case(x: Any, dy: Any) -> conv_table.Case:
        return conv_table.Case((*size, x.shape[-1], dy.shape[-1]), strides, dy.shape[0], dy.shape[1:3], x.dtype.name)

    return _run("kernel_gradient", implementation, case, lowering, x, dy)


# --- pooling ----------------------------------------------------------------------------------------------------------


def max_pool2d(x: jax.Array, size: int, stride: int, padding: int, lowering: str = "auto") -> jax.Array:
    """Max pooling of [B, H, W, C] with square windows; padding never wins.

    On CPU, and wherever a lowering made of matrix products is forced, as maxima of slices: XLA's CPU code for the
    gradient of a window reduction is slow.

    Raises:
      ValueError: unknown lowering.
    """
    _check(lowering)
    pad = ((0, 0), (padding, padding), (padding, padding), (0, 0))
    slices = jax.default_backend() == "cpu" if lowering == "auto" else lowering in ("gemm", "blocks", "taps")
    if not slices:
        return lax.reduce_window(x, -jnp.inf, lax.max, (1, size, size, 1), (1, stride, stride, 1), pad)
    x = jnp.pad(x, pad, constant_values=jnp.finfo(x.dtype).min)
    # Separable: rows, then columns.
    x = functools.reduce(jnp.maximum, lowerings.windows(x, (size, 1), (stride, 1)))
    return functools.reduce(jnp.maximum, lowerings.windows(x, (1, size), (1, stride)))
