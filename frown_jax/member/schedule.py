"""A member's own clock: its learning rate at a step, and what the end of an epoch means for it."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp

from frown_jax.member import averaging, outputs
from frown_jax.member.state import Predictor, State
from frown_jax.member.values import Member

Tree = Any

CONSTANT, STEP, PLATEAU, COSINE = range(4)
SCHEDULES = {"constant": CONSTANT, "step": STEP, "plateau": PLATEAU, "cosine": COSINE}


def select(choose: jax.Array, new: Tree, old: Tree) -> Tree:
    """`new` if `choose`, a scalar."""
    return jax.tree.map(lambda a, b: jnp.where(choose, a, b), new, old)


def own_epoch(member: Member, epoch: jax.Array) -> jax.Array:
    """Epochs since the member's present stage began."""
    first = member.restart.epochs
    return jnp.where(epoch < first, epoch, epoch - first)


def rate_factor(member: Member, state_scale: jax.Array, epoch: jax.Array, step: jax.Array, batch: int) -> jax.Array:
    """What the schedule multiplies the member's learning rate by.

    Args:
      member: unstacked.
      state_scale: of the plateau schedule.
      epoch, step: of the program.
      batch: images of a step.
    """
    epoch = own_epoch(member, epoch)
    own_steps = (member.sampling_size + batch - 1) // batch
    passed = epoch + step / own_steps  # epochs
    stairs = member.schedule_factor ** (epoch // member.schedule_patience).astype(jnp.float32)
    cosine = 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(passed / member.epochs, 1)))
    factor = jnp.stack([jnp.ones(()), stairs, state_scale, cosine])[member.schedule]
    held = (member.averaging.rate > 0) & (passed >= member.averaging.start * member.epochs)
    factor = jnp.where(held, member.averaging.rate, factor)
    warm = jnp.where(member.warmup_epochs > 0, (passed + 1 / own_steps) / jnp.maximum(member.warmup_epochs, 1e-9), 1)
    return factor * jnp.minimum(warm, 1)


def judge(
    state: State, member: Member, logits: jax.Array, labels: jax.Array, epoch: jax.Array, steps_per_epoch: int
) -> tuple[State, dict[str, jax.Array]]:
    """The end of an epoch: validation metrics, best weights, averages, plateau, early stopping.

    Args:
      state, member: unstacked.
      logits: [V, K] of the validation images.
      labels: int [V], or [V, K] of many labels an image; -1 does not count.
      epoch: of the program.
      steps_per_epoch: of the program.
    """
    score, loss, accuracy = (f(logits, labels) for f in (outputs.auroc, outputs.mean_loss, outputs.accuracy))
    improved = state.active & (score - state.best_score >= member.min_improvement)
    candidate = Predictor(state.params, state.batch_stats, state.best.reader, jnp.asarray(epoch, jnp.int32))
    best = select(improved, candidate, state.best)
    # torch's ReduceLROnPlateau: better by a factor of 1e-4, dropped when it has waited longer than patience.
    lower = loss < state.plateau_best * (1 - 1e-4)
    wait = jnp.where(lower, 0, state.plateau_wait + 1)
    drop = wait > member.schedule_patience
    stop = (epoch - best.epoch > member.patience) | (own_epoch(member, epoch) + 1 >= member.epochs)
    stop &= epoch >= member.restart.epochs  # a first stage ends in a restart
    averages = state.averages
    if averages is not None:
        averages = averaging.after_epoch(averages, member.averaging, state.params, loss, member.epochs)
        stop |= averages.ended
    frozen = state
    state = state.replace(
        best=best,
        best_score=jnp.where(improved, score, state.best_score),
        rate_scale=jnp.where(drop, state.rate_scale * member.schedule_factor, state.rate_scale),
        plateau_best=jnp.where(lower, loss, state.plateau_best),
        plateau_wait=jnp.where(drop, 0, wait).astype(jnp.int32),
        active=state.active & ~stop,
        averages=averages,
    )
    metrics = {
        "val_loss": loss,
        "val_accuracy": accuracy,
        "val_auroc": score,
        "best_val_auroc": state.best_score,
        "ran": frozen.active | (frozen.failed_step >= epoch * steps_per_epoch),
    }
    return select(frozen.active, state, frozen), metrics
