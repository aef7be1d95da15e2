"""A trained group as classifiers: its networks' outputs, and what follows training."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from frown_jax.engine import Engine
from frown_jax.finish import Finish, Outputs
from frown_jax.members import Spec
from frown_jax.mitigations import registry
from frown_jax.packing import gather
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
        self._predictor = predictor
        self._usable = np.flatnonzero(np.asarray(predictor.epoch) >= 0).tolist()
        self.members = tuple(s for i in self._usable for s in specs[i].all)

    def outputs(
        self, images: np.ndarray, data: TrainingSet | None, which: Collection[int], penultimate: bool = False
    ) -> dict[int, Outputs]:
        """What networks make of the images.

        Args:
          images: uint8 [N, H, W, 3].
          data: their attributes, for heads that look at them; None: not known.
          which: positions among the S trainings.
          penultimate: whether the last layer's inputs are wanted; [N, 0] otherwise.
        """
        if not which:
            return {}
        rows = sorted(which)
        unknown = np.full(len(images), -1, np.int32)
        texts = [self._specs[i].config.mitigation for i in rows]
        codes = [unknown if data is None else registry.head_groups(t, data) for t in texts]
        packing = self._engine.packing
        chosen = self._predictor
        if len(rows) < len(self._specs):
            chosen = gather(chosen, jnp.asarray(rows))
        padded = packing.cut(pad((chosen, jnp.asarray(np.stack(codes))), packing.up(len(rows))))
        everywhere = packing.everywhere(jnp.asarray(images))
        if penultimate:
            found = {k: np.asarray(v) for k, v in self._engine.describe(*padded, everywhere).items()}
        else:
            logits = np.asarray(self._engine.predict(*padded, everywhere))
            found = {"logits": logits, "penultimate": np.zeros((*logits.shape[:2], 0), np.float32)}
        return {i: Outputs(found["logits"][k], found["penultimate"][k]) for k, i in enumerate(rows)}

    def probabilities(self, images: np.ndarray, data: TrainingSet | None = None) -> list[np.ndarray]:
        """Float32 [N, K] of each of `members`.

        Args:
          images: uint8 [N, H, W, 3].
          data: their attributes; None: not known.
        """
        finishes = [(i, f) for i in self._usable for s in self._specs[i].all if (f := self._finishes.get(s.member))]
        refitted = {i for i, f in finishes if f.kernel is not None}
        seen = self.outputs(images, data, range(len(self._specs)))
        seen |= self.outputs(images, data, refitted, penultimate=True)
        negative = {i for i, f in finishes if f.inverted}
        inverted = self.outputs(255 - images, data, negative, penultimate=bool(negative & refitted)) if negative else {}
        out = []
        for i in self._usable:
            for spec in self._specs[i].all:
                own = self._finishes.get(spec.member)
                if own is None:
                    out.append(np.asarray(jax.nn.softmax(seen[i].logits)))
                else:
                    out.append(own.probabilities(seen[i], data, inverted.get(i)))
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
    which = {i for i, _ in asked.values()}
    on_train, on_validation = (readout.outputs(*fold, which, penultimate=True) for fold in (train, validation))
    out = {}
    for member, (i, steps) in asked.items():
        found = Finish()
        for step in steps:
            found = step((on_train[i], on_validation[i]), found)
        out[member] = found
    return out
