"""One training run as values, and many of them stacked."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from frown_jax.member import averaging
from frown_jax.member.augment import Augmentation
from frown_jax.member.averaging import Averaging
from frown_jax.member.mixing import Mixing
from frown_jax.member.objective import Objective
from frown_jax.member.sampling import Redraw

_BEHIND = 1 << 20  # a stratum behind all others

Array = Any  # jax.Array or np.ndarray


@dataclasses.dataclass(frozen=True)
class Terms:
    """What a program computes only because one of its members asks for it.

    Attributes:
      penalties: positions in penalties.PENALTIES.
      mixing: whether batches are mixed.
      sharpness: whether gradients are taken a step uphill.
      restart: whether a first stage tells which images count more in a second one.
      averaging: whether weights are averaged.
      memory: epochs whose weights that remembers.
    """

    penalties: tuple[int, ...] = ()
    mixing: bool = False
    sharpness: bool = False
    restart: bool = False
    averaging: bool = False
    memory: int = 0


class Restart(struct.PyTreeNode):
    """A first stage whose errors the second one looks at; scalars."""

    epochs: Array  # int32 of the first stage; 0: there is none
    factor: Array  # of the images that it gets wrong


class Member(struct.PyTreeNode):
    """Traced values of one run; stacked along a leading axis for many. Scalars unless said otherwise.

    Its own N training and V validation images are rows of what is resident; arrays over them are padded where members
    have different numbers.
    """

    seed: Array  # uint32
    learning_rate: Array
    weight_decay: Array
    dropout_rate: Array
    schedule: Array  # int32, one of SCHEDULES
    schedule_patience: Array  # int32, epochs between drops (step) or without improvement (plateau)
    schedule_factor: Array
    warmup_epochs: Array
    epochs: Array  # int32, at most
    patience: Array  # int32: stop once more epochs than this bring no improvement
    min_improvement: Array  # of validation AUROC
    class_weights: Array  # [K]; of Action Units [T, 2], the weights of absent and present
    rows: Array  # int32 [N] of the resident images; -1 padding
    example_weights: Array  # [N] attention factor of each training image
    normaliser: Array  # int32, see losses.reduce
    sampling: Array  # int32 [P], which of the N fill an epoch's places, padded
    sampling_size: Array  # int32, how many entries of `sampling` count
    redraw: Redraw
    augmentation: Augmentation
    groups: Array  # int32 [N], the group of each training image that the objective looks at; -1 none
    objective: Objective
    adversary_groups: Array  # int32 [A, N], what each adversary tells apart
    mixing: Mixing
    sam_radius: Array  # of sharpness-aware steps; 0: plain ones
    restart: Restart
    averaging: Averaging
    validation_rows: Array  # int32 [V] of the resident images; -1 padding
    validation_groups: Array  # int32 [V], for heads that look at them


def stack(members: Sequence[Member]) -> Member:
    """One pytree with a leading member axis; what members have different numbers of is padded to the most."""
    places, images, held_out = (
        max(len(x) for x in each)
        for each in zip(*((m.sampling, m.rows, m.validation_rows) for m in members), strict=True)
    )

    def longer(x: np.ndarray, most: int, fill: float = 0) -> np.ndarray:
        return np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, most - x.shape[-1])], constant_values=fill)

    padded = []
    for m in members:
        r = m.redraw
        redraw = r.replace(
            # Padding is drawn by no place: it lies behind every stratum.
            stratum=longer(r.stratum, images, _BEHIND),
            order=longer(r.order, images),
            start=longer(r.start, places),
            size=longer(r.size, places),
            rank=longer(r.rank, places),
            short=longer(r.short, places),
        )
        padded.append(
            m.replace(
                rows=longer(m.rows, images, -1),
                example_weights=longer(m.example_weights, images),
                groups=longer(m.groups, images, -1),
                adversary_groups=longer(m.adversary_groups, images, -1),
                validation_rows=longer(m.validation_rows, held_out, -1),
                validation_groups=longer(m.validation_groups, held_out, -1),
                sampling=longer(m.sampling, places),
                redraw=redraw,
            )
        )
    return jax.tree.map(lambda *x: jnp.asarray(np.stack(x)), *padded)


def terms_of(members: Member) -> Terms:
    """The terms of stacked members."""

    def any_of(values: Array) -> bool:
        return bool((np.asarray(values) > 0).any())

    kind = np.asarray(members.averaging.kind)
    longest = np.maximum(members.averaging.converge, members.averaging.tolerance)[kind == averaging.SWAD]
    return Terms(
        penalties=tuple(np.flatnonzero((np.asarray(members.objective.penalties) != 0).any(0)).tolist()),
        mixing=any_of(members.mixing.alpha),
        sharpness=any_of(members.sam_radius),
        restart=any_of(members.restart.epochs),
        averaging=any_of(kind),
        memory=int(longest.max(initial=0)),
    )
