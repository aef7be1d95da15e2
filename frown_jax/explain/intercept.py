"""Relevance through a network: its one definition, with rules put in place of gradients while it is traced."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp

from frown_jax.explain import composites, rules
from frown_jax.explain.composites import Composite
from frown_jax.models import conv
from frown_jax.models.classifier import Classifier
from frown_jax.models.layers import (
    Add,
    BatchNorm,
    Conv,
    Linear,
    MaxPool,
    MeanPool,
    ReLU,
)
from frown_jax.models.resnet import BasicBlock

Tree = Any
_CONTAINERS = (Classifier, BasicBlock)


class NoRuleError(TypeError):
    """A layer that relevance would go through as if it were a gradient."""


@dataclasses.dataclass(frozen=True)
class ConvOp:
    """A convolution without bias, as `rules.Linear`."""

    strides: tuple[int, int]
    padding: tuple[tuple[int, int], tuple[int, int]]
    lowering: str = "auto"

    def __call__(self, x: jax.Array, w: jax.Array) -> jax.Array:
        return conv.conv2d(x, w, self.strides, self.padding, self.lowering)


@dataclasses.dataclass(frozen=True)
class DenseOp:
    """A matrix product, as `rules.Linear`."""

    def __call__(self, x: jax.Array, w: jax.Array) -> jax.Array:
        return x @ w


def _lowering(lowering: str) -> str:
    """What was measured for training holds inside its loop; here, outside of one, XLA's convolution is best on CPU."""
    return "xla" if lowering == "auto" and jax.default_backend() == "cpu" else lowering


class _Interceptor:
    """What `nn.intercept_methods` calls in place of every layer, for one tracing of a network."""

    def __init__(self, composite: Composite):
        self._composite = composite
        self._first: tuple[str, ...] | None = None
        self._nonnegative: list[Any] = []  # arrays, by identity; kept, so that no other takes their place

    def _known(self, x: Any) -> bool:
        return any(x is other for other in self._nonnegative)

    def __call__(self, call: Callable, args: tuple, kwargs: dict, context: nn.module.InterceptorContext) -> Any:
        module, x = context.module, args[0] if args else jnp.zeros(())
        if context.method_name != "__call__" or isinstance(module, _CONTAINERS):
            return call(*args, **kwargs)
        if isinstance(module, Conv | Linear):
            return self._linear(module, x)
        if isinstance(module, ReLU):
            return self._activation(module, x)
        if isinstance(module, Add):
            return self._add(module, call, args)
        if isinstance(module, MeanPool):
            y = call(x)
            if self._composite.other(module.path, composites.MEAN) == composites.NORM:
                y = rules.normed(call, x)
            return self._kept(y, x)
        if isinstance(module, MaxPool):
            return self._kept(call(x), x)
        if isinstance(module, BatchNorm):
            raise NoRuleError("fold batch norms first (models.fold): relevance has no rule for them")
        raise NoRuleError(f"no rule for {type(module).__name__} at {'/'.join(module.path)}")

    def _kept(self, y: jax.Array, x: Any) -> jax.Array:
        """The output of something that makes nothing negative of what is not."""
        if self._known(x):
            self._nonnegative.append(y)
        return y

    def _activation(self, module: nn.Module, x: jax.Array) -> jax.Array:
        passes = self._composite.other(module.path, composites.ACTIVATION) == composites.PASS
        y = rules.passed(x) if passes else jax.nn.relu(x)
        self._nonnegative.append(y)
        return y

    def _add(self, module: nn.Module, call: Callable, args: tuple) -> jax.Array:
        rule = self._composite.other(module.path, composites.ADD)
        if rule == composites.NORM:
            return rules.normed(call, *args)
        return rules.through_branch(*args) if rule == composites.MAIN else call(*args)

    def _linear(self, module: nn.Module, x: jax.Array) -> jax.Array:
        path = module.path
        if self._first is None:
            self._first = path
        kind = composites.CONV if isinstance(module, Conv) else composites.DENSE
        rule = self._composite.linear(path, kind, path == self._first)
        if rule is None:
            raise NoRuleError(f"composite {self._composite.name} has no rule for {kind} layers ({'/'.join(path)})")
        w: Any = module.get_variable("params", "kernel")
        b: Any = module.get_variable("params", "bias")
        op: rules.Linear = DenseOp()
        if isinstance(module, Conv):
            half = module.size // 2
            op = ConvOp((module.stride, module.stride), ((half, half), (half, half)), _lowering(module.lowering))
        if b is None:
            b = jnp.zeros(w.shape[-1], w.dtype)
        return rules.linear(rule, op, self._known(x), x, w, b)


def outputs(model: Classifier, variables: Tree, x: jax.Array, composite: Composite | None) -> jax.Array:
    """Logits [B, K] of normalised images; reverse mode then carries relevance, or gradients without a composite.

    Args:
      model: without batch norms; float32 or float64, as bfloat16 leaves too little of small denominators.
      variables: its {'params'}.
      x: [B, H, W, 3], or features [B, F] of a head.
      composite: rules; None: plain gradients.

    Raises:
      NoRuleError: the network has a layer without a rule.
    """
    model = model.clone(trainable="all")  # what is frozen stops gradients, and relevance with them
    if composite is None:
        return model.apply(variables, x, train=False)[0]
    if model.dtype not in (jnp.float32, jnp.float64):
        raise NoRuleError(f"relevance in {jnp.dtype(model.dtype).name}: float32 or float64")
    with nn.intercept_methods(_Interceptor(composite)):
        return model.apply(variables, x, train=False)[0]
