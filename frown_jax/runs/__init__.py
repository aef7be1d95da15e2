"""What a run leaves on disk, and who is told of it meanwhile.

It may import errors, runtime, inputs and posthoc.
"""

__all__ = [
    "checkpoint",
    "directory",
    "parts",
    "tensorboard",
    "watchers",
]
