"""Layers with torch's semantics, and what lies between them as modules.

Activations, sums and poolings are modules, not functions, so that `explain` can meet every operation of a network
(`flax.linen.intercept_methods`): one definition of a network serves training and relevance propagation.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from frown_jax.models import conv


def at_least_float32(x: jax.Array) -> jax.Array:
    """bfloat16 as float32; float32 and float64 as they are."""
    return x.astype(jnp.promote_types(x.dtype, jnp.float32))


def _uniform_fan_in(key: jax.Array, shape: tuple[int, ...], fan_in: int) -> jax.Array:
    bound = fan_in**-0.5
    return jax.random.uniform(key, shape, jnp.float32, -bound, bound)


class Conv(nn.Module):
    """Convolution that keeps the side (over its stride), Kaiming-normal (fan out) as in torchvision's networks."""

    features: int
    size: int
    stride: int = 1
    bias: bool = False
    dtype: jnp.dtype = jnp.float32
    lowering: str = "auto"

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        init = nn.initializers.variance_scaling(2.0, "fan_out", "normal")
        kernel = self.param("kernel", init, (self.size, self.size, x.shape[-1], self.features), jnp.float32)
        half = self.size // 2
        pad = ((half, half), (half, half))
        y = conv.conv2d(x.astype(self.dtype), kernel.astype(self.dtype), (self.stride, self.stride), pad, self.lowering)
        if self.bias:
            y += self.param("bias", nn.initializers.zeros, (self.features,), jnp.float32).astype(self.dtype)
        return y


class BatchNorm(nn.Module):
    """torch.nn.BatchNorm2d: eps 1e-5, momentum 0.1, running variance from the unbiased estimate.

    Statistics are over the examples that `mask` keeps, so that padding a batch changes nothing. There is no axis
    name on purpose: bound to the member axis it would average over members without a word.
    """

    eps: float = 1e-5
    momentum: float = 0.1
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, mask: jax.Array | None = None) -> jax.Array:
        """[B, H, W, C] -> [B, H, W, C]; `mask` is bool [B]."""
        channels = x.shape[-1]
        scale = self.param("scale", nn.initializers.ones, (channels,), jnp.float32)
        bias = self.param("bias", nn.initializers.zeros, (channels,), jnp.float32)
        running_mean = self.variable("batch_stats", "mean", jnp.zeros, (channels,), jnp.float32)
        running_var = self.variable("batch_stats", "var", jnp.ones, (channels,), jnp.float32)
        if train:
            x32 = x.astype(jnp.float32)
            weight = jnp.ones(x.shape[0]) if mask is None else mask.astype(jnp.float32)
            count = weight.sum() * x.shape[1] * x.shape[2]
            weighted = x32 if mask is None else x32 * weight[:, None, None, None]
            mean = weighted.sum((0, 1, 2)) / jnp.maximum(count, 1)
            square = (weighted * x32).sum((0, 1, 2)) / jnp.maximum(count, 1)
            var = jnp.maximum(square - mean * mean, 0)
            if not self.is_initializing():
                unbiased = var * count / jnp.maximum(count - 1, 1)
                keep = jnp.where(count > 0, 1 - self.momentum, 1.0)
                running_mean.value = keep * running_mean.value + (1 - keep) * mean
                running_var.value = keep * running_var.value + (1 - keep) * unbiased
        else:
            mean, var = running_mean.value, running_var.value
        slope = scale * jax.lax.rsqrt(var + self.eps)
        return (x * slope.astype(self.dtype) + (bias - mean * slope).astype(self.dtype)).astype(self.dtype)


class Linear(nn.Module):
    """torch.nn.Linear, with its default initialisation (Kaiming-uniform with a = sqrt 5)."""

    features: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x: jax.Array) -> jax.Array:
        fan_in = x.shape[-1]
        kernel = self.param("kernel", lambda k, s: _uniform_fan_in(k, s, fan_in), (fan_in, self.features))
        bias = self.param("bias", lambda k, s: _uniform_fan_in(k, s, fan_in), (self.features,))
        return x.astype(self.dtype) @ kernel.astype(self.dtype) + bias.astype(self.dtype)


class ReLU(nn.Module):
    """max(x, 0)."""

    def __call__(self, x: jax.Array) -> jax.Array:
        return nn.relu(x)


class Add(nn.Module):
    """Sum of a shortcut and a branch of the same shape."""

    def __call__(self, shortcut: jax.Array, branch: jax.Array) -> jax.Array:
        return shortcut + branch


class MaxPool(nn.Module):
    """See models.conv.max_pool2d."""

    size: int
    stride: int
    padding: int = 0
    lowering: str = "auto"

    def __call__(self, x: jax.Array) -> jax.Array:
        return conv.max_pool2d(x, self.size, self.stride, self.padding, self.lowering)


class MeanPool(nn.Module):
    """torch.nn.AdaptiveAvgPool2d: [B, H, W, C] -> [B, side, side, C]; windows overlap where sides do not divide."""

    side: int = 1

    def __call__(self, x: jax.Array) -> jax.Array:
        if x.shape[1:3] == (self.side, self.side):
            return x
        if self.side == 1:
            return x.mean((1, 2), keepdims=True)
        rows, columns = (jnp.asarray(self._weights(n), x.dtype) for n in x.shape[1:3])
        return jnp.einsum("ih,jw,bhwc->bijc", rows, columns, x)

    def _weights(self, n: int) -> np.ndarray:
        out = np.zeros((self.side, n))
        for i in range(self.side):
            first, last = i * n // self.side, -(-(i + 1) * n // self.side)
            out[i, first:last] = 1 / (last - first)
        return out


def dropout(x: jax.Array, rate: jax.Array | float, key: jax.Array) -> jax.Array:
    """Inverted dropout whose rate may be traced: members with different rates share a program.

    Args:
      x: any shape.
      rate: probability of zero, 0 <= rate < 1.
      key: typed PRNG key.
    """
    keep = 1 - rate
    return jnp.where(jax.random.bernoulli(key, keep, x.shape), x / keep, 0).astype(x.dtype)
