"""Settings that belong together: readings of the first study, small runs, the second study's experiments."""

from __future__ import annotations

from ml_collections import ConfigDict

from frown_jax.config.arguments import parse_arg
from frown_jax.config.fields import SETTINGS, default
from frown_jax.config.words import AU_DATA


def set_fidelity(c: ConfigDict, fidelity: str) -> None:
    """Sets the reading of the first study; docs/fidelity.md lists the differences with their sources.

    Args:
      c: changed in place.
      fidelity: 'sound' (what a careful researcher would do), 'paper' (what the text says), 'repo' (what the code
        did, test-set selection included).

    Raises:
      ConfigError: unknown.
    """
    SETTINGS["fidelity"].validate(fidelity)
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
