"""A finished run as a classifier: all its members, restored from their checkpoints."""

from __future__ import annotations

import json
import pathlib

import jax
import jax.numpy as jnp
import numpy as np

from frown_jax.data.annotations import Annotations
from frown_jax.errors import ConfigError
from frown_jax.inputs.encoder import Encoder
from frown_jax.inputs.trunk import Trunk
from frown_jax.member.values import stack
from frown_jax.runs.checkpoint import Checkpoints
from frown_jax.runs.directory import RunDir
from frown_jax.training.build import member_of, shape_of
from frown_jax.training.compile import make_engine
from frown_jax.training.grid import Program, Spec, expand, recut
from frown_jax.training.readout import Readout


class Ensemble:
    """Members of a run with their best weights.

    Attributes:
      config: of the run.
      classes: emotion names in the order of the outputs.
      attributes: that the run reported.
      multilabel: whether the classes are Action Units.
      image_side: pixels, side to which images are brought before the network's own resizing.
      specs: the members that can predict, in the order of `probabilities`.
    """

    def __init__(self, path: pathlib.Path):
        """Restores a run.

        Raises:
          ConfigError: there is no run, or it has no readable checkpoint.
        """
        run = RunDir.open(path)
        self.config = run.config()
        try:
            described = json.loads((path / "data.json").read_text())
        except OSError:
            raise ConfigError(f"--run={path} is not finished (no data.json): run its command again") from None
        self.classes = tuple(described["classes"])
        self.multilabel = bool(described.get("multilabel"))
        self.attributes = {k: tuple(v) for k, v in described["attributes"].items()}
        self.image_side = int(described["image_side"])
        self.specs: list[Spec] = []
        self._parts: list[Readout] = []
        self._encoders: list[Encoder] = []
        programs = expand(self.config, run.points())
        cuts = run.read_programs()
        for index, program in enumerate(recut(programs, cuts) if cuts else programs):
            self._restore(run, index, program)

    def _restore(self, run: RunDir, index: int, program: Program) -> None:
        shape = shape_of(program.specs, self.classes, self.attributes, self.multilabel)
        trunk = run.read_trunk(index, program.config)
        one = jax.local_devices()[:1]
        engine = make_engine(program.config, shape, devices=one, features=trunk.count if trunk else 0)
        labels = np.zeros((1, len(self.classes)) if self.multilabel else 1, np.int32)
        nobody = Annotations(self.classes, labels, {}, {})
        stacked = stack([member_of(s, nobody, shape) for s in program.specs])
        checkpoints = Checkpoints(run.checkpoints(index))
        restored = checkpoints.restore({"predictor": jax.eval_shape(engine.init, stacked, None).best})
        checkpoints.close()
        if restored is None:
            raise ConfigError(f"{run.checkpoints(index)} holds no readable checkpoint: run the run's command again")
        adjustments = run.read_adjustments([s.member for trained in program.specs for s in trained.all])
        predictor = jax.tree.map(jnp.asarray, restored[0]["predictor"])
        self._parts.append(Readout(engine, predictor, program.specs, adjustments))
        self._encoders.append(Encoder(trunk, keep=False))
        self.specs += self._parts[-1].members

    @property
    def parts(self) -> list[tuple[Readout, Trunk | None]]:
        """Its programs, and the frozen network that each one's members are heads of."""
        return [(part, encoder.trunk) for part, encoder in zip(self._parts, self._encoders, strict=True)]

    def variables(self) -> dict:
        """{'params', 'batch_stats'} of the first member's network, numpy."""
        return self._parts[0].variables(0)

    def thresholds(self) -> list[np.ndarray | None]:
        """Of every member: [K], see Readout."""
        return [t for part in self._parts for t in part.thresholds()]

    def probabilities(self, images: np.ndarray, attributes: Annotations | None = None) -> np.ndarray:
        """Class probabilities of every member.

        Args:
          images: uint8 [N, H, W, 3] sRGB, square, at most the network's input side.
          attributes: of the images, for members whose heads look at them; None: not known.

        Returns:
          float32 [members, N, classes].
        """
        parts = zip(self._parts, self._encoders, strict=True)
        return np.concatenate([part.probabilities(encoder.fold(images, attributes)) for part, encoder in parts])
