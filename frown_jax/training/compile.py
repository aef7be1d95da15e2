"""From a config to the engine of its programs."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
from ml_collections import ConfigDict

from frown_jax.errors import ConfigError
from frown_jax.member.values import Terms
from frown_jax.mitigations import registry
from frown_jax.models.build import network
from frown_jax.runtime import packing
from frown_jax.training.engine import Engine
from frown_jax.training.step import Shape, Static


def make_engine(
    config: ConfigDict,
    shape: Shape,
    steps_per_epoch: int = 1,
    steps_per_call: int = 1,
    devices: Sequence[jax.Device] | None = None,
    terms: Terms | None = None,
    features: int = 0,
) -> Engine:
    """The compiled functions of a program with this config, over the devices of all processes unless told otherwise.

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
        terms=terms or Terms(),
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
    """Programs that share everything static share one engine, and so its compiled programs."""
    return Engine(static, steps_per_epoch, steps_per_call, packing.Packing(how, devices, each))
