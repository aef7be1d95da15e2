"""Every setting: names, defaults, checks, presets, and what users add to them. It may import errors."""

from frown_jax.config.arguments import parse_arg, read_hparams
from frown_jax.config.fields import SETTINGS, check_fields, default, field_of
from frown_jax.config.presets import action_units, set_fidelity, small, smoke, subject_experiment
from frown_jax.config.words import AU_DATA, DATA, RANGES, SEARCHED, VALIDATIONS

__all__ = [
    "AU_DATA",
    "DATA",
    "RANGES",
    "SEARCHED",
    "SETTINGS",
    "VALIDATIONS",
    "action_units",
    "check_fields",
    "default",
    "field_of",
    "parse_arg",
    "read_hparams",
    "set_fidelity",
    "small",
    "smoke",
    "subject_experiment",
]
