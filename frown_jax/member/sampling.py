"""Which training images fill an epoch."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

Array = Any  # jax.Array or np.ndarray


class Redraw(struct.PyTreeNode):
    """Which training images fill an epoch's T places, drawn anew every epoch if `on`.

    A place draws from one stratum: without replacement while the stratum lasts, else with (a pure bootstrap, as the
    first study's resampling).
    """

    on: Array  # bool
    stratum: Array  # int32 [N], ascending: the stratum of each row of `order`
    order: Array  # int32 [N] training rows by stratum
    start: Array  # int32 [T] where the place's stratum begins in `order`
    size: Array  # int32 [T] of the stratum
    rank: Array  # int32 [T] of the place among its stratum's
    short: Array  # bool [T] whether the place draws with replacement


def still(count: int, places: int) -> Redraw:
    """No drawing: for N training images and T places."""
    i = np.int32
    return Redraw(
        on=np.bool_(False),
        stratum=np.zeros(count, i),
        order=np.arange(count, dtype=i),
        start=np.zeros(places, i),
        size=np.ones(places, i),
        rank=np.zeros(places, i),
        short=np.zeros(places, bool),
    )


def drawn(redraw: Redraw, sampling: jax.Array, key: jax.Array) -> jax.Array:
    """Training rows of an epoch's places, int32 [T]: `sampling`, or a new draw."""
    shuffle, pick = jax.random.split(key)
    # Uniform numbers below 1 on top of whole strata: sorting shuffles each stratum in its own place.
    mixed = redraw.order[jnp.argsort(redraw.stratum + jax.random.uniform(shuffle, redraw.stratum.shape))]
    anywhere = jnp.floor(jax.random.uniform(pick, redraw.size.shape) * redraw.size).astype(jnp.int32)
    place = redraw.start + jnp.where(redraw.short, jnp.minimum(anywhere, redraw.size - 1), redraw.rank)
    return jnp.where(redraw.on, mixed[place], sampling)


def epoch_rows(
    key: jax.Array, redraw: Redraw, sampling: jax.Array, size: jax.Array, steps: int, batch: int
) -> jax.Array:
    """Shuffled training rows of an epoch, int32 [steps, batch]; entries past `size` are padding.

    Args:
      key: of the epoch.
      redraw, sampling: of a member.
      size: how many places count.
      steps, batch: of the program.
    """
    place = jnp.arange(sampling.shape[0])
    rows = drawn(redraw, sampling, jax.random.fold_in(key, 1))
    order = jnp.argsort(jnp.where(place < size, jax.random.uniform(key, place.shape), jnp.inf))
    rows = rows[order][: steps * batch]
    return jnp.pad(rows, (0, steps * batch - rows.shape[0])).reshape(steps, batch)
