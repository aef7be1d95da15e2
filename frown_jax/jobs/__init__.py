"""A whole run, from settings to results: here, or as jobs of a cluster.

It may import errors, config, metrics, runtime, models, data, member, inputs, runs, training, report and inference.
"""

__all__ = [
    "analyse",
    "cluster",
    "cost",
    "job",
    "pretrain",
    "search",
]
