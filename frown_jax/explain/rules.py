"""Rules of layer-wise relevance propagation (LRP) for linear layers, pooling and sums.

Every rule for a linear layer is a list of `Share`s. With contributions (x_i, w_i), a bias b and the relevance R of the
layer's outputs, a share passes on

    sum_i x_i * w_i^T s,    s = coefficient * mask * R / stab(sum_i w_i x_i + b),

so that one function, `propagate`, serves all rules, dense and convolutional layers alike.

Sources: Bach et al. 2015 (epsilon, alpha-beta), Montavon et al. 2017 (z+, z-box, w^2), Lapuschkin et al. 2019 (flat),
Montavon et al. 2019 and Andeol et al. 2021 (gamma, generalised to outputs below zero). Conventions where publications
leave a choice (biases, the sign of zero) are zennit's, whose results these equal (tests/test_explain_parity.py).
LRP is patented; its owners allow personal and scientific use free of charge (docs/explanations.md).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence
from typing import Any, Protocol

import jax
import jax.numpy as jnp

Array = Any

STABILISER = 1e-6


class Linear(Protocol):
    """A layer without its bias: bilinear in inputs and kernel, outputs along the last axis of both; hashable."""

    def __call__(self, x: Array, w: Array) -> Array: ...


def stabilise(z: jax.Array, eps: float) -> jax.Array:
    """z + eps sign(z), where the sign of 0 is 1."""
    return z + jnp.where(z >= 0, eps, -eps).astype(z.dtype)


def _divided(relevance: jax.Array, z: jax.Array, eps: float) -> jax.Array:
    """relevance / stabilise(z); with eps = 0 an output that is 0 passes nothing on."""
    if eps:
        return relevance / stabilise(z, eps)
    return jnp.where(z == 0, 0, relevance / jnp.where(z == 0, 1, z))


def _positive(a: Array) -> jax.Array:
    return jnp.maximum(a, 0)


def _negative(a: Array) -> jax.Array:
    return jnp.minimum(a, 0)


@dataclasses.dataclass(frozen=True)
class Share:
    """What a rule passes on in one go.

    Attributes:
      parts: (input, kernel) contributions.
      bias: [D] in the denominator; None: none.
      coefficient: of the share.
      mask: which outputs it is for; None: all.
      total: the parts' outputs with the bias, where they are known already.
    """

    parts: Sequence[tuple[Array, Array]]
    bias: Array | None
    coefficient: float = 1.0
    mask: Array | None = None
    total: Array | None = None


@dataclasses.dataclass(frozen=True)
class Rule:
    """How a linear layer passes relevance on.

    Attributes:
      stabiliser: added to denominators, away from 0.
      zero_bias: leaves biases out of denominators, so that they absorb nothing.
    """

    stabiliser: float = STABILISER
    zero_bias: bool = False

    def shares(self, x: Array, w: Array, b: Array, z: Array, nonnegative: bool) -> list[Share]:
        """Of inputs x, kernel w, bias b [D], outputs z = w x + b; `nonnegative`: x is known to be."""
        raise NotImplementedError


def _signed(x: Array, own: Array, other: Array, nonnegative: bool) -> list[tuple[Array, Array]]:
    """(x+, own) and (x-, other), without what is known to be 0."""
    return [(x, own)] if nonnegative else [(_positive(x), own), (_negative(x), other)]


@dataclasses.dataclass(frozen=True)
class Epsilon(Rule):
    """R_in = x * W^T (R / stab(z)): LRP-epsilon, and LRP-0 with stabiliser 0."""

    def shares(self, x, w, b, z, nonnegative):
        return [Share([(x, w)], b, total=z)]


@dataclasses.dataclass(frozen=True)
class ZPlus(Rule):
    """Positive contributions only; equal to AlphaBeta(1, 0)."""

    def shares(self, x, w, b, z, nonnegative):
        return [Share(_signed(x, _positive(w), _negative(w), nonnegative), _positive(b))]


@dataclasses.dataclass(frozen=True)
class AlphaBeta(Rule):
    """alpha times the positive contributions minus beta times the negative ones; alpha - beta = 1.

    Raises:
      ValueError: other alpha or beta.
    """

    alpha: float = 2.0
    beta: float = 1.0

    def __post_init__(self) -> None:
        if self.alpha < 0 or self.beta < 0 or abs(self.alpha - self.beta - 1) > 1e-9:
            raise ValueError(f"alphabeta:{self.alpha:g}:{self.beta:g}: both at least 0, and alpha - beta = 1")

    def shares(self, x, w, b, z, nonnegative):
        plus, minus = _positive(w), _negative(w)
        out = [Share(_signed(x, plus, minus, nonnegative), _positive(b), self.alpha)]
        if self.beta:
            out.append(Share(_signed(x, minus, plus, nonnegative), _negative(b), -self.beta))
        return out


@dataclasses.dataclass(frozen=True)
class Gamma(Rule):
    """Favours contributions of the output's own sign by the factor 1 + gamma; an output of 0 passes nothing on.

    Raises:
      ValueError: gamma below 0.
    """

    gamma: float = 0.25

    def __post_init__(self) -> None:
        if self.gamma < 0:
            raise ValueError(f"gamma:{self.gamma:g}: at least 0")

    def shares(self, x, w, b, z, nonnegative):
        def more(a: Array, part: Array) -> Array:
            return a + self.gamma * part

        plus, minus = more(w, _positive(w)), more(w, _negative(w))
        return [
            Share(_signed(x, plus, minus, nonnegative), more(b, _positive(b)), mask=z > 0),
            Share(_signed(x, minus, plus, nonnegative), more(b, _negative(b)), mask=z < 0),
        ]


@dataclasses.dataclass(frozen=True)
class ZBox(Rule):
    """For inputs between bounds, pixels: x W - l W+ - h W-.

    Attributes:
      low, high: of each input channel.
    """

    low: tuple[float, ...] = ()
    high: tuple[float, ...] = ()

    def shares(self, x, w, b, z, nonnegative):
        low, high = (jnp.broadcast_to(jnp.asarray(v, x.dtype), x.shape) for v in (self.low, self.high))
        return [Share([(x, w), (-low, _positive(w)), (-high, _negative(w))], None)]


@dataclasses.dataclass(frozen=True)
class WSquare(Rule):
    """By squared weights, whatever the input."""

    def shares(self, x, w, b, z, nonnegative):
        return [Share([(jnp.ones_like(x), w * w)], b * b)]


@dataclasses.dataclass(frozen=True)
class Flat(Rule):
    """Evenly over the inputs that an output sees."""

    def shares(self, x, w, b, z, nonnegative):
        return [Share([(jnp.ones_like(x), jnp.ones_like(w))], None)]


def propagate(
    rule: Rule, op: Linear, x: jax.Array, w: jax.Array, b: jax.Array, z: jax.Array, relevance: jax.Array, nonneg: bool
) -> jax.Array:
    """Relevance of a linear layer's inputs.

    Args:
      rule: of the layer.
      op: the layer.
      x, w, b: inputs, kernel, bias [D].
      z: outputs, op(x, w) + b.
      relevance: of the outputs, of their shape.
      nonneg: whether no input is below 0.

    Returns:
      Of the shape of x.
    """
    if rule.zero_bias:
        b = jnp.zeros_like(b)
        z = op(x, w)
    shares = rule.shares(x, w, b, z, nonneg)
    total = jnp.zeros((), x.dtype)
    for share in shares:
        denominator = share.total
        if denominator is None:
            parts = (op(a, k) for a, k in share.parts)
            denominator = functools.reduce(jnp.add, parts)
            if share.bias is not None:
                denominator = denominator + share.bias
        s = share.coefficient * _divided(relevance, denominator, rule.stabiliser)
        if share.mask is not None:
            s = jnp.where(share.mask, s, 0)
        for a, k in share.parts:
            total = total + a * _transposed(op, k, x, s)
    return total


def _transposed(op: Linear, w: jax.Array, x: jax.Array, s: jax.Array) -> jax.Array:
    """The layer's transpose, w^T s."""
    return jax.vjp(lambda x: op(x, w), jnp.zeros_like(x))[1](s)[0]


# --- layers whose cotangent is relevance ------------------------------------------------------------------------------


@functools.partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def linear(rule: Rule, op: Linear, nonneg: bool, x: jax.Array, w: jax.Array, b: jax.Array) -> jax.Array:
    """op(x, w) + b, through which reverse mode carries relevance in place of gradients."""
    return op(x, w) + b


def _linear_fwd(rule, op, nonneg, x, w, b):
    z = op(x, w) + b
    return z, (x, w, b, z)


def _linear_bwd(rule, op, nonneg, saved, relevance):
    x, w, b, z = saved
    return propagate(rule, op, x, w, b, z, relevance, nonneg), None, None


linear.defvjp(_linear_fwd, _linear_bwd)


@jax.custom_vjp
def passed(x: jax.Array) -> jax.Array:
    """ReLU that hands relevance through (the Pass rule)."""
    return jax.nn.relu(x)


passed.defvjp(lambda x: (jax.nn.relu(x), None), lambda _, relevance: (relevance,))


def normed(fn, *inputs: jax.Array, stabiliser: float = STABILISER) -> jax.Array:
    """A linear function without weights, of which each input gets relevance by its contribution (the Norm rule).

    R_in = x * f^T (R / stab(f(x))).
    """

    @jax.custom_vjp
    def run(*inputs: jax.Array) -> jax.Array:
        return fn(*inputs)

    def forward(*inputs: jax.Array):
        z = fn(*inputs)
        return z, (inputs, z)

    def backward(saved, relevance):
        inputs, z = saved
        shares = jax.vjp(fn, *inputs)[1](_divided(relevance, z, stabiliser))
        return tuple(x * s for x, s in zip(inputs, shares, strict=True))

    run.defvjp(forward, backward)
    return run(*inputs)


@jax.custom_vjp
def through_branch(shortcut: jax.Array, branch: jax.Array) -> jax.Array:
    """Sum all of whose relevance goes through the branch."""
    return shortcut + branch


through_branch.defvjp(lambda a, b: (a + b, None), lambda _, relevance: (jnp.zeros_like(relevance), relevance))
