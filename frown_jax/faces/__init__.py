"""Embedded faces: a CC0 morphable head, rendered in JAX.

It may import schema.
"""

__all__ = [
    "action_units",
    "face",
    "geometry",
    "people",
    "recipe",
    "regions",
    "render",
    "sequences",
]
