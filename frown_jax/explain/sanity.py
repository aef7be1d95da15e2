"""Sanity checks: maps must depend on what the network learnt (Adebayo et al. 2018) and on the class they are of.

Layers are randomised from the last to the first, keeping what came before; the maps' mean |Spearman correlation| with
the trained network's shows how much they depend on each. What to expect (and why this ranks no methods): rules that
keep positive contributions only converge to a map that later layers hardly change (Sixt, Granz & Landgraf 2020), and
randomising from the top keeps the scale of activations, so that maps can change in part only (Binder et al. 2023).
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd

from frown_jax.explain.attribution import Method, attribute
from frown_jax.models.classifier import Classifier

Tree = Any


def spearman(a: jax.Array, b: jax.Array) -> jax.Array:
    """Rank correlation over the last axis; NaN where one is constant."""

    def ranks(x: jax.Array) -> jax.Array:
        r = jax.scipy.stats.rankdata(x, axis=-1)
        return r - r.mean(-1, keepdims=True)

    p, q = ranks(a), ranks(b)
    scale = jnp.sqrt((p * p).sum(-1) * (q * q).sum(-1))
    return jnp.where(scale > 0, (p * q).sum(-1) / jnp.where(scale > 0, scale, 1), jnp.nan)


def layers(params: Tree) -> list[str]:
    """Names of a network's parts with parameters, from the first to the last."""

    def place(name: str) -> tuple:
        words = name.replace("_", ".").split(".")
        head = {"conv1": 0, "features": 1, "layer1": 1, "layer2": 2, "layer3": 3, "layer4": 4}.get(words[0], 9)
        return (head, *(int(w) for w in words[1:] if w.isdigit()))

    return sorted(params, key=place)


def randomised(model: Classifier, params: Tree, names: Sequence[str], size: int, seed: int) -> Tree:
    """Parameters of which the named parts begin anew."""
    fresh = _fresh(model, size, seed)
    return {name: fresh[name] if name in names else tree for name, tree in params.items()}


@functools.lru_cache(maxsize=4)
def _fresh(model: Classifier, size: int, seed: int) -> Tree:
    return model.init(jax.random.key(seed), jnp.zeros((1, size, size, 3)), train=False)["params"]


def _summed(maps: jax.Array, side: int = 16) -> jax.Array:
    """Maps [K, B, H, W] as [K, B, side^2]: what a look at them sees; also cheaper to rank."""
    k, b, h, _ = maps.shape
    side = min(side, h)
    cut = maps[..., : h // side * side, : h // side * side]
    return cut.reshape(k, b, side, h // side, side, h // side).sum((3, 5)).reshape(k, b, -1)


@functools.partial(jax.jit, static_argnames=("model", "method"))
def _maps(model: Classifier, params: Tree, x: jax.Array, method: Method) -> jax.Array:
    return _summed(attribute(method, model, {"params": params}, x)[1])


_compare = jax.jit(spearman)


def randomisation(model: Classifier, params: Tree, x: jax.Array, method: Method, seed: int = 0) -> pd.DataFrame:
    """How alike maps stay as layers are randomised.

    Args:
      model, params: trained network without batch norms.
      x: normalised images [B, H, W, 3].
      method: of the maps.
      seed: of the random layers.

    Returns:
      Per stage: randomised (what, '' nothing; cumulative from the last layer on), layers, spearman (mean |rank
      correlation| of the signed maps, over images and classes), ranks_changed (share of maps whose ranks are not the
      same). The last stage is a fully randomised network.
    """

    trained = _maps(model, params, x, method)
    names = layers(params)[::-1]
    rows = [{"randomised": "", "layers": 0, "spearman": 1.0, "ranks_changed": 0.0}]
    for count in range(1, len(names) + 1):
        now = _maps(model, randomised(model, params, names[:count], x.shape[1], seed), x, method)
        r = np.asarray(_compare(trained, now))
        rows.append(
            {
                "randomised": names[count - 1],
                "layers": count,
                "spearman": float(np.nanmean(np.abs(r))),
                "ranks_changed": float(np.nanmean(r < 1 - 1e-6)),
            }
        )
    return pd.DataFrame(rows)


def between_classes(
    model: Classifier, params: Tree, x: jax.Array, method: Method, classes: Sequence[str]
) -> pd.DataFrame:
    """How alike the maps of two classes are on the same image (Sixt et al. 2020's random logit).

    Returns:
      Square table of mean cosine similarities of signed maps, over images.
    """
    found = _maps(model, params, x, method)[: len(classes)]
    unit = found / jnp.maximum(jnp.linalg.norm(found, axis=-1, keepdims=True), 1e-30)
    square = jnp.einsum("kbp,lbp->kl", unit, unit) / x.shape[0]
    return pd.DataFrame(np.asarray(square), index=list(classes), columns=list(classes))
