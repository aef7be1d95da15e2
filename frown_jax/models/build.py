"""From a config's model section to a network."""

from __future__ import annotations

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict

from frown_jax.models import resnet, vgg

_NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "resnet18": resnet.ResNet18,
    "resnet10": resnet.ResNet10,
    "vgg16": vgg.VGG,
}


def network(config: FrozenConfigDict, classes: int) -> nn.Module:
    """The network of a validated `model` section, for `classes` outputs."""
    name = config.dtype
    if name == "auto":
        name = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    own = {} if config.name == "vgg16" else {"stem": config.stem}
    return _NETWORKS[config.name](
        classes=classes,
        width=config.width,
        trainable=config.trainable,
        dtype=jnp.dtype(name),
        lowering=config.conv,
        **own,
    )
