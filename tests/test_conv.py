import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from frown_jax.models import conv

CASES = [
    # size, kernel, stride, padding, channels in and out
    ((9, 9), 3, 1, 1, 4, 5),
    ((10, 7), 3, 2, 1, 3, 6),
    ((15, 16), 7, 2, 3, 3, 4),
    ((8, 8), 1, 2, 0, 6, 3),
    ((8, 9), 1, 1, 0, 2, 2),
    ((6, 6), 5, 3, 0, 2, 3),
]


def _reference(x, k, stride, padding):
    pad = ((padding, padding), (padding, padding))
    return lax.conv_general_dilated(x, k, (stride, stride), pad, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _ours(x, k, stride, padding):
    pad = ((padding, padding), (padding, padding))
    return conv.conv2d(x, k, (stride, stride), pad, "gemm")


@pytest.mark.parametrize(("size", "kernel", "stride", "padding", "c", "d"), CASES)
@pytest.mark.parametrize("batched", [(None, None), (0, 0), (0, None), (None, 0)])
def test_gemm_lowering_equals_xla_in_value_and_gradient(size, kernel, stride, padding, c, d, batched):
    keys = jax.random.split(jax.random.key(0), 2)
    members = 3
    lead = [(members,) if b == 0 else () for b in batched]
    x = jax.random.normal(keys[0], (*lead[0], 2, *size, c))
    k = jax.random.normal(keys[1], (*lead[1], kernel, kernel, c, d))

    def loss(fn, x, k):
        if 0 in batched:
            y = jax.vmap(lambda a, b: fn(a, b, stride, padding), in_axes=batched)(x, k)
        else:
            y = fn(x, k, stride, padding)
        return jnp.sin(y).sum(), y

    (_, expected), wanted = jax.value_and_grad(lambda x, k: loss(_reference, x, k), (0, 1), has_aux=True)(x, k)
    (_, found), got = jax.jit(jax.value_and_grad(lambda x, k: loss(_ours, x, k), (0, 1), has_aux=True))(x, k)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)
    for a, b in zip(got, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-4)


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
    with pytest.raises(ValueError, match="gemm"):
        conv.resolve("fast")
