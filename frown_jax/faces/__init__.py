"""Embedded faces: a CC0 morphable head, rendered in JAX."""
