"""The configuration: every field with its default, config-file arguments, and validation before any work."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterable

import ml_collections
from ml_collections import ConfigDict

from frown_jax.heads import AWARE
from frown_jax.members import CLASS_WEIGHTS, NORMALISERS, SCHEDULES
from frown_jax.mitigations import registry
from frown_jax.models.conv import LOWERINGS
from frown_jax.models.resnet import STEMS, TRAINABLE
from frown_jax.packing import PACKINGS

FIDELITIES = ("sound", "paper", "repo")
NETWORKS = ("resnet18", "resnet10", "vgg16")
DATA = ("faces", "rafdb", "ckplus", "manifest", "cifar10s")
VALIDATIONS = ("stratified", "study", "test")
TESTS = ("given", "stratified")

# What the section `search` can vary, and the fields that it sets.
SEARCHED = {
    "lr": "optimiser.learning_rate",
    "weight_decay": "optimiser.weight_decay",
    "dropout": "optimiser.dropout_rate",
    "patience": "stopping.patience",
    "batch_size": "batch_size",
    "mitigation": "mitigation",
}


class ConfigError(ValueError):
    """A setting is impossible; the message names the field and the valid values."""


def default() -> ConfigDict:
    """Every field.

    Sections optimiser, schedule, stopping, loss and augment may differ between members of one program.
    """
    c = ml_collections.ConfigDict()
    c.method = "baseline"  # name of the runs in every table
    c.mitigation = ""  # name(setting=value), several joined by '+'; docs/methods.md
    c.fidelity = "sound"  # reading of the study: sound | paper | repo (docs/fidelity.md)
    c.hparams = ""  # hparams.json of a search, read before the command line's own settings
    c.seeds = (0, 1, 2, 3)  # one member each, trained together
    c.epochs = 30  # at most
    c.batch_size = 32  # images per member and step
    c.evaluation_batch_size = 128
    c.packing = "auto"  # members of a program: vmap (batched) | map (one after another) | auto (map on CPU)
    c.members_per_device = "auto"  # trained at once; a number, or as many as fit in memory

    c.data = ml_collections.ConfigDict()
    c.data.name = "faces"  # faces | rafdb | ckplus | manifest | cifar10s
    c.data.dir = ""  # folder of the data, but for faces
    c.data.cache_dir = ""  # default: $FROWN_JAX_CACHE or ~/.cache/frown_jax
    c.data.on_bad = "error"  # unreadable images and labels: error | skip (listed in data_report.txt)
    c.data.validation = "stratified"  # stratified | study (random, seed 5) | test (the study's code; leaks)
    c.data.val_fraction = 0.2  # of the training images
    c.data.test_fraction = 0.2  # where a data set has no test split; otherwise the share stays
    c.data.test = "given"  # given | stratified: train and test pooled and divided anew by `strata`
    c.data.strata = ("emotion", "race")  # columns whose shares are kept where images are held out
    c.data.split_seed = 5
    c.data.attributes = ()  # columns to report by group; () is all that there are
    c.data.classes = ()  # manifest: emotion names beyond the seven
    c.data.subjects = ""  # ckplus: CSV of subject and attributes
    c.data.frames = 3  # ckplus: of the end of a sequence, that get its labels
    c.data.neutral = 1  # ckplus: of its beginning
    c.data.per_class = 0  # cifar10s: training images of each class; 0 is all
    c.data.emotion_codes = ()  # manifest: names of integer labels 0, 1, ...
    c.data.ignore_labels = ()  # manifest: emotions to leave out
    c.data.faces = ml_collections.ConfigDict()  # the recipe, see frown_jax/faces/recipe.py
    c.data.faces.train = 12271
    c.data.faces.test = 3068
    c.data.faces.seed = 0
    c.data.faces.joint = "rafdb"  # rafdb | balanced
    c.data.faces.images_per_subject = 3
    c.data.faces.strength = (0.4, 1.0)
    c.data.faces.reweight = ()
    c.data.faces.spurious = ""
    c.data.faces.spurious_strength = 0.0
    c.data.faces.skin_tone = "by_race"  # by_race | shared
    c.data.faces.contrast = 0.0
    c.data.faces.group_style = ()
    c.data.faces.label_noise = ()

    c.model = ml_collections.ConfigDict()
    c.model.name = "resnet18"  # resnet18 | resnet10 | vgg16
    c.model.width = 64  # channels of the first stage; torchvision's is 64
    c.model.image_size = 224  # pixels, side of the input
    c.model.stem = "imagenet"  # imagenet (7x7, stride 2, pooled) | small (3x3: images of 32 pixels)
    c.model.trainable = "all"  # all | last_block | head
    c.model.weights = ""  # local .pth or .safetensors of torchvision's ResNet18; '' starts from scratch
    c.model.dtype = "auto"  # float32 | bfloat16 | auto (bfloat16 on GPU and TPU)
    c.model.conv = "auto"  # auto (measured table) | xla | map | unroll | gemm | blocks | taps

    c.optimiser = ml_collections.ConfigDict()  # AdamW
    c.optimiser.learning_rate = 1e-3
    c.optimiser.weight_decay = 1e-3
    c.optimiser.dropout_rate = 0.0  # before the head

    c.schedule = ml_collections.ConfigDict()
    c.schedule.name = "cosine"  # constant | step | plateau | cosine
    c.schedule.patience = 3  # epochs between drops (step), or without lower validation loss (plateau)
    c.schedule.factor = 0.1  # of a drop
    c.schedule.warmup_epochs = 0.0

    c.stopping = ml_collections.ConfigDict()
    c.stopping.patience = 50  # stop after more epochs than this without better validation AUROC
    c.stopping.min_improvement = 1e-4

    c.loss = ml_collections.ConfigDict()
    c.loss.class_weights = "inverse"  # none | inverse | effective_number | repo
    c.loss.normaliser = "count"  # divide by: count | weight

    c.search = ml_collections.ConfigDict()  # values to try, (): the setting stays; ('log', LOW, HIGH): a range
    for name in SEARCHED:
        c.search[name] = ()
    c.search.budget = 0  # random combinations; 0: all of them
    c.search.seed = 0  # of the draw

    c.augment = ml_collections.ConfigDict()  # training only
    c.augment.flip = 0.5
    c.augment.shift = 0.06
    c.augment.invert = 0.0
    c.augment.invert_normalised = 0.0
    c.augment.brightness = 0.0
    c.augment.contrast = 0.0
    return c


def set_fidelity(c: ConfigDict, fidelity: str) -> None:
    """Sets the reading of the first study; docs/fidelity.md lists the differences with their sources.

    Args:
      c: changed in place.
      fidelity: 'sound' (what a careful researcher would do), 'paper' (what the text says), 'repo' (what the code
        did, test-set selection included).

    Raises:
      ConfigError: unknown.
    """
    c.fidelity = fidelity
    _one_of(c, "fidelity", FIDELITIES)
    if fidelity == "sound":
        c.seeds = tuple(range(16))
        c.schedule.name = "plateau"
        c.stopping.patience = 8
        c.loss.class_weights, c.loss.normaliser = "inverse", "weight"
        return
    c.seeds = (0,)
    c.epochs = 50
    c.data.validation = "study" if fidelity == "paper" else "test"
    c.schedule.name, c.schedule.patience, c.schedule.factor = "step", 3, 0.1
    c.stopping.patience = 3
    c.loss.class_weights = "inverse" if fidelity == "paper" else "repo"
    c.loss.normaliser = "count"
    c.augment.flip = c.augment.shift = 0.0


def small(c: ConfigDict) -> None:
    """Settings at which a CPU trains from scratch in minutes; the data decides the rest."""
    c.model.width = 16
    c.model.image_size = 48
    if c.fidelity == "sound":
        c.seeds = (0, 1, 2, 3)
        c.optimiser.learning_rate, c.optimiser.weight_decay = 4e-3, 0.05
        c.schedule.name, c.schedule.warmup_epochs = "cosine", 0.5
        c.stopping.patience = 50
        # So few updates from scratch do not survive weights of 6 for a class of 2 %.
        c.loss.class_weights = "none"


def smoke(c: ConfigDict) -> None:
    """Shrinks a config to a test of seconds that still runs every part."""
    c.data.faces.train, c.data.faces.test = 96, 64
    c.model.name, c.model.width, c.model.image_size = "resnet10", 8, 32
    c.model.weights = ""
    c.epochs, c.batch_size = 2, 16
    c.seeds = (0, 1)


def read_hparams(config: ConfigDict, explicit: Iterable[str] = ()) -> None:
    """Sets the fields of the file `config.hparams`, except those that the command line sets itself.

    Args:
      config: changed in place.
      explicit: dotted fields of the command line.

    Raises:
      ConfigError: no such file, not one of a search, or a field that there is not.
    """
    if not config.hparams:
        return
    try:
        values = json.loads(pathlib.Path(config.hparams).read_text())
        items = {str(k): v for k, v in values.items()}
    except OSError as e:
        raise ConfigError(f"--config.hparams: no such file: {e.filename}") from None
    except (ValueError, AttributeError):
        raise ConfigError(f"--config.hparams={config.hparams}: not the {{field: value}} that a search leaves") from None
    own = set(explicit)
    for field, value in items.items():
        try:
            _get(config, field)
            if field not in own:
                config.update_from_flattened_dict({field: value})
        except (AttributeError, KeyError, TypeError):
            raise ConfigError(f"--config.hparams={config.hparams}: {field}={value!r} is no setting") from None


def parse_arg(arg: str | None, flags: tuple[str, ...] = (), **options: str | int) -> tuple[set[str], dict]:
    """Splits what follows `config.py:` into words and key=value options.

    Args:
      arg: 'rafdb,seeds=8', say.
      flags: words that may occur.
      **options: keys that may occur, with their defaults (which decide the types).

    Returns:
      The words that occur, and every option's value.

    Raises:
      ConfigError: an unknown word or key, or a value of the wrong type; lists what is known.
    """
    words, values = set(), dict(options)
    for part in filter(None, (p.strip() for p in (arg or "").split(","))):
        key, equals, value = part.partition("=")
        if not equals and key in flags:
            words.add(key)
        elif equals and key in options:
            try:
                values[key] = type(options[key])(value)
            except ValueError:
                kind = "a whole number" if isinstance(options[key], int) else "text"
                raise ConfigError(f"config argument {part!r}: {key} takes {kind}") from None
        else:
            known = [*flags, *(f"{k}=..." for k in options)]
            raise ConfigError(f"config argument {part!r} is unknown; there are {', '.join(known)}")
    return words, values


def _one_of(config: ConfigDict, field: str, known: tuple[str, ...]) -> None:
    value = _get(config, field)
    if value not in known:
        raise ConfigError(f"--config.{field} is {value!r}: one of {', '.join(known)}")


def _get(config: ConfigDict, field: str) -> object:
    value: object = config
    for name in field.split("."):
        value = getattr(value, name)
    return value


def _between(config: ConfigDict, field: str, low: float, high: float, below: bool = False) -> None:
    value = _get(config, field)
    assert isinstance(value, (int, float))
    if not low <= value <= high or (below and value == high):
        upper = "below" if below else "at most"
        limit = f" and {upper} {high:g}" if high != float("inf") else ""
        raise ConfigError(f"--config.{field} is {value}: it must be at least {low:g}{limit}")


def _is_count(text: str) -> bool:
    return text.isdecimal() and int(text) > 0


def check_mitigation(text: str, network: str) -> None:
    """Refuses a mitigation that is unknown or misspelt, or that the network has no place for.

    Raises:
      ConfigError: naming the field and what there is.
    """
    try:
        head = registry.head_of(text)
    except registry.MitigationError as e:
        raise ConfigError(f"--config.mitigation: {e}") from None
    if head == AWARE and network not in ("resnet18", "resnet10"):
        raise ConfigError(f"--config.mitigation: attribute_aware needs a ResNet, and model.name is {network}")


def validate(config: ConfigDict) -> None:
    """Refuses impossible settings, by field name, before any work.

    Raises:
      ConfigError: with one line that says what is wrong and what would do.
    """
    inf = float("inf")
    check_mitigation(config.mitigation, config.model.name)
    _one_of(config, "fidelity", FIDELITIES)
    _one_of(config, "data.name", DATA)
    _one_of(config, "data.on_bad", ("error", "skip"))
    _one_of(config, "data.validation", VALIDATIONS)
    _one_of(config, "data.test", TESTS)
    if not config.data.strata:
        raise ConfigError("--config.data.strata is empty: name at least one column, ('emotion',)")
    _between(config, "search.budget", 0, inf)
    _one_of(config, "packing", PACKINGS)
    if config.members_per_device != "auto" and not _is_count(config.members_per_device):
        raise ConfigError(f"--config.members_per_device is {config.members_per_device!r}: auto, or a number from 1 up")
    _one_of(config, "model.name", NETWORKS)
    _one_of(config, "model.trainable", TRAINABLE)
    _one_of(config, "model.stem", STEMS)
    if config.model.stem != "imagenet" and (config.model.weights or config.model.name == "vgg16"):
        raise ConfigError("--config.model.stem=small is for ResNets from scratch: no weights, not vgg16")
    _one_of(config, "model.dtype", ("auto", "float32", "bfloat16"))
    _one_of(config, "model.conv", LOWERINGS)
    _one_of(config, "schedule.name", tuple(SCHEDULES))
    _one_of(config, "loss.class_weights", CLASS_WEIGHTS)
    _one_of(config, "loss.normaliser", tuple(NORMALISERS))
    _between(config, "data.per_class", 0, inf)
    _between(config, "data.frames", 1, inf)
    _between(config, "data.neutral", 0, inf)
    for field in ("epochs", "batch_size", "evaluation_batch_size", "model.width", "schedule.patience"):
        _between(config, field, 1, inf)
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
        value = _get(config, field)
        if not 0 < value < 1:  # type: ignore[operator]
            raise ConfigError(f"--config.{field} is {value}: it must lie between 0 and 1")
    if not config.seeds:
        raise ConfigError("--config.seeds is empty: give at least one, --config.seeds='(0,)'")
    if any(not isinstance(s, int) or s < 0 or s >= 2**32 for s in config.seeds):
        raise ConfigError(f"--config.seeds is {config.seeds}: whole numbers from 0 to 4294967295")
    if len(set(config.seeds)) != len(config.seeds):
        raise ConfigError(f"--config.seeds is {config.seeds}: a seed occurs twice")
    if config.model.weights and (config.model.name, config.model.width) != ("resnet18", 64):
        raise ConfigError("--config.model.weights holds torchvision's ResNet18: it needs model.name=resnet18, width=64")
    if config.model.trainable != "all" and not config.model.weights:
        raise ConfigError(
            f"--config.model.trainable={config.model.trainable} freezes random weights: give --config.model.weights"
        )
