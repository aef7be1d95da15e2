"""Mitigations: each a function that edits a member's values. Importing the families registers them."""

from frown_jax.mitigations import groups, mixed, pixels, robust, sampling, shapes, weighting

__all__ = ["groups", "mixed", "pixels", "robust", "sampling", "shapes", "weighting"]
