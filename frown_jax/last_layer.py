"""Last layers fitted on a frozen network's penultimate features, many at once."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np


@functools.partial(jax.jit, static_argnames=("classes", "iterations"))
def fit(
    x: jax.Array,
    labels: jax.Array,
    weights: jax.Array,
    l1: jax.Array,
    l2: jax.Array,
    classes: int,
    iterations: int = 1000,
) -> tuple[jax.Array, jax.Array]:
    """Multinomial logistic regressions, by accelerated proximal gradient (FISTA; Beck & Teboulle 2009, with restarts).

    Each minimises sum_i w_i CE(x_i W + b, y_i) / sum_i w_i + l1 |W|_1 + l2 / 2 |W|^2; the bias is not penalised.

    Args:
      x: float [N, F], best standardised.
      labels: int [N].
      weights: float [R, N] of R regressions, at least 0 and somewhere above.
      l1, l2: float [R].
      classes: K.
      iterations: of each.

    Returns:
      W [R, F, K] and b [R, K].
    """
    x = x.astype(jnp.float32)
    truth = jax.nn.one_hot(labels, classes)

    def one(w: jax.Array, l1: jax.Array, l2: jax.Array) -> tuple[jax.Array, jax.Array]:
        w = w / w.sum()
        # The Hessian is at most half of the weighted second moment of (x, 1): Boehning 1992.
        root = jnp.sqrt(w)[:, None]
        moment = jnp.concatenate([x, jnp.ones((len(x), 1))], 1) * root
        step = 1 / (0.5 * _largest_eigenvalue(moment) * 1.02 + l2)

        def gradient(kernel: jax.Array, bias: jax.Array) -> tuple[jax.Array, jax.Array]:
            residual = w[:, None] * (jax.nn.softmax(x @ kernel + bias) - truth)
            return x.T @ residual + l2 * kernel, residual.sum(0)

        def iterate(_: int, carry: tuple) -> tuple:
            kernel, bias, ahead_kernel, ahead_bias, t = carry
            to_kernel, to_bias = gradient(ahead_kernel, ahead_bias)
            moved = ahead_kernel - step * to_kernel
            new_kernel = jnp.sign(moved) * jnp.maximum(jnp.abs(moved) - step * l1, 0)
            new_bias = ahead_bias - step * to_bias
            uphill = ((ahead_kernel - new_kernel) * (new_kernel - kernel)).sum()
            uphill += ((ahead_bias - new_bias) * (new_bias - bias)).sum()
            t = jnp.where(uphill > 0, 1.0, t)  # O'Donoghue & Candes 2015: momentum that points uphill is dropped
            following = (1 + jnp.sqrt(1 + 4 * t**2)) / 2
            push = jnp.where(uphill > 0, 0, (t - 1) / following)
            return (
                new_kernel,
                new_bias,
                new_kernel + push * (new_kernel - kernel),
                new_bias + push * (new_bias - bias),
                following,
            )

        zero = jnp.zeros((x.shape[1], classes)), jnp.zeros(classes)
        found = jax.lax.fori_loop(0, iterations, iterate, (*zero, *zero, jnp.ones(())))
        return found[0], found[1]

    return jax.lax.map(lambda r: one(*r), (weights, l1, l2))


def _largest_eigenvalue(a: jax.Array, iterations: int = 30) -> jax.Array:
    """Of a^T a, by power iteration."""
    v = jnp.full(a.shape[1], a.shape[1] ** -0.5) + 1e-3 * jnp.cos(jnp.arange(a.shape[1]))

    def iterate(_: int, v: jax.Array) -> jax.Array:
        v = a.T @ (a @ v)
        return v / jnp.maximum(jnp.linalg.norm(v), 1e-20)

    v = jax.lax.fori_loop(0, iterations, iterate, v)
    return jnp.sum((a @ v) ** 2)


def scale_of(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each feature, [F]; constant ones have deviation 1."""
    sd = x.std(0, dtype=np.float64)
    return x.mean(0, dtype=np.float64), np.where(sd > 1e-8, sd, 1)


def unscaled(kernel: np.ndarray, bias: np.ndarray, mean: np.ndarray, sd: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """A layer on standardised features as one on the features themselves."""
    own = np.asarray(kernel, np.float64) / sd[:, None]
    return own, np.asarray(bias, np.float64) - mean @ own
