"""Every setting, in one table: the config with its defaults, and the check of each field, come from it."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from ml_collections import ConfigDict

from frown_jax.config import settings_data, settings_faces, settings_run, settings_training
from frown_jax.config.setting import Setting
from frown_jax.errors import ConfigError

# The order is that of config.json.
SETTINGS: dict[str, Setting] = {
    setting.name: setting
    for section in (
        settings_run.RUN,
        settings_data.DATA_SETTINGS,
        settings_faces.FACES,
        settings_faces.SEQUENCES,
        settings_training.MODEL,
        settings_training.OPTIMISER,
        settings_training.SCHEDULE,
        settings_training.STOPPING,
        settings_training.LOSS,
        settings_run.SEARCH,
        settings_run.COHORT,
        settings_run.VERDICTS,
        settings_training.AUGMENT,
    )
    for setting in section
}

# What a section is for; '' is the config itself.
SECTIONS = {
    "": "These settings are of the whole run.",
    "data": "These settings say which images there are, what is predicted, and which images are held out.",
    "data.faces": "These settings are of the data set faces. [faces.md](faces.md) shows what they do.",
    "data.sequences": "These settings are of the data set face_sequences.",
    "model": "These settings are of the network.",
    "optimiser": "These settings are of AdamW. They may differ between the members of one program.",
    "schedule": "These settings are of the learning rate. They may differ between the members of one program.",
    "stopping": "These settings say when a member stops early. They may differ between the members of one program.",
    "loss": "These settings are of the loss. They may differ between the members of one program.",
    "search": "These settings make a run a search for hyperparameters; the best by validation AUROC is kept.",
    "cohort": "These settings give each member subjects of its own, where `data.test` is cohort.",
    "verdicts": "These settings are of the analysis. Nothing is trained again for another choice.",
    "augment": "These settings change training images at random. They may differ between the members of one program.",
}


def default() -> ConfigDict:
    """The config with every setting at its default."""
    config = ConfigDict()
    for name, setting in SETTINGS.items():
        section, *rest = config, *name.split(".")
        for part in rest[:-1]:
            if part not in section:
                section[part] = ConfigDict()
            section = section[part]
        section[rest[-1]] = setting.default
    return config


def field_of(config: ConfigDict, field: str) -> object:
    """The value of a dotted field."""
    value: object = config
    for name in field.split("."):
        value = getattr(value, name)
    return value


def leaves(config: ConfigDict, section: str = "") -> Iterator[tuple[str, object]]:
    """The dotted name and the value of every field."""
    for name, value in config.items():
        if isinstance(value, ConfigDict):
            yield from leaves(value, f"{section}{name}.")
        else:
            yield f"{section}{name}", value


def check_fields(config: ConfigDict) -> None:
    """Refuses a config of which a field is unknown, missing or not allowed, looking at each field alone.

    Raises:
      ConfigError: one line with the field, its value, and what is allowed.
    """
    found = dict(leaves(config))
    for name in found:
        if name not in SETTINGS:
            close = difflib.get_close_matches(name, SETTINGS, n=1)
            raise ConfigError(f"--config.{name} is no setting" + (f"; did you mean {close[0]}?" if close else ""))
    for name, setting in SETTINGS.items():
        if name not in found:
            raise ConfigError(f"--config.{name} is missing: it is {setting.check.allowed}")
        setting.validate(found[name])
