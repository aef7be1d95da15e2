"""A trained group as classifiers: its networks' outputs, and what follows training."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from frown_jax.engine import Engine
from frown_jax.finish import Finish, Outputs
from frown_jax.members import Spec
from frown_jax.mitigations import registry
from frown_jax.roster import pad
from frown_jax.state import Predictor
from frown_jax.training_set import TrainingSet


class Readout:
    """Predicts with the members of one group.

    Attributes:
      members: that predict, in order: every run of every training that finished an epoch.
    """

    def __init__(self, engine: Engine, predictor: Predictor, specs: Sequence[Spec], finishes: Mapping[int, Finish]):
        """Members S as trained; `finishes` by member number, none for those that are read as they are."""
        self._engine, self._specs, self._finishes = engine, tuple(specs), dict(finishes)
        packing = engine.packing
        self._predictor = packing.cut(pad(predictor, packing.up(len(specs))))
        self._usable = np.flatnonzero(np.asarray(predictor.epoch) >= 0).tolist()
        self.members = tuple(s for i in self._usable for s in specs[i].all)

    def outputs(self, images: np.ndarray, data: TrainingSet | None, penultimate: bool = False) -> list[Outputs]:
        """What every network makes of the images, S of them.

        Args:
          images: uint8 [N, H, W, 3].
          data: their attributes, for heads that look at them; None: not known.
          penultimate: whether the last layer's inputs are wanted; [N, 0] otherwise.
        """
        unknown = np.full(len(images), -1, np.int32)
        codes = [unknown if data is None else registry.head_groups(s.config.mitigation, data) for s in self._specs]
        packing = self._engine.packing
        groups = packing.cut(pad(jnp.asarray(np.stack(codes)), packing.up(len(self._specs))))
        everywhere = packing.everywhere(jnp.asarray(images))
        if penultimate:
            found = self._engine.describe(self._predictor, groups, everywhere)
        else:
            found = {"logits": self._engine.predict(self._predictor, groups, everywhere)}
        host = {k: np.asarray(v) for k, v in found.items()}
        nothing = np.zeros((len(self._specs), len(images), 0), np.float32)
        return [
            Outputs(logits, penultimate)
            for logits, penultimate in zip(host["logits"], host.get("penultimate", nothing), strict=False)
        ][: len(self._specs)]

    def probabilities(self, images: np.ndarray, data: TrainingSet | None = None) -> list[np.ndarray]:
        """Float32 [N, K] of each of `members`; arguments as for `outputs`."""
        refitted = any(f.kernel is not None for f in self._finishes.values())
        seen = self.outputs(images, data, refitted)
        inverted: list[Outputs] | list[None] = [None] * len(seen)
        if any(f.inverted for f in self._finishes.values()):
            inverted = self.outputs(255 - images, data, refitted)
        out = []
        for i in self._usable:
            for spec in self._specs[i].all:
                finish = self._finishes.get(spec.member)
                if finish is None:
                    out.append(np.asarray(jax.nn.softmax(seen[i].logits)))
                else:
                    out.append(finish.probabilities(seen[i], data, inverted[i]))
        return out


def finish(
    engine: Engine,
    predictor: Predictor,
    specs: Sequence[Spec],
    train: tuple[np.ndarray, TrainingSet],
    validation: tuple[np.ndarray, TrainingSet],
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
    asked = {
        s.member: (i, steps)
        for i, spec in enumerate(specs)
        for s in spec.all
        if (steps := registry.finishers(s.config.mitigation, train[1], validation[1]))
    }
    if not asked:
        return {}
    readout = Readout(engine, predictor, specs, {})
    seen = list(zip(*(readout.outputs(*fold, penultimate=True) for fold in (train, validation)), strict=True))
    out = {}
    for member, (i, steps) in asked.items():
        found = Finish()
        for step in steps:
            found = step(seen[i], found)
        out[member] = found
    return out
