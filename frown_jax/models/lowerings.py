"""The ways to compute a convolution and its two gradients, for one member.

Arrays are NHWC, kernels HWIO. `padding` is explicit and may be negative (which crops). Every function here is plain
traced code: `models.conv` picks among them, gives them their derivatives and says what `vmap` makes of them.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax import lax

Pair = tuple[int, int]
Padding = tuple[Pair, Pair]

# Patches of one block should stay in a CPU's last-level cache beside the kernel: 2 to 5 MiB measured alike, whole
# batches (75 MB for four members at 16 x 16 x 64) four times slower.
BLOCK_BYTES = 4 * 2**20

# Up to this many channels the columns of a window are gathered before its rows, in longer runs of memory.
_FEW_CHANNELS = 4


def _sides(x: jax.Array) -> Pair:
    return x.shape[1], x.shape[2]


def output_size(x: tuple[int, ...], kernel: tuple[int, ...], strides: Pair, padding: Padding) -> Pair:
    """Rows and columns of a convolution's output, from the shapes of its operands."""
    rows, columns = ((n + sum(p) - k) // s + 1 for n, k, s, p in zip(x[1:3], kernel[:2], strides, padding, strict=True))
    return rows, columns


def windows(x: jax.Array, size: Pair, strides: Pair) -> list[jax.Array]:
    """The strided slices of a padded NHWC array that a window of `size` meets, row by row."""
    (kh, kw), (sh, sw) = size, strides
    b, h, w, c = x.shape
    oh, ow = (h - kh) // sh + 1, (w - kw) // sw + 1
    return [
        lax.slice(x, (0, i, j, 0), (b, i + (oh - 1) * sh + 1, j + (ow - 1) * sw + 1, c), (1, sh, sw, 1))
        for i, j in itertools.product(range(kh), range(kw))
    ]


def pad(x: jax.Array, padding: Padding) -> jax.Array:
    """Pads rows and columns with zeros; negative amounts crop."""
    if not any(p for pair in padding for p in pair):
        return x
    return lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (*padding[0], 0), (*padding[1], 0), (0, 0, 0)))


def _patches(x: jax.Array, size: Pair, strides: Pair, padding: Padding) -> jax.Array:
    """Im2col: [B, H, W, C] -> [B * H' * W', kh * kw * C]."""
    (kh, kw), (sh, sw) = size, strides
    x = pad(x, padding)
    if x.shape[-1] <= _FEW_CHANNELS and kw > 1:
        x = jnp.concatenate(windows(x, (1, kw), (1, sw)), axis=-1)
        kw, sw = 1, 1
    parts = windows(x, (kh, kw), (sh, sw))
    whole = parts[0] if len(parts) == 1 else jnp.concatenate(parts, axis=-1)
    return whole.reshape(-1, whole.shape[-1])


def _block(batch: int, bytes_per_image: int) -> int:
    """Images per block: the largest divisor of the batch whose patches fit."""
    fits = max(1, BLOCK_BYTES // max(1, bytes_per_image))
    return max(d for d in range(1, batch + 1) if batch % d == 0 and d <= fits)


def _blocked(images: int, *arrays: jax.Array) -> list[jax.Array]:
    """Reshapes arrays [B, ...] to [B / images, images, ...]."""
    return [a.reshape(a.shape[0] // images, images, *a.shape[1:]) for a in arrays]


def _images_per_block(out: Pair, kernel_shape: tuple[int, ...], batch: int, itemsize: int, blocks: bool) -> int:
    kh, kw, c, _ = kernel_shape
    if not blocks or kh * kw == 1:
        return batch
    return _block(batch, out[0] * out[1] * kh * kw * c * itemsize)


# --- forward ----------------------------------------------------------------------------------------------------------


def xla_forward(x: jax.Array, kernel: jax.Array, strides: Pair, padding: Padding) -> jax.Array:
    """XLA's convolution; under `vmap` over kernels a grouped one."""
    return lax.conv_general_dilated(x, kernel, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def gemm_forward(x: jax.Array, kernel: jax.Array, strides: Pair, padding: Padding, blocks: bool) -> jax.Array:
    """Im2col and one matrix product; with `blocks`, image by image in pieces that stay in cache."""
    kh, kw, _, d = kernel.shape
    out = output_size(x.shape, kernel.shape, strides, padding)
    flat = kernel.reshape(-1, d)

    def one(x: jax.Array) -> jax.Array:
        return lax.dot(_patches(x, (kh, kw), strides, padding), flat).reshape(-1, *out, d)

    images = _images_per_block(out, kernel.shape, x.shape[0], x.dtype.itemsize, blocks)
    if images == x.shape[0]:
        return one(x)
    return lax.map(one, *_blocked(images, x)).reshape(x.shape[0], *out, d)


def _met(tap: int, inputs: int, outputs: int, stride: int, before: int) -> tuple[int, int, int]:
    """Where a tap meets the image along one axis: first input, first output, how many; the rest meets padding."""
    first = max(0, -(-(before - tap) // stride))
    last = min(outputs - 1, (inputs - 1 + before - tap) // stride)
    return first * stride + tap - before, first, max(0, last - first + 1)


def _taps(size: Pair, inputs: Pair, outputs: Pair, strides: Pair, padding: Padding) -> list[tuple]:
    """(index, rows, columns) of every tap that meets the image at all; rows and columns as `_met`."""
    found = []
    for index, (i, j) in enumerate(itertools.product(range(size[0]), range(size[1]))):
        rows = _met(i, inputs[0], outputs[0], strides[0], padding[0][0])
        columns = _met(j, inputs[1], outputs[1], strides[1], padding[1][0])
        if rows[2] and columns[2]:
            found.append((index, rows, columns))
    return found


def _cut(x: jax.Array, starts: Pair, counts: Pair, strides: Pair = (1, 1)) -> jax.Array:
    ends = [a + (n - 1) * s + 1 for a, n, s in zip(starts, counts, strides, strict=True)]
    return lax.slice(x, (0, *starts, 0), (x.shape[0], *ends, x.shape[3]), (1, *strides, 1))


def _spread(y: jax.Array, starts: Pair, size: Pair, strides: Pair = (1, 1)) -> jax.Array:
    """Puts [B, h, w, C] into zeros [B, *size, C], from `starts` in steps of `strides`."""
    edges = [
        (a, total - a - ((n - 1) * s + 1), s - 1)
        for a, n, total, s in zip(starts, y.shape[1:3], size, strides, strict=True)
    ]
    return lax.pad(y, jnp.zeros((), y.dtype), ((0, 0, 0), *edges, (0, 0, 0)))


def taps_forward(x: jax.Array, kernel: jax.Array, strides: Pair, padding: Padding) -> jax.Array:
    """A matrix product per tap of the kernel, over the outputs where it meets the image, summed.

    Products with padding are left out: at 2 x 2 pixels they are five ninths of a 3 x 3 convolution.
    """
    kh, kw, _, d = kernel.shape
    out = output_size(x.shape, kernel.shape, strides, padding)
    kind = jnp.promote_types(x.dtype, jnp.float32)
    flat = kernel.reshape(kh * kw, -1, d)
    total = jnp.zeros((x.shape[0], *out, d), kind)
    for tap, rows, columns in _taps((kh, kw), _sides(x), out, strides, padding):
        part = _cut(x, (rows[0], columns[0]), (rows[2], columns[2]), strides)
        y = lax.dot_general(part, flat[tap], (((3,), (0,)), ((), ())), preferred_element_type=kind)
        total += _spread(y, (rows[1], columns[1]), out)
    return total.astype(x.dtype)


# --- gradient of the input --------------------------------------------------------------------------------------------


def phases(
    forward: Callable[[jax.Array, jax.Array, Padding], jax.Array],
    dy: jax.Array,
    kernel: jax.Array,
    strides: Pair,
    padding: Padding,
    size: Pair,
) -> jax.Array:
    """Gradient of the input as convolutions of `dy`, one for each residue of its rows and columns modulo the strides.

    No zeros are put between the entries of `dy`: input row t gets contributions only from the taps i with
    i = (t + padding) mod stride.

    Args:
      forward: (array, kernel, padding) -> stride-1 convolution.
      dy: [B, H', W', D].
      kernel: [kh, kw, C, D].
      strides: of the forward pass.
      padding: of the forward pass.
      size: rows and columns of the input.

    Returns:
      [B, *size, C].
    """
    turned = jnp.swapaxes(kernel, 2, 3)
    b, c = dy.shape[0], kernel.shape[2]
    rows = [-(-n // s) for n, s in zip(size, strides, strict=True)]

    def taps(axis: int, residue: int) -> tuple[list[int], Pair]:
        """The taps that meet this residue, in the order of the correlation, and the padding of `dy`."""
        s, p, k = strides[axis], padding[axis][0], kernel.shape[axis]
        first, ahead = (residue + p) % s, (residue + p) // s
        found = list(range(first, k, s))[::-1]
        before = len(found) - 1 - ahead
        return found, (before, rows[axis] - dy.shape[1 + axis] + ahead)

    def one(residues: Pair) -> jax.Array:
        (i, pad_rows), (j, pad_columns) = taps(0, residues[0]), taps(1, residues[1])
        if not i or not j:
            return jnp.zeros((b, *rows, c), dy.dtype)
        # Picked tap by tap: XLA's CPU `reverse` is slower than the product that follows.
        part = jnp.stack([turned[a, e] for a in i for e in j]).reshape(len(i), len(j), *turned.shape[2:])
        return forward(dy, part, (pad_rows, pad_columns))

    if strides == (1, 1):
        return one((0, 0))
    (sh, sw) = strides
    grid = [jnp.stack([one((i, j)) for j in range(sw)], axis=3) for i in range(sh)]
    y = jnp.stack(grid, axis=2).reshape(b, rows[0] * sh, rows[1] * sw, c)
    return y[:, : size[0], : size[1]]


def col2im(dy: jax.Array, kernel: jax.Array, strides: Pair, padding: Padding, size: Pair) -> jax.Array:
    """Gradient of the input as one matrix product whose columns are added back where their patches came from.

    The kernel is read as it lies: cheaper than `phases` where it is larger than the activations.
    """
    kh, kw, c, d = kernel.shape
    out = _sides(dy)
    kind = jnp.promote_types(dy.dtype, jnp.float32)
    contract = (((1,), (1,)), ((), ()))
    pieces = lax.dot_general(dy.reshape(-1, d), kernel.reshape(-1, d), contract, preferred_element_type=kind)
    pieces = pieces.reshape(*dy.shape[:3], kh * kw, c)
    total = jnp.zeros((dy.shape[0], *size, c), kind)
    for tap, rows, columns in _taps((kh, kw), size, out, strides, padding):
        y = _cut(pieces[:, :, :, tap], (rows[1], columns[1]), (rows[2], columns[2]))
        total += _spread(y, (rows[0], columns[0]), size, strides)
    return total.astype(dy.dtype)


def taps_input_gradient(dy: jax.Array, kernel: jax.Array, strides: Pair, padding: Padding, size: Pair) -> jax.Array:
    """A matrix product per tap, added where it came from."""
    kh, kw, c, d = kernel.shape
    kind = jnp.promote_types(dy.dtype, jnp.float32)
    flat = kernel.reshape(kh * kw, c, d)
    total = jnp.zeros((dy.shape[0], *size, c), kind)
    for tap, rows, columns in _taps((kh, kw), size, _sides(dy), strides, padding):
        part = _cut(dy, (rows[1], columns[1]), (rows[2], columns[2]))
        y = lax.dot_general(part, flat[tap], (((3,), (1,)), ((), ())), preferred_element_type=kind)
        total += _spread(y, (rows[0], columns[0]), size, strides)
    return total.astype(dy.dtype)


# --- gradient of the kernel -------------------------------------------------------------------------------------------


def gemm_kernel_gradient(
    x: jax.Array, dy: jax.Array, size: Pair, strides: Pair, padding: Padding, blocks: bool
) -> jax.Array:
    """Patches' transpose times `dy`: [B, H, W, C], [B, H', W', D] -> [kh, kw, C, D]."""
    kh, kw = size
    c, d = x.shape[-1], dy.shape[-1]
    kind = jnp.promote_types(x.dtype, jnp.float32)
    # Few output channels first: up to 1.3 times faster, and the small result is cheap to transpose.
    narrow = d <= 64

    def one(x: jax.Array, dy: jax.Array) -> jax.Array:
        p, g = _patches(x, size, strides, padding), dy.reshape(-1, d)
        left, right = (g, p) if narrow else (p, g)
        return lax.dot_general(left, right, (((0,), (0,)), ((), ())), preferred_element_type=kind)

    images = _images_per_block(_sides(dy), (kh, kw, c, d), x.shape[0], x.dtype.itemsize, blocks)
    if images == x.shape[0]:
        total = one(x, dy)
    else:
        start = jnp.zeros((d, kh * kw * c) if narrow else (kh * kw * c, d), kind)
        total, _ = lax.scan(lambda a, xs: (a + one(*xs), None), start, tuple(_blocked(images, x, dy)))
    return (total.T if narrow else total).reshape(kh, kw, c, d).astype(x.dtype)


def taps_kernel_gradient(x: jax.Array, dy: jax.Array, size: Pair, strides: Pair, padding: Padding) -> jax.Array:
    """A matrix product per tap."""
    kind = jnp.promote_types(x.dtype, jnp.float32)
    contract = (((0,), (0,)), ((), ()))
    parts = [jnp.zeros((x.shape[-1], dy.shape[-1]), kind)] * (size[0] * size[1])
    for tap, rows, columns in _taps(size, _sides(x), _sides(dy), strides, padding):
        counts = (rows[2], columns[2])
        left = _cut(x, (rows[0], columns[0]), counts, strides).reshape(-1, x.shape[-1])
        right = _cut(dy, (rows[1], columns[1]), counts).reshape(-1, dy.shape[-1])
        parts[tap] = lax.dot_general(left, right, contract, preferred_element_type=kind)
    return jnp.stack(parts).reshape(*size, x.shape[-1], dy.shape[-1]).astype(x.dtype)
