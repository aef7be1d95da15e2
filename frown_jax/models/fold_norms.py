"""Batch norms that run on their statistics, folded into the convolutions before them."""

from __future__ import annotations

from typing import Any

import jax.numpy as jnp
from flax import traverse_util

from frown_jax.models.classifier import Classifier
from frown_jax.models.layers import BatchNorm

Tree = Any


def fold_batch_norms(model: Classifier, variables: Tree) -> tuple[Classifier, Tree]:
    """The network without batch norms that predicts the same.

    W' = W gamma / sqrt(var + eps), b' = (b - mean) gamma / sqrt(var + eps) + beta, for each output channel.

    Args:
      model: with or without batch norms.
      variables: its {'params', 'batch_stats'}, of one network or stacked over members [S, ...]; layers that are not
        there (the head, of a trunk) stay away.

    Returns:
      The plain model, and {'params'} in the dtype of `variables`.
    """
    params = traverse_util.flatten_dict(dict(variables["params"]))
    plain = model.clone(batch_norm=False)
    if not model.batch_norm:
        return plain, {"params": variables["params"]}
    stats = traverse_util.flatten_dict(dict(variables["batch_stats"]))
    out = dict(params)
    norms = {own: rest for own, rest in model.norms().items() if (*own, "kernel") in params}
    for own, (norm, _) in norms.items():
        for path in (own, norm):
            for leaf in ("kernel", "scale", "bias"):
                out.pop((*path, leaf), None)
    for own, (norm, name) in norms.items():
        scale = params[(*norm, "scale")] / jnp.sqrt(stats[(*norm, "var")] + BatchNorm.eps)
        bias = params.get((*own, "bias"), 0.0) - stats[(*norm, "mean")]
        out[(*name, "kernel")] = params[(*own, "kernel")] * scale[..., None, None, None, :]
        out[(*name, "bias")] = bias * scale + params[(*norm, "bias")]
    return plain, {"params": traverse_util.unflatten_dict(out)}
