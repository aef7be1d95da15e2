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
    iterations: int = 2000,
    tolerance: float = 1e-5,
) -> tuple[jax.Array, jax.Array]:
    """R multinomial logistic regressions, by accelerated proximal gradient (FISTA; Beck & Teboulle 2009, restarted).

    Each minimises sum_i w_i CE(x_i W + b, y_i) / sum_i w_i + l1 |W|_1 + l2 / 2 |W|^2; the bias is not penalised.

    Args:
      x: float [R, N, F], best standardised.
      labels: int [R, N].
      weights: float [R, N], at least 0 and in each row somewhere above.
      l1, l2: float [R].
      classes: K.
      iterations: at most.
      tolerance: it stops where no coefficient moves by more, in units of the largest one (or of 1).

    Returns:
      W [R, F, K] and b [R, K].
    """

    def one(x: jax.Array, labels: jax.Array, w: jax.Array, l1: jax.Array, l2: jax.Array) -> tuple[jax.Array, jax.Array]:
        x = jnp.concatenate([x.astype(jnp.float32), jnp.ones((len(x), 1))], 1)  # the last row of the weights: the bias
        penalised = (jnp.arange(x.shape[1]) < x.shape[1] - 1).astype(jnp.float32)[:, None]
        truth, w = jax.nn.one_hot(labels, classes), w / w.sum()
        # The Hessian is at most half of the weighted second moment of (x, 1): Boehning 1992.
        step = 1 / (0.5 * _largest_eigenvalue(x * jnp.sqrt(w)[:, None]) * 1.02 + l2)

        def iterate(carry: tuple) -> tuple:
            i, layer, ahead, t, _ = carry
            gradient = x.T @ (w[:, None] * (jax.nn.softmax(x @ ahead) - truth)) + l2 * penalised * ahead
            moved = ahead - step * gradient
            new = jnp.sign(moved) * jnp.maximum(jnp.abs(moved) - step * l1 * penalised, 0)
            uphill = ((ahead - new) * (new - layer)).sum() > 0
            t = jnp.where(uphill, 1.0, t)  # O'Donoghue & Candes 2015: momentum that points uphill is dropped
            following = (1 + jnp.sqrt(1 + 4 * t**2)) / 2
            push = jnp.where(uphill, 0, (t - 1) / following)
            change = jnp.abs(new - layer).max() / jnp.maximum(jnp.abs(new).max(), 1)
            return i + 1, new, new + push * (new - layer), following, change

        def more(carry: tuple) -> jax.Array:
            return (carry[0] < iterations) & (carry[4] > tolerance)

        zero = jnp.zeros((x.shape[1], classes))
        found = jax.lax.while_loop(more, iterate, (0, zero, zero, jnp.ones(()), jnp.full((), jnp.inf)))[1]
        return found[:-1], found[-1]

    return jax.vmap(one)(x, labels, weights, l1, l2)


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
