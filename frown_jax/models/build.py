"""From a config's model section to a network."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
from ml_collections import FrozenConfigDict

from frown_jax.models import resnet, vgg
from frown_jax.models.classifier import Classifier

_NETWORKS: dict[str, Callable[..., Classifier]] = {
    "resnet18": resnet.ResNet18,
    "resnet10": resnet.ResNet10,
    "vgg16": vgg.VGG,
    "vgg16_bn": vgg.VGGBatchNorm,
}


def network(config: FrozenConfigDict, classes: int, part: str = "all") -> Classifier:
    """The network of a validated `model` section, for `classes` outputs; or a part of it, see Classifier."""
    name = config.dtype
    if name == "auto":
        name = "float32" if jax.default_backend() == "cpu" else "bfloat16"
    own = {"hidden": config.hidden} if config.name.startswith("vgg") else {"stem": config.stem}
    return _NETWORKS[config.name](
        classes=classes,
        width=config.width,
        trainable=config.trainable,
        dtype=jnp.dtype(name),
        lowering=config.conv,
        part=part,
        **own,
    )
