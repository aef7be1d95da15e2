"""Maps of what speaks for an output: relevance by a composite's rules, and gradient methods to compare it with."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp

from frown_jax.errors import ConfigError
from frown_jax.explain import composites, intercept
from frown_jax.explain.composites import Composite
from frown_jax.models.classifier import Classifier

Tree = Any

GRADIENTS = GRADIENT, GRADIENT_INPUT, INTEGRATED, SMOOTH = (
    "gradient",
    "gradient_x_input",
    "integrated_gradients",
    "smoothgrad",
)


@dataclasses.dataclass(frozen=True)
class Method:
    """How maps are made.

    Attributes:
      name: of a composite, or one of GRADIENTS.
      composite: rules; None: gradients.
      steps: points of integrated gradients' path, or noisy copies of SmoothGrad.
      noise: standard deviation of SmoothGrad's noise, of an image's range (Smilkov et al. 2017 recommend 0.1 to 0.2).
    """

    name: str
    composite: Composite | None = None
    steps: int = 16
    noise: float = 0.15

    @classmethod
    def of(cls, text: str, residual: str = "") -> Method:
        """From a composite's name or table, or a gradient method's name.

        Args:
          text: see composites.parse.
          residual: another rule for sums: norm, main, gradient.

        Raises:
          ConfigError: neither.
        """
        if text in GRADIENTS:
            return cls(text)
        try:
            composite = composites.parse(text)
        except ConfigError as e:
            raise ConfigError(f"{e}; or {', '.join(GRADIENTS)}") from None
        return cls(composite.name, composite.residual(residual) if residual else composite)


Apply = Callable[[jax.Array], jax.Array]
Starts = Callable[[jax.Array], jax.Array]  # of outputs [B, O], where K maps begin: [K, B, O]


def one_hot(outputs: jax.Array) -> jax.Array:
    """A map of every output, which begins with 1 there."""
    count = outputs.shape[-1]
    return jnp.broadcast_to(jnp.eye(count, dtype=outputs.dtype)[:, None], (count, *outputs.shape))


def _pulled(apply: Apply, x: jax.Array, starts: Starts) -> tuple[jax.Array, jax.Array]:
    """Outputs [B, O], and what their starts become at the input: [K, B, H, W, 3]."""
    y, back = jax.vjp(apply, x)
    return y, jax.vmap(lambda start: back(start)[0])(starts(y))


def attribute(
    method: Method,
    model: Classifier,
    variables: Tree,
    x: jax.Array,
    starts: Starts = one_hot,
    key: jax.Array | None = None,
) -> tuple[jax.Array, jax.Array]:
    """Maps of images, summed over colours.

    A composite's maps begin with `starts` at the outputs, so that with `one_hot` a map is what speaks for an
    output whatever its sign, and sums to about 1 where nothing is absorbed. Integrated gradients (Sundararajan et al.
    2017) run from the mean colour, 0 after normalising; black would be nearer to dark skin than to light.

    Args:
      method: how.
      model: without batch norms.
      variables: its {'params'}.
      x: normalised images [B, H, W, 3].
      starts: where the maps begin.
      key: of SmoothGrad's noise; None: a fixed one.

    Returns:
      Outputs [B, O] and maps [K, B, H, W].
    """

    def apply(x: jax.Array) -> jax.Array:
        return intercept.outputs(model, variables, x, method.composite)

    if method.name == INTEGRATED:
        points = (jnp.arange(method.steps) + 0.5) / method.steps

        def add(total: jax.Array, share: jax.Array) -> tuple[jax.Array, None]:
            return total + _pulled(apply, share * x, starts)[1], None

        y = apply(x)
        zero = jnp.zeros((len(starts(y)), *x.shape), x.dtype)
        return y, (jax.lax.scan(add, zero, points)[0] / method.steps * x).sum(-1)
    if method.name == SMOOTH:
        keys = jax.random.split(jax.random.key(0) if key is None else key, method.steps)
        spread = method.noise * (x.max((1, 2, 3), keepdims=True) - x.min((1, 2, 3), keepdims=True))

        def one(total: jax.Array, key: jax.Array) -> tuple[jax.Array, None]:
            noisy = x + spread * jax.random.normal(key, x.shape, x.dtype)
            return total + _pulled(apply, noisy, starts)[1], None

        y = apply(x)
        zero = jnp.zeros((len(starts(y)), *x.shape), x.dtype)
        return y, (jax.lax.scan(one, zero, keys)[0] / method.steps).sum(-1)
    y, found = _pulled(apply, x, starts)
    if method.name == GRADIENT_INPUT:
        found = found * x
    return y, found.sum(-1)
