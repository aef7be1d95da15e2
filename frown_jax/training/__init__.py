"""From a grid to programs, and the training of each.

It may import errors, config, metrics, runtime, models, data, member, inputs, posthoc, mitigations and runs.
"""

__all__ = [
    "build",
    "check",
    "compile",
    "engine",
    "grid",
    "placement",
    "plan",
    "predictions",
    "program",
    "readout",
]
