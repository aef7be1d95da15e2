"""Refuses impossible settings, by field name, before any work."""

from __future__ import annotations

from ml_collections import ConfigDict

from frown_jax.config import SEARCHED, check_fields
from frown_jax.errors import ConfigError
from frown_jax.member.heads import AWARE
from frown_jax.mitigations import registry


def _check_weights(config: ConfigDict) -> None:
    model = config.model
    if model.weights and (model.name not in ("resnet18", "vgg16", "vgg16_bn") or model.width != 64):
        raise ConfigError("--config.model.weights are torchvision's resnet18, vgg16 or vgg16_bn, of model.width=64")
    if model.weights and model.pretrained:
        raise ConfigError("--config.model.weights and .pretrained: the network can begin with one of them")
    if model.trainable != "all" and not (model.weights or model.pretrained):
        raise ConfigError(
            f"--config.model.trainable={model.trainable} freezes random weights: give --config.model.weights, or "
            "--config.model.pretrained=faces"
        )
    if model.features == "cached" and (model.trainable != "head" or any(config.augment.values())):
        raise ConfigError(
            "--config.model.features=cached computes the features of an image once: it needs model.trainable=head and "
            "no augmentation (every field of augment 0)"
        )
    if model.stem != "imagenet" and (model.weights or model.name.startswith("vgg")):
        raise ConfigError("--config.model.stem=small is for ResNets from scratch: no weights, no VGG")


def _check_cohort(config: ConfigDict) -> None:
    if bool(config.cohort.by) != (config.data.test == "cohort"):
        raise ConfigError("--config.cohort.by and --config.data.test=cohort go together: set both, or neither")
    if config.cohort.by and not (config.cohort.train and config.cohort.test):
        raise ConfigError("--config.cohort.train and .test say how many subjects: cohort.train=('Female:37',)")


def _check_looks(config: ConfigDict) -> None:
    if not config.seeds_until:
        return
    if config.seeds_until <= len(config.seeds):
        raise ConfigError(
            f"--config.seeds_until is {config.seeds_until}: more than the {len(config.seeds)} seeds of --config.seeds, "
            "with which it begins"
        )
    if config.cohort.by:
        raise ConfigError("--config.seeds_until adds seeds, and --config.cohort repeats draws: set one of them")
    if any(config.search[name] for name in SEARCHED):
        raise ConfigError("--config.seeds_until compares methods, and --config.search looks for settings: set one")


def _check_devices(config: ConfigDict) -> None:
    if config.batch_size % config.devices_per_member:
        raise ConfigError(
            f"--config.batch_size is {config.batch_size}: no multiple of devices_per_member={config.devices_per_member}"
        )


def check_mitigation(text: str, network: str, trainable: str = "all") -> None:
    """Refuses a mitigation that is unknown or misspelt, or that the network has no place for.

    Raises:
      ConfigError: naming the field and what there is.
    """
    try:
        head = registry.head_of(text)
    except registry.MitigationError as e:
        raise ConfigError(f"--config.mitigation: {e}") from None
    if trainable == "head" and not network.startswith("vgg"):
        for call in registry.parse(text):
            if call.method.moves_features:
                raise ConfigError(
                    f"--config.mitigation: {call.method.name} works on features, and --config.model.trainable=head "
                    "freezes them"
                )
    if head == AWARE and network not in ("resnet18", "resnet10"):
        raise ConfigError(f"--config.mitigation: attribute_aware needs a ResNet, and model.name is {network}")


def validate(config: ConfigDict) -> None:
    """Refuses impossible settings, by field name, before any work: each field alone, then those that go together.

    Raises:
      ConfigError: with one line that says what is wrong and what would do.
    """
    check_fields(config)
    check_mitigation(config.mitigation, config.model.name, config.model.trainable)
    _check_cohort(config)
    _check_looks(config)
    _check_devices(config)
    _check_weights(config)
