"""The compiled functions of a program: one member's (`training.step`), made everybody's by its packing."""

from __future__ import annotations

import jax
import numpy as np

from frown_jax.member.state import State, Sums
from frown_jax.member.values import Member
from frown_jax.runtime.packing import Packing
from frown_jax.training.step import MemberStep, Static


class Engine:
    """The compiled functions of one program, over S stacked members.

    `images` (or features of them) and `labels` are the resident training set.
    """

    def __init__(self, static: Static, steps_per_epoch: int, steps_per_call: int, packing: Packing):
        self.static = static
        self.steps_per_epoch = steps_per_epoch
        self.steps_per_call = min(steps_per_call, steps_per_epoch)
        self.packing = packing
        own = MemberStep(
            static, steps_per_epoch, packing.how == "map", share=packing.share_batch, sharing=packing.per_member
        )
        packed = packing(own.train, (0, 0, 0, None, None, None, None, None))
        finish = packing(own.finish_epoch, (0, 0, None, None, None))
        predict = packing(own.predict, (0, 0, 0, None))
        describe = packing(own.describe, (0, 0, 0, None))

        def train(state: State, *rest):
            # What does not change in steps is passed around them, so that it is not copied.
            best, averages = state.best, state.averages
            light = None if averages is None else averages.replace(mean=(), segments=())
            state, sums = packed(state.replace(best=(), averages=light), *rest)
            if averages is not None and state.averages is not None:
                averages = state.averages.replace(mean=averages.mean, segments=averages.segments)
            return state.replace(best=best, averages=averages), sums

        def epoch(state: State, sums: Sums, members: Member, train_set, val_set, number: jax.Array):
            state, sums = train(state, sums, members, *train_set, number, 0, self.steps_per_epoch)
            return finish(state, members, *val_set, number), sums

        self.train = jax.jit(train, donate_argnums=(0, 1))
        self.finish_epoch = jax.jit(finish, donate_argnums=0)
        self.epoch = jax.jit(epoch, donate_argnums=(0, 1))  # both in one program
        # It runs once: on CPU a lower level compiles in a fifth of the time, to the same numbers.
        options = {"xla_backend_optimization_level": 1} if jax.default_backend() == "cpu" else None
        self.init = jax.jit(packing(own.init, (0, None), how="vmap"), compiler_options=options)
        self.predict = jax.jit(predict)
        self.describe = jax.jit(describe)
        self.restart = jax.jit(packing(own.restart, (0, 0, None, None, None, None)), donate_argnums=0)
        self.conclude = jax.jit(packing(own.conclude, (0, 0, None, None, None, None)), donate_argnums=0)


def steps_per_epoch(members: Member, batch_size: int) -> int:
    """Steps of the longest epoch of stacked members."""
    return -(-int(np.max(np.asarray(members.sampling_size))) // batch_size)
