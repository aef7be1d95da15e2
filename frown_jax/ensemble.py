"""A finished run as a classifier: all its members, restored from their checkpoints."""

from __future__ import annotations

import functools
import json
import pathlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from frown_jax import members, packing
from frown_jax.checkpoint import Checkpoints
from frown_jax.config import ConfigError
from frown_jax.encoder import Encoder
from frown_jax.engine import Engine, Static
from frown_jax.features import Trunk
from frown_jax.mitigations import registry
from frown_jax.models.build import network
from frown_jax.readout import Readout
from frown_jax.rundir import RunDir
from frown_jax.training_set import TrainingSet


def make_engine(
    config: ConfigDict,
    shape: members.Shape,
    steps_per_epoch: int = 1,
    steps_per_call: int = 1,
    devices: Sequence[jax.Device] | None = None,
    terms: members.Terms | None = None,
    features: int = 0,
) -> Engine:
    """The compiled functions of a group with this config, over the devices of all processes unless told otherwise.

    `features` is how many a frozen network gives whose head alone the members are; 0: they are whole networks.

    Raises:
      ConfigError: the devices cannot be shared out as config.devices_per_member says.
    """
    head = registry.head_of(config.mitigation)
    outputs = shape.classes * shape.groups if head == "domain" else shape.classes
    static = Static(
        model=network(config.model, outputs, "head" if features else "all"),
        image_size=config.model.image_size,
        batch_size=config.batch_size,
        evaluation_batch_size=config.evaluation_batch_size,
        shape=shape,
        adversaries=registry.adversary_count(config.mitigation),
        head=head,
        terms=terms or members.Terms(),
        features=features,
    )
    over = tuple(devices if devices is not None else jax.devices())
    each = config.devices_per_member if devices is None else 1
    if len(over) % each:
        raise ConfigError(f"--config.devices_per_member={each}: the {len(over)} devices are no multiple of it")
    return _engine(static, steps_per_epoch, steps_per_call, packing.resolve(config.packing, each), over, each)


@functools.lru_cache(maxsize=8)
def _engine(
    static: Static, steps_per_epoch: int, steps_per_call: int, how: str, devices: tuple[jax.Device, ...], each: int
) -> Engine:
    """Groups that share everything static share one engine, and so its compiled programs."""
    return Engine(static, steps_per_epoch, steps_per_call, packing.Packing(how, devices, each))


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
        self.specs: list[members.Spec] = []
        self._parts: list[Readout] = []
        self._encoders: list[Encoder] = []
        groups = members.expand(self.config, run.points())
        programs = run.read_programs()
        for index, group in enumerate(members.regroup(groups, programs) if programs else groups):
            self._restore(run, index, group)

    def _restore(self, run: RunDir, index: int, group: members.Group) -> None:
        shape = members.shape_of(group.specs, self.classes, self.attributes, self.multilabel)
        trunk = run.read_trunk(index, group.config)
        one = jax.local_devices()[:1]
        engine = make_engine(group.config, shape, devices=one, features=trunk.count if trunk else 0)
        labels = np.zeros((1, len(self.classes)) if self.multilabel else 1, np.int32)
        nobody = TrainingSet(self.classes, labels, {}, {})
        stacked = members.stack([members.build(s, nobody, shape) for s in group.specs])
        checkpoints = Checkpoints(run.checkpoints(index))
        restored = checkpoints.restore({"predictor": jax.eval_shape(engine.init, stacked, None).best})
        checkpoints.close()
        if restored is None:
            raise ConfigError(f"{run.checkpoints(index)} holds no readable checkpoint: run the run's command again")
        finishes = run.read_finishes([s.member for trained in group.specs for s in trained.all])
        predictor = jax.tree.map(jnp.asarray, restored[0]["predictor"])
        self._parts.append(Readout(engine, predictor, group.specs, finishes))
        self._encoders.append(Encoder(trunk, keep=False))
        self.specs += self._parts[-1].members

    @property
    def parts(self) -> list[tuple[Readout, Trunk | None]]:
        """Its groups, and the frozen network that each one's members are heads of."""
        return [(part, encoder.trunk) for part, encoder in zip(self._parts, self._encoders, strict=True)]

    def variables(self) -> dict:
        """{'params', 'batch_stats'} of the first member's network, numpy."""
        return self._parts[0].variables(0)

    def thresholds(self) -> list[np.ndarray | None]:
        """Of every member: [K], see Readout."""
        return [t for part in self._parts for t in part.thresholds()]

    def probabilities(self, images: np.ndarray, attributes: TrainingSet | None = None) -> np.ndarray:
        """Class probabilities of every member.

        Args:
          images: uint8 [N, H, W, 3] sRGB, square, at most the network's input side.
          attributes: of the images, for members whose heads look at them; None: not known.

        Returns:
          float32 [members, N, classes].
        """
        parts = zip(self._parts, self._encoders, strict=True)
        return np.concatenate([part.probabilities(encoder.fold(images, attributes)) for part, encoder in parts])
