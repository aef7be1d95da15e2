"""Data sets: readers of what people have, one table and one array of pixels, splits, what training may see of them.

It may import errors, schema, config, runtime and faces.
"""

__all__ = [
    "annotations",
    "cifar10s",
    "ckplus",
    "cohort",
    "dataset",
    "faces_source",
    "load",
    "problems",
    "store",
]
