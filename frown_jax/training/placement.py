"""A program's data on its devices, and the weights that its networks begin with."""

from __future__ import annotations

from collections.abc import Callable

from ml_collections import FrozenConfigDict

from frown_jax.data.annotations import Annotations
from frown_jax.data.dataset import Dataset
from frown_jax.inputs import trunk
from frown_jax.inputs.encoder import Encoder
from frown_jax.inputs.images import Images
from frown_jax.inputs.trunk import Trunk
from frown_jax.models import weights
from frown_jax.models.build import network
from frown_jax.runtime import cache, resident
from frown_jax.training.plan import Plan

Initial = Callable[[FrozenConfigDict], dict | None]  # the weights that a config's network begins with


def weights_of_file(config: FrozenConfigDict) -> dict | None:
    """Those of config.model.weights; None if there is no such file.

    Raises:
      WeightsError: it does not fit the network.
    """
    if not config.model.weights:
        return None
    return weights.load(config.model.weights, network(config.model, 1))


class Placement:
    """What a program's members look at and begin with, where they need it.

    Attributes:
      pretrained: the collections that networks (or heads) begin with; None: they begin at random.
      trunk: the frozen network that the members are heads of; None: they are whole networks.
      train, validation: (images or features, labels), resident.
    """

    def __init__(self, plan: Plan, data: Dataset, initial: Initial = weights_of_file):
        """Reads or trains the first weights, computes features if members are heads, and puts all on the devices."""
        self._plan, self._data = plan, data
        config, packing = plan.program.config, plan.engine.packing
        self.pretrained, self.trunk = initial(config), None
        if plan.features:
            assert self.pretrained is not None  # settings that freeze random weights are refused
            of_trunk, self.pretrained = trunk.split(self.pretrained, config.model)
            self.trunk = Trunk(config.model, of_trunk, cache.folder(config.data.cache_dir))
        self._encoder = Encoder(self.trunk)
        self._inputs: dict[str, resident.Rows] = {}
        for name in dict.fromkeys(("train", plan.validation_split)):
            self._inputs[name] = resident.put(self._encoder(data.split(name).images), packing)
        self.train = self._inputs["train"], packing.everywhere(plan.training.labels)
        self.validation = self._inputs[plan.validation_split], packing.everywhere(plan.validation.labels)

    def images(self, split: str) -> Images:
        """The images of one of the data's splits, for a Readout."""
        part = self._data.split(split)
        return self._encoder.fold(part.images, Annotations.of(part), self._inputs.get(split))

    def close(self) -> None:
        """Lets go of what lies in host memory for the devices."""
        for rows in self._inputs.values():
            resident.release(rows)
