"""A trained group as classifiers: its networks' outputs, and what follows training."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from frown_jax import processes, resident, task, thresholds
from frown_jax.engine import Engine, Static
from frown_jax.finish import Finish, Outputs
from frown_jax.members import Spec
from frown_jax.mitigations import registry
from frown_jax.packing import gather
from frown_jax.roster import pad
from frown_jax.state import Predictor
from frown_jax.training_set import TrainingSet

Inputs = np.ndarray | resident.Rows  # what the network sees of images: uint8 [M, H, W, 3], or features [M, F]


@dataclasses.dataclass(frozen=True)
class Fold:
    """Images that members look at.

    Attributes:
      inputs: of M images.
      data: what is known of them; None: nothing.
      rows: of each training, by its position, its own images; None: all of them, for everybody.
      inverted: makes the inputs of the inverted images.
    """

    inputs: Inputs
    data: TrainingSet | None
    rows: Sequence[np.ndarray] | None = None
    inverted: Callable[[], Inputs] | None = None

    def rows_of(self, i: int) -> np.ndarray:
        """Rows of one training."""
        return np.arange(len(self.inputs), dtype=np.int32) if self.rows is None else self.rows[i]

    def data_of(self, i: int) -> TrainingSet | None:
        """What is known of its images."""
        if self.rows is None or self.data is None:
            return self.data
        return self.data.take(self.rows[i])

    def of_rows(self, rows: Sequence[np.ndarray]) -> Fold:
        """The same images, of which each training has its own."""
        return dataclasses.replace(self, rows=rows)

    def turned(self) -> Fold:
        """The same with inverted images."""
        assert self.inverted is not None
        return dataclasses.replace(self, inputs=self.inverted(), inverted=None)


class Trained(NamedTuple):
    """One of the networks of a group, as it lies in the stacked variables."""

    position: int
    spec: Spec
    finish: Finish


class Readout:
    """Predicts with the members of one group.

    Attributes:
      members: that predict, in order: every run of every training that finished an epoch.
    """

    def __init__(self, engine: Engine, predictor: Predictor, specs: Sequence[Spec], finishes: Mapping[int, Finish]):
        """Members S as trained; `finishes` by member number, none for those that are read as they are."""
        self._engine, self._specs, self._finishes = engine, tuple(specs), dict(finishes)
        self._predictor = predictor
        self._multilabel = engine.static.shape.multilabel
        usable = np.flatnonzero(processes.local(predictor.epoch) >= 0).tolist()
        self._runs = [(i, spec) for i in usable for spec in specs[i].all]
        self.members = tuple(spec for _, spec in self._runs)

    def outputs(self, fold: Fold, which: Collection[int], penultimate: bool = False) -> dict[int, Outputs]:
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
        inputs = resident.put(fold.inputs, packing)
        if penultimate:
            found = processes.local(self._engine.describe(*padded, inputs))
        else:
            logits = processes.local(self._engine.predict(*padded, inputs))
            found = {"logits": logits, "penultimate": np.zeros((*logits.shape[:2], 0), np.float32)}
        of = {i: (k, len(r)) for k, (i, r) in enumerate(zip(chosen, rows, strict=True))}
        return {i: Outputs(found["logits"][k, :n], found["penultimate"][k, :n]) for i, (k, n) in of.items()}

    def probabilities(self, fold: Fold) -> list[np.ndarray]:
        """Float32 [N, K] of each of `members`, on its own images."""
        own = {spec.member: self._finishes.get(spec.member, Finish()) for _, spec in self._runs}
        refitted = {i for i, spec in self._runs if own[spec.member].kernel is not None}
        negative = {i for i, spec in self._runs if own[spec.member].inverted}
        seen = self.outputs(fold, range(len(self._specs)))
        seen |= self.outputs(fold, refitted, penultimate=True)
        inverted = self.outputs(fold.turned(), negative, bool(negative & refitted)) if negative else {}
        out = []
        for i, spec in self._runs:
            finish = own[spec.member]
            if finish.plain:
                out.append(np.asarray(task.probabilities(jnp.asarray(seen[i].logits), self._multilabel)))
            else:
                out.append(finish.probabilities(seen[i], fold.data_of(i), inverted.get(i), self._multilabel))
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
    def trained(self) -> tuple[Trained, ...]:
        """Of each of `members`."""
        return tuple(Trained(i, spec, self._finishes.get(spec.member, Finish())) for i, spec in self._runs)

    def rows(self, fold: Fold) -> list[np.ndarray]:
        """Which images of the fold each of `members` predicts."""
        return [fold.rows_of(i) for i, _ in self._runs]

    def thresholds(self) -> list[np.ndarray | None]:
        """Of each of `members`, from which probability on its labels count as present; None: see `thresholds.HALF`."""
        return [self._finishes.get(spec.member, Finish()).thresholds for _, spec in self._runs]


def _threshold(spec: Spec, validation: TrainingSet) -> list[registry.Finisher]:
    """The last step of a run that predicts many labels, if it is not the usual one."""
    text = spec.config.threshold
    if not validation.multilabel or (text != "validation" and float(text) == thresholds.HALF):
        return []
    if text == "validation":
        return [thresholds.of_validation(validation.labels, validation)]
    return [thresholds.fixed(float(text), len(validation.classes))]


def finish(
    engine: Engine, predictor: Predictor, specs: Sequence[Spec], train: Fold, validation: Fold
) -> dict[int, Finish]:
    """What follows training, for every run that asks for it; by member number.

    Args:
      engine: of the group.
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
            steps = registry.finishers(run.config.mitigation, sets[0], sets[1]) + _threshold(run, sets[1])
            if steps:
                asked[run.member] = (i, steps)
    if not asked:
        return {}
    readout = Readout(engine, predictor, specs, {})
    which = {i for i, _ in asked.values()}
    on_train, on_validation = (readout.outputs(fold, which, penultimate=True) for fold in (train, validation))
    out = {}
    for member, (i, steps) in asked.items():
        found = Finish()
        for step in steps:
            found = step((on_train[i], on_validation[i]), found)
        out[member] = found
    return out
