"""Mitigations: each edits a member's values, or follows training. Importing the families registers them."""

from frown_jax.mitigations import after, averaged, groups, mixed, pixels, robust, sampling, shapes, weighting

__all__ = ["after", "averaged", "groups", "mixed", "pixels", "robust", "sampling", "shapes", "weighting"]
