"""What happens to one member: a training step, an epoch, validation, prediction. Pure, and traced.

`training.engine` makes these functions everybody's, and compiles them. Shapes: B batch, N training images, K classes.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import optax
from flax import struct, traverse_util

from frown_jax.member import augment, averaging, heads, mixing, objective, outputs, sampling, schedule
from frown_jax.member.schedule import select
from frown_jax.member.state import Predictor, State, Sums
from frown_jax.member.values import Member, Terms
from frown_jax.models.classifier import Classifier
from frown_jax.models.layers import BatchNorm
from frown_jax.runtime import resident

Tree = Any  # a pytree of arrays


@dataclasses.dataclass(frozen=True)
class Shape:
    """Sizes of a program's arrays that its members' data and mitigations decide.

    Attributes:
      classes: K.
      groups: G, the most groups that a mitigation of its members divides images into.
      inputs: D, of attribute-aware networks: one for each value of their attributes.
      multilabel: whether the classes are labels of which an image may have many.
    """

    classes: int
    groups: int = 1
    inputs: int = 1
    multilabel: bool = False


@dataclasses.dataclass(frozen=True)
class Static:
    """What is compiled in."""

    model: Classifier
    image_size: int
    batch_size: int
    evaluation_batch_size: int
    shape: Shape
    adversaries: int = 1
    head: str = ""  # see mitigations.registry.Method
    terms: Terms = dataclasses.field(default_factory=Terms)
    features: int = 0  # of the frozen network that the model is the head of; 0: it sees images


class Batch(struct.PyTreeNode):
    """What a member sees in one step."""

    rows: jax.Array  # int [B] of the member's own training images
    labels: jax.Array  # int [B]; of many labels [B, K]
    valid: jax.Array  # bool [B]; False: padding at the end of an epoch
    x: jax.Array  # [B, H, W, 3] augmented and mixed, or [B, F] features
    partner: jax.Array  # int [B], whom of the batch each image is mixed with
    share: jax.Array  # scalar, of an image itself in the mixture
    key: jax.Array  # of dropout


class MemberStep:
    """The functions of one member, for the networks of one program.

    `images` (or features of them) and `labels` are the resident training set.

    Attributes:
      static: what is compiled in.
      steps_per_epoch: of the longest epoch among the members.
    """

    def __init__(
        self,
        static: Static,
        steps_per_epoch: int,
        alone: bool = True,
        share: Callable[[jax.Array], jax.Array] = lambda batch: batch,
        sharing: int = 1,
    ):
        """Builds the functions.

        Args:
          static: what is compiled in.
          steps_per_epoch: of the longest epoch among the members.
          alone: whether members run one after another (packing 'map'): what a member does not need is then skipped.
          share: lays a batch [B, ...] over the devices that a member takes.
          sharing: how many these are.
        """
        self.static, self.steps_per_epoch = static, steps_per_epoch
        self._alone, self._share, self._sharing = alone, share, sharing
        self._adam = optax.scale_by_adam()

    def init(self, member: Member, pretrained: Tree | None) -> State:
        """The state before the first epoch; `pretrained` is None or the collections of `models.weights`."""
        key = jax.random.fold_in(jax.random.key(member.seed), 0)
        size = self.static.image_size
        nothing = jnp.zeros((1, self.static.features) if self.static.features else (1, size, size, 3))
        variables = self.static.model.init(key, nothing, train=False)
        if pretrained is not None:  # every collection, except parameters that the file does not hold (the head)
            merged = traverse_util.flatten_dict(dict(variables))
            merged.update(traverse_util.flatten_dict(pretrained))
            variables = traverse_util.unflatten_dict(merged)
        params, stats = dict(variables["params"]), variables.get("batch_stats", {})
        s = self.static
        if s.head in heads.KINDS:
            shape = jax.eval_shape(lambda: s.model.apply(variables, nothing, train=False))
            wide = shape[1][s.model.watched].shape[-1]
            key = jax.random.fold_in(key, 1)
            params |= heads.initial(key, s.head, wide, s.shape.classes, s.shape.groups, s.shape.inputs, s.adversaries)
        i32 = functools.partial(jnp.asarray, dtype=jnp.int32)
        return State(
            params=params,
            batch_stats=stats,
            optimiser=self._adam.init(params),
            best=Predictor(
                params=jax.tree.map(jnp.copy, params),
                batch_stats=jax.tree.map(jnp.copy, stats),
                reader=jax.tree.map(jnp.asarray, member.objective.reader),
                epoch=i32(-1),
            ),
            best_score=jnp.zeros(()),
            rate_scale=jnp.ones(()),
            plateau_best=jnp.full((), jnp.inf, jnp.float32),
            plateau_wait=i32(0),
            active=jnp.asarray(True),
            failed_step=i32(-1),
            group_weights=objective.first_group_weights(member.objective),
            factors=jnp.ones(len(member.example_weights)) if s.terms.restart else None,
            averages=averaging.start(params, s.terms.memory) if s.terms.averaging else None,
        )

    def _augmented(self, images: resident.Rows, rows: jax.Array, member: Member, key: jax.Array) -> jax.Array:
        """Training input."""
        if self.static.features:
            return resident.take(images, rows)
        return augment.batch(images, rows, member.augmentation, key, self.static.image_size)

    def _plain(self, images: resident.Rows, rows: jax.Array) -> jax.Array:
        """Evaluation input."""
        found = resident.take(images, rows)
        return found if self.static.features else augment.plain(found, self.static.image_size)

    def loss(self, params: Tree, state: State, member: Member, batch: Batch):
        """The loss of a batch; and statistics, GroupDRO's weights, sums of losses and of right answers after it."""
        rows, y, valid = batch.rows, batch.labels, batch.valid
        (logits, out), updated = self.static.model.apply(
            {"params": params, "batch_stats": state.batch_stats},
            batch.x,
            train=True,
            mask=valid,
            dropout_rate=member.dropout_rate,
            dropout_key=batch.key,
            mutable=["batch_stats"],
        )
        o, classes, groups = member.objective, self.static.shape.classes, member.groups[rows]
        membership = jax.nn.one_hot(groups, self.static.shape.groups)
        if self.static.head == heads.AWARE:
            told = o.reader.inputs[groups] * (groups >= 0)[:, None]
            logits = heads.aware_logits(params, logits, told)
        per_example, known = self._example_losses(logits, y, groups, member)
        if self.static.terms.mixing:
            other, other_known = self._example_losses(logits, y[batch.partner], groups, member)
            per_example, known = (
                batch.share * a + (1 - batch.share) * b for a, b in ((per_example, other), (known, other_known))
            )
        weights = member.example_weights[rows]
        if not self.static.shape.multilabel:
            weights *= member.class_weights[y]
        if self.static.terms.restart:
            assert state.factors is not None
            weights *= state.factors[rows]
        loss, group_weights = objective.pooled(
            per_example, weights, valid, member.normaliser, membership, state.group_weights, o, known
        )
        logits = objective.class_logits(logits, groups, o.reader, classes)
        if self.static.terms.penalties:
            p, chosen = outputs.probabilities(logits, self.static.shape.multilabel), self.static.terms.penalties
            loss = loss + objective.penalty(p, out[self.static.model.watched], y, membership, valid, o, chosen)
        if self.static.head == heads.ADVERSARY:
            columns = jax.nn.one_hot(member.adversary_groups[:, rows], self.static.shape.groups)
            told = outputs.as_index(y)
            loss = loss + heads.adversary_loss(
                params, out[self.static.model.watched], told, columns, valid, o.adversary
            )
        correct = (outputs.correct(logits, y) * valid).sum()
        stats = updated.get("batch_stats", {})
        return loss, (stats, group_weights, jnp.where(valid, per_example, 0).sum(), correct)

    def _example_losses(self, logits: jax.Array, y: jax.Array, groups: jax.Array, member: Member):
        """Losses [B], and the share of each example's labels that is known."""
        o, shape = member.objective, self.static.shape
        if shape.multilabel:
            return objective.label_losses(logits, y, groups, member.class_weights, o)
        return objective.example_losses(logits, y, groups, o, shape.classes), jnp.ones(len(y))

    def _trained(self, updates: Tree) -> Tree:
        flat = traverse_util.flatten_dict(updates)
        kept = {
            k: v if k[0] in heads.KINDS or self.static.model.is_trained(k) else jnp.zeros_like(v)
            for k, v in flat.items()
        }
        return traverse_util.unflatten_dict(kept)

    def _batch(self, member: Member, rows: jax.Array, images, labels, epoch, step) -> Batch:
        """What a member sees in a step: augmented, and mixed where a member of the program asks for it.

        Args:
          member: unstacked.
          rows: int [B] of its own training images.
          images, labels: resident.
          epoch, step: of the program.
        """
        size = self.static.batch_size
        valid = step * size + jnp.arange(size) < member.sampling_size
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(member.seed), 2), epoch * 1_000_003 + step)
        augment_key, dropout_key = jax.random.split(key)
        chosen = member.rows[rows]
        x = self._share(self._augmented(images, chosen, member, augment_key))
        y = labels[chosen]
        mixed = mixing.Mixed(x, jnp.arange(size), jnp.ones(()))
        if self.static.terms.mixing:
            mix_key, groups = jax.random.fold_in(key, 2), member.groups[rows]
            mixed = mixing.mix(mix_key, x, outputs.as_index(y), groups, valid, member.mixing)
        return Batch(rows, y, valid, mixed.x, mixed.partner, mixed.share, dropout_key)

    def _step(self, state: State, sums: Sums, member: Member, batch: Batch, epoch, step) -> tuple[State, Sums]:
        """One update of one member."""
        grad_of = jax.value_and_grad(self.loss, has_aux=True)
        (loss, (stats, group_weights, loss_sum, correct)), grads = grad_of(state.params, state, member, batch)
        if self.static.terms.sharpness:
            # Foret et al. 2021: the gradient at the worst point within the radius, to first order.
            reach = member.sam_radius / (optax.tree.norm(grads) + 1e-12)
            grads = grad_of(jax.tree.map(lambda p, g: p + reach * g, state.params, grads), state, member, batch)[1]
        # A sum is not finite if an entry is not; its square root and squares would cost a copy of the gradient.
        finite = jnp.isfinite(loss) & jnp.isfinite(optax.tree.sum(grads))
        updates, optimiser = self._adam.update(grads, state.optimiser)
        rate = member.learning_rate * schedule.rate_factor(
            member, state.rate_scale, epoch, step, self.static.batch_size
        )
        updates = jax.tree.map(lambda u, p: -rate * (u + member.weight_decay * p), updates, state.params)
        params = optax.apply_updates(state.params, self._trained(updates))

        running = state.active & batch.valid.any()
        go = running & finite
        failed = running & ~finite
        averages = state.averages
        if averages is not None:
            averages = select(go, averaging.after_step(averages, params), averages)
        state = state.replace(
            params=select(go, params, state.params),
            batch_stats=select(go, stats, state.batch_stats),
            optimiser=select(go, optimiser, state.optimiser),
            averages=averages,
            group_weights=jnp.where(go, group_weights, state.group_weights),
            active=state.active & ~failed,
            failed_step=jnp.where(failed, epoch * self.steps_per_epoch + step, state.failed_step).astype(jnp.int32),
        )
        sums = Sums(
            loss=sums.loss + jnp.where(go, loss_sum, 0),
            correct=sums.correct + jnp.where(go, correct, 0),
            count=sums.count + jnp.where(go, batch.valid.sum(), 0),
        )
        return state, sums

    def train(self, state: State, sums: Sums, member: Member, images, labels, epoch, first_step, steps):
        """`steps` steps of one member from `first_step` of the epoch, as far as the epoch goes."""
        size = self.static.batch_size
        key = jax.random.fold_in(jax.random.fold_in(jax.random.key(member.seed), 1), epoch)
        rows = sampling.epoch_rows(
            key, member.redraw, member.sampling, member.sampling_size, self.steps_per_epoch, size
        )
        end = jnp.minimum(first_step + steps, self.steps_per_epoch)
        if self._alone:  # alone in its loop: it runs as far as it needs to
            own = jnp.minimum(end, (member.sampling_size + size - 1) // size)
            end = jnp.where(state.active, own, first_step)

        def body(step: jax.Array, carry: tuple[State, Sums]) -> tuple[State, Sums]:
            batch = self._batch(member, rows[step], images, labels, epoch, step)
            return self._step(*carry, member, batch, epoch, step)

        return jax.lax.fori_loop(jnp.asarray(first_step, jnp.int32), end, body, (state, sums))

    def finish_epoch(self, state: State, member: Member, images: jax.Array, labels: jax.Array, epoch: jax.Array):
        """Predicts the validation images and judges the epoch by them."""
        now = state.best.replace(params=state.params, batch_stats=state.batch_stats)
        logits, labels = self._validation(now, member, images, labels, state.active)
        return schedule.judge(state, member, logits, labels, epoch, self.steps_per_epoch)

    def _validation(self, predictor: Predictor, member: Member, images: jax.Array, labels: jax.Array, wanted):
        """Logits and labels of the member's validation images; padding has label -1."""
        rows = member.validation_rows
        logits = self._logits(predictor, member.validation_groups, rows, images, wanted)
        there = (rows >= 0).reshape(-1, *[1] * (labels.ndim - 1))
        return logits, jnp.where(there, labels[rows], -1)

    def restart(
        self, state: State, member: Member, images: jax.Array, labels: jax.Array, epoch: jax.Array, pretrained: Tree
    ) -> State:
        """Where the first stage of a member ends with this epoch: what it got wrong counts more, and all begins anew.

        Just Train Twice (Liu et al. 2021). Its copies of the wrong images are factors here, of mean 1.
        """
        due = state.active & (member.restart.epochs == epoch + 1)
        now = state.best.replace(params=state.params, batch_stats=state.batch_stats)
        wrong = self._logits(now, member.groups, member.rows, images, due).argmax(-1) != labels[member.rows]
        factors = jnp.where(wrong, member.restart.factor, 1.0)
        mean = jnp.average(factors, weights=member.rows >= 0)
        return select(due, self.init(member, pretrained).replace(factors=factors / mean), state)

    def conclude(
        self,
        state: State,
        member: Member,
        images: jax.Array,
        val_images: jax.Array,
        labels: jax.Array,
        epoch: jax.Array,
    ) -> State:
        """After the last epoch: averaged weights, if there are any, predict from now on.

        Args:
          state, member: unstacked.
          images: of training.
          val_images, labels: of validation.
          epoch: the last one.
        """
        assert state.averages is not None
        params, there = averaging.conclude(state.averages, member.averaging)
        stats = self._statistics(params, state.batch_stats, member, images)
        mean = Predictor(params, stats, state.best.reader, jnp.asarray(epoch, jnp.int32))
        score = outputs.auroc(*self._validation(mean, member, val_images, labels, there))
        return select(there, state.replace(best=mean, best_score=score), state)

    def _statistics(self, params: Tree, stats: Tree, member: Member, images: jax.Array) -> Tree:
        """Running statistics of weights that were never trained with: means over the batches of an epoch."""
        if not jax.tree.leaves(stats):
            return stats
        batch, steps = self.static.batch_size, self.steps_per_epoch
        key = jax.random.fold_in(jax.random.key(member.seed), 3)
        size = member.sampling_size
        rows = sampling.epoch_rows(key, member.redraw, member.sampling, size, steps, batch)

        def one(step: jax.Array, mean: Tree) -> Tree:
            valid = step * batch + jnp.arange(batch) < size
            own = jax.random.fold_in(key, step)
            x = self._share(self._augmented(images, member.rows[rows[step]], member, own))
            variables = {"params": params, "batch_stats": stats}
            after = self.static.model.apply(variables, x, train=True, mask=valid, mutable=["batch_stats"])[1]
            # A batch moves statistics by the momentum: from where they land, its own.
            of_batch = jax.tree.map(lambda a, b: b + (a - b) / BatchNorm.momentum, after["batch_stats"], stats)
            return jax.tree.map(lambda m, b: m + (b - m) / (step + 1), mean, of_batch)

        return jax.lax.fori_loop(0, (size + batch - 1) // batch, one, jax.tree.map(jnp.zeros_like, stats))

    def describe(
        self, predictor: Predictor, groups: jax.Array, rows: jax.Array, images: jax.Array
    ) -> dict[str, jax.Array]:
        """What a member makes of images: 'logits' float32 [N, K] and 'penultimate' [N, F], the head's inputs.

        Args:
          predictor: of the member.
          groups: int [N], -1 where they are not known.
          rows: int [N] of `images`; of -1 the result means nothing.
          images: uint8 [M, H, W, 3].
        """
        count = rows.shape[0]
        share = self._sharing
        size = -(-min(self.static.evaluation_batch_size, count) // share) * share
        batches = -(-count // size)
        padded = jnp.pad(jnp.maximum(rows, 0), (0, batches * size - count))
        variables = {"params": predictor.params, "batch_stats": predictor.batch_stats}

        def batch(rows: jax.Array) -> tuple[jax.Array, jax.Array]:
            x = self._share(self._plain(images, rows))
            logits, out = self.static.model.apply(variables, x, train=False)
            return logits, out["penultimate"]

        each = jax.lax.map(batch, padded.reshape(batches, size))
        logits, penultimate = (a.reshape(batches * size, -1)[:count] for a in each)
        reader = predictor.reader
        if self.static.head == heads.AWARE:
            many = self.static.shape.multilabel
            logits = heads.marginalised(predictor.params, logits, groups, reader.inputs, reader.shares, many)
        else:
            logits = objective.class_logits(logits, groups, reader, self.static.shape.classes)
        return {"logits": logits, "penultimate": penultimate}

    def predict(self, predictor: Predictor, groups: jax.Array, rows: jax.Array, images: jax.Array) -> jax.Array:
        """Logits alone; zeros for a member that finished no epoch."""
        return self._logits(predictor, groups, rows, images, predictor.epoch >= 0)

    def _logits(
        self, predictor: Predictor, groups: jax.Array, rows: jax.Array, images: jax.Array, wanted: jax.Array
    ) -> jax.Array:
        """See `describe`; where members run one after another, nothing is computed for one that is not `wanted`."""

        def every_batch() -> jax.Array:
            return self.describe(predictor, groups, rows, images)["logits"]

        if not self._alone:
            return every_batch()
        shape = jax.eval_shape(every_batch)
        return jax.lax.cond(wanted, every_batch, lambda: jnp.zeros(shape.shape, shape.dtype))
