"""Averages of weights along the way: SWA (Izmailov et al. 2018) and SWAD (Cha et al. 2021).

SWAD's valley, of the validation losses L_0, L_1, ... of the epochs and the mean weights of each epoch's steps:

  begins at the first s with L_s the lowest of L_s ... L_(s + converge - 1); level = (1 + ratio) times their mean;
  ends before the first e >= s whose `tolerance` losses from L_e on are all above the level.

The average is that of epochs s ... e - 1; without a valley, the best epoch's weights are kept.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

Array = Any
Tree = Any

NONE, SWA, SWAD = range(3)


class Averaging(struct.PyTreeNode):
    """Settings of one member, scalars."""

    kind: Array  # int32, NONE, SWA or SWAD
    start: Array  # SWA: share of the epochs before the first that counts
    rate: Array  # SWA: of the learning rate, held from `start` on; 0 leaves the schedule alone
    converge: Array  # SWAD: int32 epochs
    tolerance: Array  # SWAD: int32 epochs
    ratio: Array  # SWAD


class Averages(struct.PyTreeNode):
    """Averages of one member; Q epochs are remembered, none for SWA."""

    mean: Tree
    count: Array  # float32, epochs in it
    epochs: Array  # int32, ended so far
    segment: Tree  # mean over the steps of the epoch so far
    steps: Array  # float32, in it
    segments: Tree  # [Q, ...] of the latest epochs, epoch t in row t % Q
    losses: Array  # [Q]; () like `segment` and `segments` where Q is 0
    threshold: Array  # of the valley; inf before it is found
    undecided: Array  # int32, the first epoch whose place in the valley is open
    found: Array  # bool
    ended: Array  # bool


def nothing() -> Averaging:
    """No averaging."""
    f, i = np.float32, np.int32
    return Averaging(i(NONE), f(0), f(0), i(1), i(1), f(0))


def start(params: Tree, memory: int) -> Averages:
    """Before the first step; `memory` is Q, the most of converge and tolerance of a program's SWAD members, or 0."""
    zeros = jax.tree.map(jnp.zeros_like, params)
    zero, none = jnp.zeros(()), jnp.zeros((), jnp.int32)
    return Averages(
        mean=zeros,
        count=zero,
        epochs=none,
        segment=zeros if memory else (),
        steps=zero,
        segments=jax.tree.map(lambda a: jnp.zeros((memory, *a.shape), a.dtype), params) if memory else (),
        losses=jnp.zeros(memory) if memory else (),
        threshold=jnp.full((), jnp.inf, jnp.float32),  # strongly typed, or a second program is compiled
        undecided=none,
        found=jnp.zeros((), bool),
        ended=jnp.zeros((), bool),
    )


def _towards(mean: Tree, value: Tree, share: jax.Array) -> Tree:
    return jax.tree.map(lambda m, v: m + share * (v - m), mean, value)


def after_step(a: Averages, params: Tree) -> Averages:
    """The epoch's mean with the weights after one more step."""
    if not jax.tree.leaves(a.segment):
        return a
    steps = a.steps + 1
    return a.replace(segment=_towards(a.segment, params, 1 / steps), steps=steps)


def _add(a: Averages, value: Tree, use: jax.Array) -> Averages:
    share = jnp.where(use, 1 / (a.count + 1), 0)
    return a.replace(mean=_towards(a.mean, value, share), count=a.count + use)


def after_epoch(a: Averages, m: Averaging, params: Tree, loss: jax.Array, epochs: jax.Array) -> Averages:
    """Averages after an epoch.

    Args:
      a: before.
      m: the member's.
      params: weights after the epoch.
      loss: validation loss after it.
      epochs: of the whole training.
    """
    now = a.epochs
    due = (m.kind == SWA) & (now >= m.start * epochs)
    a = _add(a, params, due).replace(epochs=now + 1)
    memory = len(a.losses)
    if not memory:
        return a
    row = now % memory
    a = a.replace(
        segments=jax.tree.map(lambda all_, one: all_.at[row].set(one), a.segments, a.segment),
        losses=a.losses.at[row].set(loss),
        steps=jnp.zeros(()),
    )
    first = now - m.converge + 1  # of the last `converge` epochs
    inside = _between(a, first, now)
    lowest = jnp.where(inside, a.losses, jnp.inf).min()
    valley = (m.kind == SWAD) & ~a.found & (first >= 0) & (a.losses[first % memory] <= lowest)
    level = (1 + m.ratio) * jnp.where(inside, a.losses, 0).sum() / m.converge
    a = a.replace(
        threshold=jnp.where(valley, level, a.threshold),
        undecided=jnp.where(valley, first, a.undecided),
        found=a.found | valley,
    )
    return _decide(a, m, now - m.tolerance + 1)


def _between(a: Averages, first: jax.Array, last: jax.Array) -> jax.Array:
    """Which rows of the memory hold epochs first ... last; bool [Q]."""
    memory = len(a.losses)
    newest = a.epochs - 1
    epoch = newest - (newest - jnp.arange(memory)) % memory
    return (epoch >= jnp.maximum(first, 0)) & (epoch <= last)


def _decide(a: Averages, m: Averaging, last: jax.Array) -> Averages:
    """Takes the epochs up to `last` into the valley, or ends it."""

    def one(epoch: jax.Array, a: Averages) -> Averages:
        ahead = _between(a, epoch, epoch + m.tolerance - 1)
        above = jnp.where(ahead, a.losses, jnp.inf).min() > a.threshold
        a = a.replace(ended=a.ended | above)
        a = _add(a, jax.tree.map(lambda s: s[epoch % len(a.losses)], a.segments), ~a.ended)
        return a.replace(undecided=epoch + 1)

    return jax.lax.fori_loop(a.undecided, jnp.where(a.found & ~a.ended, last + 1, a.undecided), one, a)


def conclude(a: Averages, m: Averaging) -> tuple[Tree, jax.Array]:
    """The average at the end of training, and whether there is one (bool)."""
    if len(a.losses):
        a = _decide(a, m, a.epochs - 1)
    return a.mean, (m.kind != NONE) & (a.count > 0)
