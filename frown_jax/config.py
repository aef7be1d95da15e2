"""The configuration: every field with its default, config-file arguments."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterable

import ml_collections
from ml_collections import ConfigDict

FIDELITIES = ("sound", "paper", "repo")
NETWORKS = ("resnet18", "resnet10", "vgg16", "vgg16_bn")
DATA = ("faces", "face_sequences", "rafdb", "ckplus", "actor_study", "manifest", "cifar10s", "combined")
AU_DATA = ("face_sequences", "combined", "ckplus", "actor_study", "manifest")  # that the AU studies run on
VALIDATIONS = ("stratified", "study", "test")
TESTS = ("given", "stratified", "cohort")
TARGETS = ("emotion", "aus")
FEATURES = ("auto", "cached", "computed")
PRETRAINED = ("", "faces")

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
    c.devices_per_member = 1  # above 1: devices that share each batch of a large network
    c.checkpoint_every = 1  # epochs; a run that is killed repeats at most so many, one that is asked to stop none
    c.threshold = "0.5"  # of Action Units: a probability, or 'validation': each one's, of highest F1 on validation

    c.data = ml_collections.ConfigDict()
    c.data.name = "faces"  # faces | face_sequences | rafdb | ckplus | actor_study | manifest | cifar10s | combined
    c.data.dir = ""  # folder of the data, but for faces
    c.data.parts = ()  # combined: ('ckplus:DIR', 'actor_study:DIR'), labels that a set does not have are not known
    c.data.target = "emotion"  # what is predicted: emotion | aus (Action Units)
    c.data.aus = ()  # Action Units, ('AU1', 'AU12'); () is those with min_occurrences
    c.data.min_occurrences = 8000  # images that show an Action Unit, in the whole data set
    c.data.every = 1  # actor_study: of so many frames, one is taken
    c.data.cache_dir = ""  # default: $FROWN_JAX_CACHE or ~/.cache/frown_jax
    c.data.on_bad = "error"  # unreadable images and labels: error | skip (listed in data_report.txt)
    c.data.validation = "stratified"  # stratified | study (random, seed 5) | test (the study's code; leaks)
    c.data.val_fraction = 0.2  # of the training images
    c.data.test_fraction = 0.2  # where a data set has no test split; otherwise the share stays
    c.data.test = "given"  # given | stratified: pooled and divided anew by `strata` | cohort: by members' own draws
    c.data.strata = ("emotion", "race")  # columns whose shares are kept where images are held out
    c.data.split_seed = 5
    c.data.attributes = ()  # columns to report by group; () is all that there are
    c.data.classes = ()  # manifest: emotion names beyond the seven
    c.data.subjects = ""  # ckplus, actor_study: CSV of subject and attributes; by default DIR/subjects.csv
    c.data.frames = 3  # ckplus: of the end of a sequence, that get its labels
    c.data.onset = 0.0  # ckplus: above 0, frames from this share of the way to the peak on, in place of `frames`
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

    c.data.sequences = ml_collections.ConfigDict()  # see frown_jax/faces/sequences.py
    c.data.sequences.per_subject = 5
    c.data.sequences.frames = 5
    c.data.sequences.seed = 0
    c.data.sequences.strength = (0.5, 1.0)
    c.data.sequences.looks = "by_label"  # by_label | shared: looks have nothing to do with gender and skin tone
    c.data.sequences.group_style = ()
    c.data.sequences.group_view = ()

    c.model = ml_collections.ConfigDict()
    c.model.name = "resnet18"  # resnet18 | resnet10 | vgg16 | vgg16_bn
    c.model.width = 64  # channels of the first stage; torchvision's is 64
    c.model.image_size = 224  # pixels, side of the input
    c.model.stem = "imagenet"  # imagenet (7x7, stride 2, pooled) | small (3x3: images of 32 pixels)
    c.model.trainable = "all"  # all | last_block | head
    c.model.weights = ""  # local .pth or .safetensors of torchvision's ResNet18 or VGG16; '' starts from scratch
    c.model.pretrained = ""  # without weights: 'faces' trains on emotions of other embedded faces first
    c.model.hidden = 0  # vgg16: width of the dense layers; 0 is 64 times `width`, torchvision's
    c.model.features = "auto"  # of a frozen network: cached (computed once) | computed | auto (cached, not augmented)
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
    c.loss.normaliser = "count"  # divide by: count | weight | known (of Action Units: labels that are known)

    c.search = ml_collections.ConfigDict()  # values to try, (): the setting stays; ('log', LOW, HIGH): a range
    for name in SEARCHED:
        c.search[name] = ()
    c.search.budget = 0  # random combinations; 0: all of them
    c.search.seed = 0  # of the draw

    c.cohort = ml_collections.ConfigDict()  # subjects of a member, drawn from data.test='cohort'
    c.cohort.by = ""  # attribute that divides them; '' takes the data's own split
    c.cohort.train = ()  # subjects for training and validation, ('Female:37',)
    c.cohort.test = ()  # ('Female:10', 'Male:10')
    c.cohort.draws = (0,)  # random draws of subjects, one member each and seed
    c.cohort.draw = 0  # set by `draws`

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
    if fidelity not in FIDELITIES:
        raise ConfigError(f"--config.fidelity is {fidelity!r}: one of {', '.join(FIDELITIES)}")
    c.fidelity = fidelity
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


def action_units(c: ConfigDict, data: str) -> None:
    """Settings of "Uncovering the Bias in Facial Expressions": VGG16, of which the dense layers train.

    Args:
      c: changed in place.
      data: 'face_sequences' gets a narrow network, pretrained on other embedded faces, that a CPU trains in minutes;
        others torchvision's at 224 pixels, for `model.weights`.
    """
    c.data.name, c.data.target, c.data.test = data, "aus", "cohort"
    c.model.name, c.model.trainable = "vgg16", "head"
    c.epochs, c.batch_size, c.threshold = 40, 64, "validation"
    c.schedule.name, c.stopping.patience = "cosine", 50
    c.loss.class_weights, c.loss.normaliser = "none", "known"
    c.augment.flip = c.augment.shift = 0.0
    c.seeds = (0, 1, 2, 3)
    if data != "face_sequences":
        c.optimiser.learning_rate, c.optimiser.weight_decay, c.optimiser.dropout_rate = 1e-4, 1e-3, 0.5
        return
    c.model.width, c.model.hidden, c.model.image_size, c.model.pretrained = 8, 64, 64, "faces"
    c.optimiser.learning_rate, c.optimiser.weight_decay = 1e-3, 0.02
    c.seeds = (0, 1)
    c.data.min_occurrences = 250


def subject_experiment(arg: str | None, by: str, train: tuple[str, ...], test: tuple[str, ...]) -> ConfigDict:
    """The config of an Action Unit experiment over draws of subjects.

    Args:
      arg: what follows `config.py:`, one of AU_DATA, draws=N, seeds=N, runlocal.
      by, train, test: of the section `cohort`.

    Raises:
      ConfigError: an argument that there is not.
    """
    words, options = parse_arg(arg, flags=(*AU_DATA, "runlocal"), draws=8, seeds=0)
    c = default()
    action_units(c, next((d for d in AU_DATA if d in words), AU_DATA[0]))
    c.cohort.by, c.cohort.train, c.cohort.test = by, train, test
    c.cohort.draws = tuple(range(options["draws"]))
    if options["seeds"]:
        c.seeds = tuple(range(options["seeds"]))
    if "runlocal" in words:
        smoke(c)
    return c


def smoke(c: ConfigDict) -> None:
    """Shrinks a config to a test of seconds that still runs every part."""
    c.data.faces.train, c.data.faces.test = 96, 64
    c.data.sequences.per_subject, c.data.sequences.frames = 1, 2
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
            field_of(config, field)
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


def field_of(config: ConfigDict, field: str) -> object:
    """The value of a dotted field."""
    value: object = config
    for name in field.split("."):
        value = getattr(value, name)
    return value
