"""Recipes: each file has get_config(arg), and sweep(add) where it trains a grid. `--config=NAME` runs one by its name.

It may import config and data.
"""

__all__ = [
    "affirmative_action",
    "attribute_aware",
    "au_gender",
    "au_skin",
    "baseline",
    "cifar10s",
    "disentangled",
    "hparam_search",
    "inversion",
    "lighting",
    "mitigation_grid",
    "resampling",
    "stratified_split",
]
