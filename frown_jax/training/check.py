"""Refuses impossible settings, by field name, before any work."""

from __future__ import annotations

from ml_collections import ConfigDict

from frown_jax.config import (
    DATA,
    FEATURES,
    FIDELITIES,
    NETWORKS,
    PRETRAINED,
    TARGETS,
    TESTS,
    VALIDATIONS,
    field_of,
)
from frown_jax.errors import ConfigError
from frown_jax.member.class_weights import CLASS_WEIGHTS
from frown_jax.member.heads import AWARE
from frown_jax.member.losses import NORMALISERS
from frown_jax.member.schedule import SCHEDULES
from frown_jax.mitigations import registry
from frown_jax.models.classifier import TRAINABLE
from frown_jax.models.conv import LOWERINGS
from frown_jax.models.resnet import STEMS
from frown_jax.runtime.packing import PACKINGS


def _one_of(config: ConfigDict, field: str, known: tuple[str, ...]) -> None:
    value = field_of(config, field)
    if value not in known:
        raise ConfigError(f"--config.{field} is {value!r}: one of {', '.join(known)}")


def _between(config: ConfigDict, field: str, low: float, high: float, below: bool = False) -> None:
    value = field_of(config, field)
    assert isinstance(value, (int, float))
    if not low <= value <= high or (below and value == high):
        upper = "below" if below else "at most"
        limit = f" and {upper} {high:g}" if high != float("inf") else ""
        raise ConfigError(f"--config.{field} is {value}: it must be at least {low:g}{limit}")


def _is_count(text: str) -> bool:
    return text.isdecimal() and int(text) > 0


def _check_weights(config: ConfigDict) -> None:
    model = config.model
    _one_of(config, "model.pretrained", PRETRAINED)
    _one_of(config, "model.features", FEATURES)
    _between(config, "model.hidden", 0, float("inf"))
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
    draws = config.cohort.draws
    if not draws or len(set(draws)) != len(draws) or any(not isinstance(d, int) or d < 0 for d in draws):
        raise ConfigError(
            f"--config.cohort.draws is {draws}: different whole numbers from 0, --config.cohort.draws='(0,1)'"
        )
    if config.cohort.by and not (config.cohort.train and config.cohort.test):
        raise ConfigError("--config.cohort.train and .test say how many subjects: cohort.train=('Female:37',)")


def _check_threshold(config: ConfigDict) -> None:
    try:
        good = config.threshold == "validation" or 0 < float(config.threshold) < 1
    except ValueError:
        good = False
    if not good:
        raise ConfigError(f"--config.threshold is {config.threshold!r}: between 0 and 1, or validation")


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
    """Refuses impossible settings, by field name, before any work.

    Raises:
      ConfigError: with one line that says what is wrong and what would do.
    """
    inf = float("inf")
    check_mitigation(config.mitigation, config.model.name, config.model.trainable)
    _one_of(config, "fidelity", FIDELITIES)
    _one_of(config, "data.name", DATA)
    _one_of(config, "data.on_bad", ("error", "skip"))
    _one_of(config, "data.validation", VALIDATIONS)
    _one_of(config, "data.test", TESTS)
    _one_of(config, "data.target", TARGETS)
    _check_cohort(config)
    _check_threshold(config)
    if not config.data.strata:
        raise ConfigError("--config.data.strata is empty: name at least one column, ('emotion',)")
    _between(config, "search.budget", 0, inf)
    _one_of(config, "packing", PACKINGS)
    if config.members_per_device != "auto" and not _is_count(config.members_per_device):
        raise ConfigError(f"--config.members_per_device is {config.members_per_device!r}: auto, or a number from 1 up")
    _one_of(config, "model.name", NETWORKS)
    _one_of(config, "model.trainable", TRAINABLE)
    _one_of(config, "model.stem", STEMS)
    _one_of(config, "model.dtype", ("auto", "float32", "bfloat16"))
    _one_of(config, "model.conv", LOWERINGS)
    _one_of(config, "schedule.name", tuple(SCHEDULES))
    _one_of(config, "loss.class_weights", CLASS_WEIGHTS)
    _one_of(config, "loss.normaliser", tuple(NORMALISERS))
    _between(config, "data.per_class", 0, inf)
    _between(config, "data.frames", 1, inf)
    _between(config, "data.neutral", 0, inf)
    _between(config, "data.onset", 0, 1)
    _between(config, "data.every", 1, inf)
    _between(config, "data.min_occurrences", 1, inf)
    for field in (
        "epochs",
        "batch_size",
        "evaluation_batch_size",
        "devices_per_member",
        "checkpoint_every",
        "model.width",
        "schedule.patience",
    ):
        _between(config, field, 1, inf)
    if config.batch_size % config.devices_per_member:
        raise ConfigError(
            f"--config.batch_size is {config.batch_size}: no multiple of devices_per_member={config.devices_per_member}"
        )
    # Five halvings: below 32 pixels the last stage of a ResNet would see less than one pixel.
    _between(config, "model.image_size", 32, 1024)
    _between(config, "optimiser.learning_rate", 0, inf)
    _between(config, "optimiser.weight_decay", 0, inf)
    _between(config, "optimiser.dropout_rate", 0, 1, below=True)
    _between(config, "schedule.factor", 0, 1)
    _between(config, "schedule.warmup_epochs", 0, inf)
    _between(config, "stopping.patience", 0, inf)
    for field in ("flip", "invert", "invert_normalised", "brightness", "contrast"):
        _between(config, f"augment.{field}", 0, 1)
    _between(config, "augment.shift", 0, 0.5)
    for field in ("data.val_fraction", "data.test_fraction"):
        value = field_of(config, field)
        if not 0 < value < 1:  # type: ignore[operator]
            raise ConfigError(f"--config.{field} is {value}: it must lie between 0 and 1")
    if not config.seeds:
        raise ConfigError("--config.seeds is empty: give at least one, --config.seeds='(0,)'")
    if any(not isinstance(s, int) or s < 0 or s >= 2**32 for s in config.seeds):
        raise ConfigError(f"--config.seeds is {config.seeds}: whole numbers from 0 to 4294967295")
    if len(set(config.seeds)) != len(config.seeds):
        raise ConfigError(f"--config.seeds is {config.seeds}: a seed occurs twice")
    _check_weights(config)
