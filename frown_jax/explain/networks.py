"""The networks of a finished run, ready to be explained: whole, without batch norms, many at once."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from frown_jax.explain.attribution import one_hot
from frown_jax.inference.ensemble import Ensemble
from frown_jax.inputs.trunk import Trunk
from frown_jax.member import heads, objective
from frown_jax.member import outputs as network_outputs
from frown_jax.member.objective import Reader
from frown_jax.models.classifier import Classifier
from frown_jax.models.fold_norms import fold_batch_norms
from frown_jax.posthoc.thresholds import HALF
from frown_jax.runtime.packing import gather
from frown_jax.training.grid import Spec
from frown_jax.training.readout import Readout

Tree = Any


@dataclasses.dataclass(frozen=True)
class Networks:
    """M members of one architecture.

    Attributes:
      model: whole, without batch norms, in float32.
      shared: {'params'} that all have in common: of a frozen trunk; else {}.
      own: {'params'} of each, stacked [M, ...].
      readers: how classes are read off outputs, stacked.
      specs: the M members.
      thresholds: [M, K] of Action Units, the probabilities from which they count as present; None: one class an image.
      classes: K.
      image_size: side of the networks' input.
      notes: what a map leaves out of how these members predict.
    """

    model: Classifier
    shared: Tree
    own: Tree
    readers: Reader
    specs: tuple[Spec, ...]
    thresholds: np.ndarray | None
    classes: int
    image_size: int
    notes: tuple[str, ...] = ()

    def variables(self, own: Tree) -> Tree:
        """Of one member, from its own."""
        return {"params": {**self.shared.get("params", {}), **own["params"]}}

    def take(self, chosen: np.ndarray) -> Networks:
        """Some of the members."""
        own, readers = gather((self.own, self.readers), jnp.asarray(chosen))
        limits = None if self.thresholds is None else self.thresholds[chosen]
        specs = tuple(self.specs[i] for i in chosen)
        return dataclasses.replace(self, own=own, readers=readers, specs=specs, thresholds=limits)

    def probabilities(self, logits: np.ndarray) -> np.ndarray:
        """Of logits [M, B, K]: the networks' own, without offsets that follow training."""
        return network_outputs.probabilities_of(logits.astype(np.float64), self.thresholds is not None)

    def decisions(self, logits: np.ndarray) -> np.ndarray:
        """Whether each class is decided for, bool [M, B, K]."""
        p = self.probabilities(logits)
        if self.thresholds is None:
            return p.argmax(-1)[..., None] == np.arange(p.shape[-1])
        return p >= self.thresholds[:, None]

    def starts(self, groups: jax.Array, reader: Reader) -> Callable[[jax.Array], jax.Array]:
        """Where maps begin: one a class, what its logit is made of.

        A network with one output a class begins with 1 there. One with heads of groups begins with the derivative of
        the logit that is read off them.
        """

        def of_outputs(outputs: jax.Array) -> jax.Array:
            logits, back = jax.vjp(lambda y: self.logits(y, groups, reader), outputs)
            return jax.vmap(lambda start: back(start)[0])(one_hot(logits))

        return of_outputs

    def logits(self, outputs: jax.Array, groups: jax.Array, reader: Reader) -> jax.Array:
        """Of classes, [B, K]."""
        return objective.class_logits(outputs, groups, reader, self.classes)


def _whole(readout: Readout, trunk: Trunk | None) -> tuple[Classifier, Tree, Tree]:
    """Model, shared variables and own variables [S, ...] without batch norms."""
    static, predictor = readout.static, readout.predictor
    model = static.model.clone(part="all", dtype=jnp.float32)
    params = {k: v for k, v in predictor.params.items() if k not in heads.KINDS}
    plain, own = fold_batch_norms(model, {"params": params, "batch_stats": predictor.batch_stats})
    if trunk is None:
        return plain, {}, own
    shared = fold_batch_norms(model, jax.tree.map(jnp.asarray, trunk.variables))[1]
    return plain, shared, own


def _of_part(readout: Readout, trunk: Trunk | None) -> Networks:
    plain, shared, own = _whole(readout, trunk)
    trained = readout.trained
    own, readers = gather((own, readout.predictor.reader), jnp.asarray([t.position for t in trained]))
    refitted = [i for i, t in enumerate(trained) if t.adjustment.kernel is not None]
    if refitted:
        flat = traverse_util.flatten_dict(own)
        for leaf in ("kernel", "bias"):
            path = ("params", plain.last_layer, leaf)
            for i in refitted:
                value = jnp.asarray(getattr(trained[i].adjustment, leaf), flat[path].dtype)
                flat[path] = flat[path].at[i].set(value)
        own = traverse_util.unflatten_dict(flat)
    notes = []
    if any(t.adjustment.inverted for t in trained):
        notes.append("test-time inversion: maps are of the image itself, not of its inversion")
    if any(t.adjustment.offsets is not None for t in trained) or readout.static.head == heads.AWARE:
        notes.append("offsets and attribute inputs add a constant to logits: they move decisions, not maps")
    count = readout.static.shape.classes
    limits = [np.full(count, HALF) if t.adjustment.thresholds is None else t.adjustment.thresholds for t in trained]
    return Networks(
        thresholds=np.stack(limits) if readout.static.shape.multilabel else None,
        model=plain,
        shared=shared,
        own=own,
        readers=readers,
        specs=tuple(t.spec for t in trained),
        classes=count,
        image_size=readout.static.image_size,
        notes=tuple(notes),
    )


def networks_of(ensemble: Ensemble) -> list[Networks]:
    """Of every program of a finished run; refitted last layers are in place."""
    return [_of_part(readout, trunk) for readout, trunk in ensemble.parts]
