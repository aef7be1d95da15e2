"""One training run as values, and the pure functions of its step.

It may import metrics, runtime and data.
"""

__all__ = [
    "augment",
    "averaging",
    "class_weights",
    "heads",
    "losses",
    "mixing",
    "objective",
    "outputs",
    "penalties",
    "sampling",
    "schedule",
    "state",
    "values",
]
