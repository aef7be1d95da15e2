"""The training step, the epoch loop, and per-member schedules and stopping, for one compile group.

Everything here is pure and traced; the host loop is in `train`. Shapes: S members, B batch, N training images,
K classes.
"""

from __future__ import annotations

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import struct, traverse_util

from frown_jax import augment, heads, losses, mixing, objective, sampling
from frown_jax.members import Member, Terms
from frown_jax.metrics.device import multiclass_auroc
from frown_jax.packing import Packing

Tree = Any  # a pytree of arrays


class State(struct.PyTreeNode):
    """All that changes while training, stacked over members [S, ...]."""

    params: Tree
    batch_stats: Tree
    optimiser: optax.OptState
    best_params: Tree
    best_batch_stats: Tree
    best_score: jax.Array  # validation AUROC
    best_epoch: jax.Array  # int32, -1 before the first
    rate_scale: jax.Array  # of the plateau schedule
    plateau_best: jax.Array  # validation loss
    plateau_wait: jax.Array  # int32 epochs
    active: jax.Array  # bool; a member that stopped or failed is frozen
    failed_step: jax.Array  # int32 step of the first non-finite loss or gradient, -1 if none
    group_weights: jax.Array  # [G] of GroupDRO
    reader: objective.Reader  # how classes are read off the network's outputs


class Sums(struct.PyTreeNode):
    """Running totals of an epoch, [S]."""

    loss: jax.Array
    correct: jax.Array
    count: jax.Array


@dataclasses.dataclass(frozen=True)
class Static:
    """What is compiled in."""

    model: nn.Module
    image_size: int
    batch_size: int
    evaluation_batch_size: int
    classes: int
    groups: int = 1
    inputs: int = 1
    adversaries: int = 1
    head: str = ""  # see mitigations.registry.Method
    terms: Terms = dataclasses.field(default_factory=Terms)


def _rate_factor(member: Member, state_scale: jax.Array, epoch: jax.Array, step: jax.Array, batch: int) -> jax.Array:
    """What the schedule multiplies the member's learning rate by."""
    own_steps = (member.sampling_size + batch - 1) // batch
    passed = epoch + step / own_steps  # epochs
    stairs = member.schedule_factor ** (epoch // member.schedule_patience).astype(jnp.float32)
    cosine = 0.5 * (1 + jnp.cos(jnp.pi * jnp.minimum(passed / member.epochs, 1)))
    factor = jnp.stack([jnp.ones(()), stairs, state_scale, cosine])[member.schedule]
    warm = jnp.where(member.warmup_epochs > 0, (passed + 1 / own_steps) / jnp.maximum(member.warmup_epochs, 1e-9), 1)
    return factor * jnp.minimum(warm, 1)


def _select(choose: jax.Array, new: Tree, old: Tree) -> Tree:
    return jax.tree.map(lambda a, b: jnp.where(choose, a, b), new, old)


class Engine:
    """Compiled functions of one group. `images` and `labels` are the resident training set."""

    def __init__(self, static: Static, steps_per_epoch: int, steps_per_call: int, packing: Packing):
        self.static = static
        self.steps_per_epoch = steps_per_epoch
        self.steps_per_call = min(steps_per_call, steps_per_epoch)
        self.packing = packing
        self._adam = optax.scale_by_adam()
        packed = packing(self._train, (0, 0, 0, None, None, None, None, None))
        finish = packing(self._finish_epoch, (0, 0, None, None, None))
        predict = packing(self._predict, (0, 0, 0, 0, 0, None))

        def train(state: State, *rest):
            # The best weights do not change in steps: passed around them, they are not copied.
            best = {"best_params": state.best_params, "best_batch_stats": state.best_batch_stats}
            state, sums = packed(state.replace(**dict.fromkeys(best, ())), *rest)
            return state.replace(**best), sums

        def epoch(state: State, sums: Sums, group: Member, train_set, val_set, number: jax.Array):
            state, sums = train(state, sums, group, *train_set, number, 0, self.steps_per_epoch)
            return finish(state, group, *val_set, number), sums

        self.train = jax.jit(train, donate_argnums=(0, 1))
        self.finish_epoch = jax.jit(finish, donate_argnums=0)
        self.epoch = jax.jit(epoch, donate_argnums=(0, 1))  # both in one program
        self.init = jax.jit(jax.vmap(self._init, in_axes=(0, None)))
        self.predict = jax.jit(predict)

    # --- one member; `packing` makes it everybody's -------------------------------------------------------------

    def _init(self, member: Member, pretrained: Tree | None) -> State:
        """The state before the first epoch; `pretrained` is None or the collections of `models.weights`."""
        key = jax.random.fold_in(jax.random.key(member.seed), 0)
        size = self.static.image_size
        variables = self.static.model.init(key, jnp.zeros((1, size, size, 3)), train=False)
        if pretrained is not None:  # every collection, except parameters that the file does not hold (the head)
            merged = traverse_util.flatten_dict(dict(variables))
            merged.update(traverse_util.flatten_dict(pretrained))
            variables = traverse_util.unflatten_dict(merged)
        params, stats = dict(variables["params"]), variables.get("batch_stats", {})
        s = self.static
        if s.head in heads.KINDS:
            shape = jax.eval_shape(lambda: s.model.apply(variables, jnp.zeros((1, size, size, 3)), train=False))
            wide = shape[1]["features"].shape[-1]
            key = jax.random.fold_in(key, 1)
            params |= heads.initial(key, s.head, wide, s.classes, s.groups, s.inputs, s.adversaries)
        i32 = functools.partial(jnp.asarray, dtype=jnp.int32)
        return State(
            params=params,
            batch_stats=stats,
            optimiser=self._adam.init(params),
            best_params=jax.tree.map(jnp.copy, params),
            best_batch_stats=jax.tree.map(jnp.copy, stats),
            best_score=jnp.zeros(()),
            best_epoch=i32(-1),
            rate_scale=jnp.ones(()),
            plateau_best=jnp.full((), jnp.inf, jnp.float32),
            plateau_wait=i32(0),
            active=jnp.asarray(True),
            failed_step=i32(-1),
            group_weights=objective.first_group_weights(member.objective),
            reader=jax.tree.map(jnp.asarray, member.objective.reader),
        )

    def _loss(self, params: Tree, state: State, member: Member, batch: mixing.Mixed, rows: jax.Array, y, valid, key):
        stats, x = state.batch_stats, batch.x
        (logits, out), updated = self.static.model.apply(
            {"params": params, "batch_stats": stats},
            x,
            train=True,
            mask=valid,
            dropout_rate=member.dropout_rate,
            dropout_key=key,
            mutable=["batch_stats"],
        )
        o, classes, groups = member.objective, self.static.classes, member.groups[rows]
        membership = jax.nn.one_hot(groups, self.static.groups)
        if self.static.head == heads.AWARE:
            told = o.reader.inputs[groups] * (groups >= 0)[:, None]
            logits = heads.aware_logits(params, logits, told)
        per_example = objective.example_losses(logits, y, groups, o, classes)
        if self.static.terms.mixing:
            other = objective.example_losses(logits, y[batch.partner], groups, o, classes)
            per_example = batch.share * per_example + (1 - batch.share) * other
        weights = member.class_weights[y] * member.example_weights[rows]
        loss, group_weights = objective.pooled(
            per_example, weights, valid, member.normaliser, membership, state.group_weights, o
        )
        logits = objective.class_logits(logits, groups, o.reader, classes)
        if self.static.terms.penalties:
            p, chosen = jax.nn.softmax(logits), self.static.terms.penalties
            loss = loss + objective.penalty(p, out["features"], y, membership, valid, o, chosen)
        if self.static.head == heads.ADVERSARY:
            columns = jax.nn.one_hot(member.adversary_groups[:, rows], self.static.groups)
            loss = loss + heads.adversary_loss(params, out["features"], y, columns, valid, o.adversary)
        correct = ((logits.argmax(-1) == y) & valid).sum()
        stats = updated.get("batch_stats", {})
        return loss, (stats, group_weights, jnp.where(valid, per_example, 0).sum(), correct)

    def _trained(self, updates: Tree) -> Tree:
        flat = traverse_util.flatten_dict(updates)
        kept = {
            k: v if k[0] in heads.KINDS or self.static.model.is_trained(k) else jnp.zeros_like(v)
            for k, v in flat.items()
        }
        return traverse_util.unflatten_dict(kept)

    def _step(self, state: State, sums: Sums, member: Member, rows: jax.Array, images, labels, epoch, step):
        batch = self.static.batch_size
        valid = step * batch + jnp.arange(batch) < member.sampling_size
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(member.seed), 2), epoch * 1_000_003 + step)
        augment_key, dropout_key = jax.random.split(key)
        x = augment.batch(images, rows, member.augmentation, augment_key, self.static.image_size)
        y = labels[rows]
        mixed = mixing.Mixed(x, jnp.arange(batch), jnp.ones(()))
        if self.static.terms.mixing:
            mixed = mixing.mix(jax.random.fold_in(key, 2), x, y, member.groups[rows], valid, member.mixing)
        grad_of = jax.value_and_grad(self._loss, has_aux=True)
        (loss, (stats, group_weights, loss_sum, correct)), grads = grad_of(
            state.params, state, member, mixed, rows, y, valid, dropout_key
        )
        # A sum is not finite if an entry is not; its square root and squares would cost a copy of the gradient.
        finite = jnp.isfinite(loss) & jnp.isfinite(optax.tree.sum(grads))
        updates, optimiser = self._adam.update(grads, state.optimiser)
        rate = member.learning_rate * _rate_factor(member, state.rate_scale, epoch, step, batch)
        updates = jax.tree.map(lambda u, p: -rate * (u + member.weight_decay * p), updates, state.params)
        params = optax.apply_updates(state.params, self._trained(updates))

        running = state.active & valid.any()
        go = running & finite
        failed = running & ~finite
        state = state.replace(
            params=_select(go, params, state.params),
            batch_stats=_select(go, stats, state.batch_stats),
            optimiser=_select(go, optimiser, state.optimiser),
            group_weights=jnp.where(go, group_weights, state.group_weights),
            active=state.active & ~failed,
            failed_step=jnp.where(failed, epoch * self.steps_per_epoch + step, state.failed_step).astype(jnp.int32),
        )
        sums = Sums(
            loss=sums.loss + jnp.where(go, loss_sum, 0),
            correct=sums.correct + jnp.where(go, correct, 0),
            count=sums.count + jnp.where(go, valid.sum(), 0),
        )
        return state, sums

    def _train(self, state: State, sums: Sums, member: Member, images, labels, epoch, first_step, steps):
        """`steps` steps of one member from `first_step` of the epoch, as far as the epoch goes."""
        batch = self.static.batch_size
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(member.seed), 1), epoch)
        size = member.sampling_size
        rows = sampling.epoch_rows(key, member.redraw, member.sampling, size, self.steps_per_epoch, batch)
        end = jnp.minimum(first_step + steps, self.steps_per_epoch)
        if self.packing.how == "map":  # alone in its loop: it runs as far as it needs to
            own = jnp.minimum(end, (member.sampling_size + batch - 1) // batch)
            end = jnp.where(state.active, own, first_step)

        def body(step: jax.Array, carry: tuple[State, Sums]) -> tuple[State, Sums]:
            return self._step(*carry, member, rows[step], images, labels, epoch, step)

        return jax.lax.fori_loop(jnp.asarray(first_step, jnp.int32), end, body, (state, sums))

    def _finish_epoch(self, state: State, member: Member, images: jax.Array, labels: jax.Array, epoch: jax.Array):
        """Predicts the validation images and judges the epoch by them."""
        groups = member.validation_groups
        logits = self._predict(state.params, state.batch_stats, state.active, state.reader, groups, images)
        return self._judge(state, member, logits, labels, epoch)

    def _judge(self, state: State, member: Member, logits: jax.Array, labels: jax.Array, epoch: jax.Array):
        """Validation metrics of an epoch, best weights, plateau, early stopping."""
        score = multiclass_auroc(jax.nn.softmax(logits), labels)
        loss = losses.cross_entropy(logits, labels).mean()
        accuracy = (logits.argmax(-1) == labels).mean()
        improved = state.active & (score - state.best_score >= member.min_improvement)
        best_epoch = jnp.where(improved, epoch, state.best_epoch)
        # torch's ReduceLROnPlateau: better by a factor of 1e-4, dropped when it has waited longer than patience.
        lower = loss < state.plateau_best * (1 - 1e-4)
        wait = jnp.where(lower, 0, state.plateau_wait + 1)
        drop = wait > member.schedule_patience
        stop = (epoch - best_epoch > member.patience) | (epoch + 1 >= member.epochs)
        frozen = state
        state = state.replace(
            best_params=_select(improved, state.params, state.best_params),
            best_batch_stats=_select(improved, state.batch_stats, state.best_batch_stats),
            best_score=jnp.where(improved, score, state.best_score),
            best_epoch=best_epoch.astype(jnp.int32),
            rate_scale=jnp.where(drop, state.rate_scale * member.schedule_factor, state.rate_scale),
            plateau_best=jnp.where(lower, loss, state.plateau_best),
            plateau_wait=jnp.where(drop, 0, wait).astype(jnp.int32),
            active=state.active & ~stop,
        )
        metrics = {
            "val_loss": loss,
            "val_accuracy": accuracy,
            "val_auroc": score,
            "best_val_auroc": state.best_score,
            "ran": frozen.active | (frozen.failed_step >= epoch * self.steps_per_epoch),
        }
        return _select(frozen.active, state, frozen), metrics

    def _predict(
        self,
        params: Tree,
        stats: Tree,
        wanted: jax.Array,
        reader: objective.Reader,
        groups: jax.Array,
        images: jax.Array,
    ) -> jax.Array:
        """Logits of one member on every image, float32 [N, K]; zeros where not `wanted`.

        `groups` int [N] are -1 where they are not known.
        """
        count = images.shape[0]
        size = min(self.static.evaluation_batch_size, count)
        batches = -(-count // size)
        padded = jnp.pad(images, ((0, batches * size - count), (0, 0), (0, 0), (0, 0)))

        def batch(raw: jax.Array) -> jax.Array:
            x = augment.plain(raw, self.static.image_size)
            return self.static.model.apply({"params": params, "batch_stats": stats}, x, train=False)[0]

        def every_batch() -> jax.Array:
            logits = jax.lax.map(batch, padded.reshape(batches, size, *images.shape[1:]))
            logits = logits.reshape(batches * size, -1)[:count]
            if self.static.head == heads.AWARE:
                return heads.marginalised(params, logits, groups, reader.inputs, reader.shares)
            return objective.class_logits(logits, groups, reader, self.static.classes)

        if self.packing.how == "vmap":
            return every_batch()
        shape = jax.eval_shape(every_batch)
        return jax.lax.cond(wanted, every_batch, lambda: jnp.zeros(shape.shape, shape.dtype))


def no_sums(count: int) -> Sums:
    """Zero totals for `count` members."""
    zero = np.zeros(count, np.float32)
    return Sums(*(jnp.asarray(zero) for _ in range(3)))


def steps_per_epoch(group: Member, batch_size: int) -> int:
    """Steps of the longest epoch of a stacked group."""
    return -(-int(np.max(np.asarray(group.sampling_size))) // batch_size)
