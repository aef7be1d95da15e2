"""Networks, their convolutions, and weights from files.

It may import errors.
"""

__all__ = [
    "build",
    "classifier",
    "conv",
    "fold_norms",
    "layers",
    "resnet",
    "weights",
]
