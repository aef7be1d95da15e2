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
from frown_jax.engine import Engine, State, Static
from frown_jax.mitigations import registry
from frown_jax.models.build import network
from frown_jax.rundir import RunDir
from frown_jax.training_set import TrainingSet


def make_engine(
    config: ConfigDict,
    classes: int,
    groups: int = 1,
    inputs: int = 1,
    steps_per_epoch: int = 1,
    steps_per_call: int = 1,
    devices: Sequence[jax.Device] | None = None,
    terms: members.Terms | None = None,
) -> Engine:
    """The compiled functions of a group with this config, over all local devices unless told otherwise.

    `groups` and `inputs` are what members.group_count and input_count say of its runs.
    """
    head = registry.head_of(config.mitigation)
    outputs = classes * groups if head == "domain" else classes
    static = Static(
        model=network(config.model, outputs),
        image_size=config.model.image_size,
        batch_size=config.batch_size,
        evaluation_batch_size=config.evaluation_batch_size,
        classes=classes,
        groups=groups,
        inputs=inputs,
        adversaries=registry.adversary_count(config.mitigation),
        head=head,
        terms=terms or members.Terms(),
    )
    over = tuple(devices if devices is not None else jax.local_devices())
    return _engine(static, steps_per_epoch, steps_per_call, packing.resolve(config.packing), over)


@functools.lru_cache(maxsize=8)
def _engine(
    static: Static, steps_per_epoch: int, steps_per_call: int, how: str, devices: tuple[jax.Device, ...]
) -> Engine:
    """Groups that share everything static share one engine, and so its compiled programs."""
    return Engine(static, steps_per_epoch, steps_per_call, packing.Packing(how, devices))


class Ensemble:
    """Members of a run with their best weights.

    Attributes:
      config: of the run.
      classes: emotion names in the order of the outputs.
      attributes: that the run reported.
      image_side: pixels, side to which images are brought before the network's own resizing.
      specs: the members that can predict, in the order of `probabilities`.
    """

    def __init__(self, path: pathlib.Path):
        """Restores a run.

        Raises:
          ConfigError: there is no run, or it has no readable checkpoint.
        """
        run = RunDir.open(path)
        stored = run.read_config()
        self.config = _config_dict(stored["config"])
        try:
            described = json.loads((path / "data.json").read_text())
        except OSError:
            raise ConfigError(f"--run={path} is not finished (no data.json): run its command again") from None
        self.classes = tuple(described["classes"])
        self.attributes = {k: tuple(v) for k, v in described["attributes"].items()}
        self.image_side = int(described["image_side"])
        self.specs: list[members.Spec] = []
        self._parts: list[tuple[Engine, State, np.ndarray, list[str]]] = []
        groups = members.expand(self.config, stored["points"])
        programs = run.read_programs()
        for index, group in enumerate(members.regroup(groups, programs) if programs else groups):
            self._restore(run, index, group)

    def _restore(self, run: RunDir, index: int, group: members.Group) -> None:
        groups = members.group_count(group.specs, len(self.classes), self.attributes)
        inputs = members.input_count(group.specs, len(self.classes), self.attributes)
        engine = make_engine(group.config, len(self.classes), groups, inputs, devices=jax.local_devices()[:1])
        nobody = TrainingSet(self.classes, np.zeros(1, np.int32), {}, {})
        stacked = members.stack([members.build(s, nobody, groups, inputs) for s in group.specs])
        checkpoints = Checkpoints(run.checkpoints(index))
        restored = checkpoints.restore(jax.eval_shape(engine.init, stacked, None))
        checkpoints.close()
        if restored is None:
            raise ConfigError(f"{run.checkpoints(index)} holds no readable checkpoint: run the run's command again")
        state = restored[1]
        usable = np.flatnonzero(np.asarray(state.best_epoch) >= 0)
        self.specs += [group.specs[i] for i in usable]
        self._parts.append((engine, state, usable, [s.config.mitigation for s in group.specs]))

    def probabilities(self, images: np.ndarray, attributes: TrainingSet | None = None) -> np.ndarray:
        """Class probabilities of every member.

        Args:
          images: uint8 [N, H, W, 3] sRGB, square, at most the network's input side.
          attributes: of the images, for members whose heads look at them; None: not known.

        Returns:
          float32 [members, N, classes].
        """
        out = []
        for engine, state, usable, texts in self._parts:
            wanted = state.best_epoch >= 0
            unknown = np.full(len(images), -1, np.int32)
            groups = [unknown if attributes is None else registry.head_groups(t, attributes) for t in texts]
            logits = engine.predict(
                state.best_params,
                state.best_batch_stats,
                wanted,
                state.reader,
                jnp.asarray(np.stack(groups)),
                jnp.asarray(images),
            )
            out.append(np.asarray(jax.nn.softmax(logits))[usable])
        return np.concatenate(out)


def _config_dict(stored: dict) -> ConfigDict:
    """The config of a config.json: JSON's lists are tuples again."""

    def convert(value: object) -> object:
        if isinstance(value, dict):
            return {k: convert(v) for k, v in value.items()}
        return tuple(value) if isinstance(value, list) else value

    return ConfigDict(convert(stored))
