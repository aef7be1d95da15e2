"""frown_jax: which fairness gains in facial-expression recognition are real."""

__version__ = "0.1.0"
