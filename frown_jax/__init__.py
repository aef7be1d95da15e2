"""frown_jax: which fairness gains in facial-expression recognition are real."""

from frown_jax._version import __version__

__all__ = ["__version__"]
