"""A finished run as a classifier of its own or other data.

It may import errors, config, data, member, inputs, runs and training.
"""

__all__ = [
    "ensemble",
    "evaluation",
]
