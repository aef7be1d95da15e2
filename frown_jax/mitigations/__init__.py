"""Mitigations: each edits a member's values, or follows training. Importing the families registers them.

It may import errors, metrics, data, member and posthoc.
"""

from frown_jax.mitigations import (
    augmentation,
    dro,
    group_heads,
    loss_shapes,
    mixing,
    optimisation,
    penalties,
    posthoc,
    sampling,
    weighting,
)

__all__ = [
    "augmentation",
    "dro",
    "group_heads",
    "loss_shapes",
    "mixing",
    "optimisation",
    "penalties",
    "posthoc",
    "registry",
    "sampling",
    "weighting",
]
