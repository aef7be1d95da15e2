"""What changes while members train, stacked over S members [S, ...]."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct

from frown_jax.member.averaging import Averages
from frown_jax.member.objective import Reader

Tree = Any  # a pytree of arrays


class Predictor(struct.PyTreeNode):
    """All that predicting needs of a member; a checkpoint holds it apart from the rest."""

    params: Tree
    batch_stats: Tree
    reader: Reader  # how classes are read off the network's outputs
    epoch: jax.Array  # int32, after which these were the weights; -1: the member finished none


class State(struct.PyTreeNode):
    """Everything of a member that an interrupted run needs."""

    params: Tree
    batch_stats: Tree
    optimiser: optax.OptState
    best: Predictor  # of the best epoch so far
    best_score: jax.Array  # its validation AUROC
    rate_scale: jax.Array  # of the plateau schedule
    plateau_best: jax.Array  # validation loss
    plateau_wait: jax.Array  # int32 epochs
    active: jax.Array  # bool; a member that stopped or failed is frozen
    failed_step: jax.Array  # int32 step of the first non-finite loss or gradient, -1 if none
    group_weights: jax.Array  # [G] of GroupDRO
    factors: jax.Array | None  # [N] of the training images, where a member of the program has a first stage
    averages: Averages | None  # of weights, where a member of the program asks for them


class Sums(struct.PyTreeNode):
    """Running totals of an epoch, [S]."""

    loss: jax.Array
    correct: jax.Array
    count: jax.Array


def no_sums(count: int) -> Sums:
    """Zero totals for `count` members."""
    zero = np.zeros(count, np.float32)
    return Sums(*(jnp.asarray(zero) for _ in range(3)))
