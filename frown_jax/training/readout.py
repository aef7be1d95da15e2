"""A trained program as classifiers: its networks' outputs, and what follows training."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from frown_jax.data.annotations import Annotations
from frown_jax.inputs.images import Images
from frown_jax.member import outputs as network_outputs
from frown_jax.member.state import Predictor
from frown_jax.mitigations import registry
from frown_jax.posthoc import thresholds
from frown_jax.posthoc.adjustment import Adjustment, Outputs
from frown_jax.runtime import processes, resident
from frown_jax.runtime.packing import gather
from frown_jax.training.engine import Engine, Static
from frown_jax.training.grid import Spec
from frown_jax.training.roster import pad


class MemberReadout(NamedTuple):
    """One of the networks of a program, as it lies in the stacked variables."""

    position: int
    spec: Spec
    adjustment: Adjustment


class Readout:
    """Predicts with the members of one program.

    Attributes:
      members: that predict, in order: every run of every training that finished an epoch.
    """

    def __init__(
        self, engine: Engine, predictor: Predictor, specs: Sequence[Spec], adjustments: Mapping[int, Adjustment]
    ):
        """Members S as trained; `adjustments` by member number, none for those that are read as they are."""
        self._engine, self._specs, self._adjustments = engine, tuple(specs), dict(adjustments)
        self._predictor = predictor
        self._multilabel = engine.static.shape.multilabel
        usable = np.flatnonzero(processes.local(predictor.epoch) >= 0).tolist()
        self._runs = [(i, spec) for i in usable for spec in specs[i].all]
        self.members = tuple(spec for _, spec in self._runs)

    def outputs(self, fold: Images, which: Collection[int], penultimate: bool = False) -> dict[int, Outputs]:
        """What networks make of their images.

        Args:
          fold: N images of each.
          which: positions among the S trainings.
          penultimate: whether the last layer's inputs are wanted; [N, 0] otherwise.
        """
        if not which:
            return {}
        chosen = sorted(which)
        rows = [fold.rows_of(i) for i in chosen]
        unknown = np.full(len(fold.inputs), -1, np.int32)
        texts = [self._specs[i].config.mitigation for i in chosen]
        codes = [unknown if fold.data is None else registry.head_groups(t, fold.data) for t in texts]
        longest = max(len(r) for r in rows)
        padded_rows, padded_codes = (
            np.stack([np.pad(x, (0, longest - len(x)), constant_values=-1) for x in each])
            for each in (rows, [c[r] for c, r in zip(codes, rows, strict=True)])
        )
        packing = self._engine.packing
        predictor = self._predictor
        if len(chosen) < len(self._specs):
            predictor = gather(predictor, np.asarray(chosen))
        arrays = (predictor, padded_codes, padded_rows)
        padded = packing.cut(pad(arrays, packing.up(len(chosen))))
        with resident.lent(fold.inputs, packing) as inputs:
            if penultimate:
                found = processes.local(self._engine.describe(*padded, inputs))
            else:
                logits = processes.local(self._engine.predict(*padded, inputs))
                found = {"logits": logits, "penultimate": np.zeros((*logits.shape[:2], 0), np.float32)}
        of = {i: (k, len(r)) for k, (i, r) in enumerate(zip(chosen, rows, strict=True))}
        return {i: Outputs(found["logits"][k, :n], found["penultimate"][k, :n]) for i, (k, n) in of.items()}

    def probabilities(self, fold: Images) -> list[np.ndarray]:
        """Float32 [N, K] of each of `members`, on its own images."""
        own = {spec.member: self._adjustments.get(spec.member, Adjustment()) for _, spec in self._runs}
        refitted = {i for i, spec in self._runs if own[spec.member].kernel is not None}
        negative = {i for i, spec in self._runs if own[spec.member].inverted}
        seen = self.outputs(fold, range(len(self._specs)))
        seen |= self.outputs(fold, refitted, penultimate=True)
        inverted = self.outputs(fold.turned(), negative, bool(negative & refitted)) if negative else {}
        out = []
        for i, spec in self._runs:
            adjustment = own[spec.member]
            if adjustment.plain:
                out.append(np.asarray(network_outputs.probabilities(jnp.asarray(seen[i].logits), self._multilabel)))
            else:
                out.append(adjustment.probabilities(seen[i], fold.data_of(i), inverted.get(i), self._multilabel))
        return out

    def variables(self, i: int) -> dict:
        """{'params', 'batch_stats'} of one training, numpy."""
        p = self._predictor
        return jax.tree.map(lambda a: np.asarray(a[i]), {"params": p.params, "batch_stats": p.batch_stats})

    @property
    def static(self) -> Static:
        """What is compiled in."""
        return self._engine.static

    @property
    def predictor(self) -> Predictor:
        """Of the S trainings, stacked."""
        return self._predictor

    @property
    def trained(self) -> tuple[MemberReadout, ...]:
        """Of each of `members`."""
        return tuple(MemberReadout(i, spec, self._adjustments.get(spec.member, Adjustment())) for i, spec in self._runs)

    def rows(self, fold: Images) -> list[np.ndarray]:
        """Which images of the fold each of `members` predicts."""
        return [fold.rows_of(i) for i, _ in self._runs]

    def thresholds(self) -> list[np.ndarray | None]:
        """Of each of `members`, from which probability on its labels count as present; None: see `thresholds.HALF`."""
        return [self._adjustments.get(spec.member, Adjustment()).thresholds for _, spec in self._runs]


def _threshold(spec: Spec, validation: Annotations) -> list[registry.Adjuster]:
    """The last step of a run that predicts many labels, if it is not the usual one."""
    text = spec.config.threshold
    if not validation.multilabel or (text != "validation" and float(text) == thresholds.HALF):
        return []
    if text == "validation":
        return [thresholds.of_validation(validation.labels, validation)]
    return [thresholds.fixed(float(text), len(validation.classes))]


def adjust(
    engine: Engine, predictor: Predictor, specs: Sequence[Spec], train: Images, validation: Images
) -> dict[int, Adjustment]:
    """What follows training, for every run that asks for it; by member number.

    Args:
      engine: of the program.
      predictor: of its S trainings.
      specs: of them.
      train, validation: images and what is known of them.

    Raises:
      MitigationError: a mitigation does not fit the data.
    """
    asked = {}
    for i, spec in enumerate(specs):
        sets = train.data_of(i), validation.data_of(i)
        assert sets[0] is not None and sets[1] is not None
        for run in spec.all:
            steps = registry.adjusters(run.config.mitigation, sets[0], sets[1]) + _threshold(run, sets[1])
            if steps:
                asked[run.member] = (i, steps)
    if not asked:
        return {}
    readout = Readout(engine, predictor, specs, {})
    which = {i for i, _ in asked.values()}
    on_train, on_validation = (readout.outputs(fold, which, penultimate=True) for fold in (train, validation))
    out = {}
    for member, (i, steps) in asked.items():
        found = Adjustment()
        for step in steps:
            found = step((on_train[i], on_validation[i]), found)
        out[member] = found
    return out
