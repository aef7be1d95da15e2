"""The first study's pixel inversion, p = 1/2 in training; beside it what its code computes.

  python launch.py --config=configs/inversion.py
  python launch.py --config=configs/inversion.py:rafdb --config.data.dir=DIR

Arguments after the colon as configs/baseline.py's.
"""

from frown_jax.configs import baseline


def get_config(arg=None):
    return baseline.get_config(arg)


def sweep(add):
    add(method="baseline")
    add(method="inversion", mitigation="invert(p=0.5)")
    add(method="inversion of normalised pixels", mitigation="invert(p=0.5, how='normalised')")
