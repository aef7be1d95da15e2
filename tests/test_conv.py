"""Every lowering against `lax.conv_general_dilated`, in value and gradients, under the transformations that we use."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from frown_jax.models import conv, conv_table

CASES = [
    # input, kernel, strides, padding, channels in and out
    ((9, 9), (3, 3), (1, 1), ((1, 1), (1, 1)), 4, 5),
    ((10, 7), (3, 3), (2, 2), ((1, 1), (1, 1)), 3, 6),
    ((15, 16), (7, 7), (2, 2), ((3, 3), (3, 3)), 3, 4),
    ((8, 8), (1, 1), (2, 2), ((0, 0), (0, 0)), 6, 3),
    ((8, 9), (1, 1), (1, 1), "VALID", 2, 2),
    ((6, 6), (5, 5), (3, 3), "VALID", 2, 3),
    ((9, 8), (3, 2), (2, 1), "SAME", 5, 3),
    ((7, 7), (2, 2), (3, 3), ((2, 0), (1, 2)), 4, 2),  # windows apart, uneven padding
    ((2, 2), (3, 3), (1, 1), ((1, 1), (1, 1)), 8, 8),
    ((1, 1), (3, 3), (1, 1), ((1, 1), (1, 1)), 3, 2),
]
LOWERINGS = conv.LOWERINGS[1:]
AXES = [None, (0, 0), (0, None), (None, 0)]


def _reference(x, k, strides, padding):
    return lax.conv_general_dilated(x, k, strides, padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _arrays(case, axes, dtype, members=3, batch=4):
    size, kernel, _, _, c, d = case
    rng = np.random.default_rng(0)
    lead = [(members,) if axes and axis == 0 else () for axis in (axes or (None, None))]
    x = rng.standard_normal((*lead[0], batch, *size, c))
    k = rng.standard_normal((*lead[1], *kernel, c, d))
    return jnp.asarray(x, dtype), jnp.asarray(k, dtype)


def _value_and_gradients(fn, axes, x, k):
    def loss(x, k):
        y = jax.vmap(fn, in_axes=axes)(x, k) if axes else fn(x, k)
        return jnp.sin(y.astype(jnp.promote_types(y.dtype, jnp.float32))).sum(), y

    (_, y), gradients = jax.value_and_grad(loss, (0, 1), has_aux=True)(x, k)
    return y, *gradients


def _assert_close(found, wanted, tolerance):
    """Relative to the largest entry: sums of different order differ by that, whatever the entry."""
    for a, b in zip(found, wanted, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.dtype
        a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
        np.testing.assert_allclose(a, b, rtol=0, atol=tolerance * max(1, np.abs(b).max()))


def _check(case, axes, lowering):
    """float64 to 1e-12, float32 to 1e-5."""
    strides, padding = case[2:4]
    fn = functools.partial(conv.conv2d, strides=strides, padding=padding, lowering=lowering)
    with jax.enable_x64(True):
        x, k = _arrays(case, axes, jnp.float64)
        run = jax.jit(lambda x, k: _value_and_gradients(fn, axes, x, k))
        wanted = _value_and_gradients(lambda x, k: _reference(x, k, strides, padding), axes, x, k)
        _assert_close(run(x, k), wanted, 1e-12)
    wanted32 = [np.asarray(w, np.float32) for w in wanted]
    _assert_close(run(x.astype(jnp.float32), k.astype(jnp.float32)), wanted32, 1e-5)


@pytest.mark.parametrize("lowering", LOWERINGS)
def test_lowerings_equal_xla_in_value_and_gradients(lowering):
    _check(CASES[1], (0, 0), lowering)
    _check(CASES[7], None, lowering)


@pytest.mark.slow
@pytest.mark.parametrize("lowering", LOWERINGS)
@pytest.mark.parametrize("axes", AXES)
def test_lowerings_equal_xla_in_every_case(lowering, axes):
    for case in CASES:
        _check(case, axes, lowering)


@pytest.mark.parametrize("lowering", LOWERINGS)
def test_bfloat16_is_summed_in_float32(lowering):
    """Against float32's result on the same rounded numbers: one rounding of the result, 2^-8, not one per term."""
    for case in (CASES[0], CASES[1], CASES[8]):
        x, k = _arrays(case, (0, 0), jnp.bfloat16)
        strides, padding = case[2:4]
        fn = functools.partial(conv.conv2d, strides=strides, padding=padding, lowering=lowering)
        found = jax.vmap(fn)(x, k)
        wanted = jax.vmap(lambda x, k, s=strides, p=padding: _reference(x, k, s, p))(
            x.astype(jnp.float32), k.astype(jnp.float32)
        )
        assert found.dtype == jnp.bfloat16
        np.testing.assert_allclose(found.astype(jnp.float32), wanted, rtol=2**-8, atol=2**-7)


@pytest.mark.parametrize("lowering", LOWERINGS)
def test_nested_vmap_and_gradient_of_vmap(lowering):
    """Kernels of seeds within methods, images shared by the methods of a seed: grad(vmap(vmap)), vmap(vmap(grad))."""
    rng = np.random.default_rng(1)
    x = jnp.asarray(rng.standard_normal((3, 2, 6, 6, 4)), jnp.float32)
    k = jnp.asarray(rng.standard_normal((2, 3, 3, 3, 4, 5)), jnp.float32)

    def both(fn):
        nested = jax.vmap(jax.vmap(fn), in_axes=(None, 0))

        def one_loss(x, k):
            return jnp.cos(fn(x, k)).sum()

        outside = jax.grad(lambda x, k: jnp.cos(nested(x, k)).sum(), (0, 1))
        inside = jax.vmap(jax.vmap(jax.grad(one_loss, 1)), in_axes=(None, 0))
        return jax.jit(lambda x, k: (nested(x, k), *outside(x, k), inside(x, k)))(x, k)

    ours = both(lambda x, k: conv.conv2d(x, k, (2, 2), "SAME", lowering))
    _assert_close(ours, both(lambda x, k: _reference(x, k, (2, 2), "SAME")), 1e-5)


def test_blocks_split_the_batch(monkeypatch):
    """The piecewise loop itself, which small cases do not reach."""
    monkeypatch.setattr("frown_jax.models.lowerings.BLOCK_BYTES", 2 * 9 * 9 * 9 * 4 * 8)
    case = CASES[0]
    x, k = _arrays(case, (0, 0), jnp.float32, batch=6)
    fn = functools.partial(conv.conv2d, strides=case[2], padding=case[3], lowering="blocks")
    text = jax.jit(fn).lower(x[0], k[0]).as_text()
    assert "while" in text
    wanted = _value_and_gradients(lambda x, k: _reference(x, k, *case[2:4]), (0, 0), x, k)
    _assert_close(_value_and_gradients(fn, (0, 0), x, k), wanted, 1e-5)


def test_the_table_decides_by_operation_members_and_shape():
    """Nearest measured case; XLA where the platform was not measured."""
    small = conv_table.Case((3, 3, 16, 16), (1, 1), 32, (16, 16), "float32")
    assert conv_table.best("forward", 1, small, "some new chip") == conv_table.FALLBACK
    for operation in ("forward", "input_gradient", "kernel_gradient"):
        assert conv_table.best(operation, 4, small, "cpu") in LOWERINGS
        # bfloat16 was not measured on CPU: float32's rows serve.
        assert conv_table.best(operation, 4, small._replace(dtype="bfloat16"), "cpu") in LOWERINGS


def test_forcing_a_lowering_reaches_all_three_operations():
    """XLA's convolution appears in the gradient's program under 'xla' and nowhere under 'gemm'."""
    x, k = _arrays(CASES[0], None, jnp.float32)
    for lowering, count in (("xla", 3), ("gemm", 0)):
        fn = functools.partial(conv.conv2d, strides=(1, 1), padding="SAME", lowering=lowering)
        text = jax.jit(lambda x, k, fn=fn: _value_and_gradients(fn, None, x, k)).lower(x, k).as_text()
        assert text.count("stablehlo.convolution") == count


@pytest.mark.parametrize("shape", [(2, 9, 9, 3), (1, 12, 8, 2)])
def test_max_pool_lowerings_agree_in_value_and_gradient(shape):
    x = jax.random.normal(jax.random.key(1), shape)
    results = []
    for lowering in ("gemm", "xla"):
        value, gradient = jax.value_and_grad(lambda x, how=lowering: (conv.max_pool2d(x, 3, 2, 1, how) ** 2).sum())(x)
        results.append((value, gradient))
    np.testing.assert_allclose(results[0][0], results[1][0], rtol=1e-6)
    np.testing.assert_allclose(results[0][1], results[1][1], rtol=1e-6)


def test_unknown_lowering_is_refused():
    x, k = _arrays(CASES[0], None, jnp.float32)
    with pytest.raises(ValueError, match="gemm"):
        conv.conv2d(x, k, lowering="fast")
