"""Every setting: names, defaults, presets, and what users add to them. It may import errors."""

from frown_jax.config.arguments import parse_arg, read_hparams
from frown_jax.config.fields import (
    AU_DATA,
    DATA,
    FEATURES,
    FIDELITIES,
    NETWORKS,
    PRETRAINED,
    SEARCHED,
    TARGETS,
    TESTS,
    VALIDATIONS,
    default,
    field_of,
)
from frown_jax.config.presets import action_units, set_fidelity, small, smoke, subject_experiment

__all__ = [
    "AU_DATA",
    "DATA",
    "FEATURES",
    "FIDELITIES",
    "NETWORKS",
    "PRETRAINED",
    "SEARCHED",
    "TARGETS",
    "TESTS",
    "VALIDATIONS",
    "action_units",
    "default",
    "field_of",
    "parse_arg",
    "read_hparams",
    "set_fidelity",
    "small",
    "smoke",
    "subject_experiment",
]
