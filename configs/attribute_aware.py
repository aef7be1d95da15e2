"""Attribute-aware networks: race, gender and age as one-hot inputs, and as the raw codes of the first study's code.

  python launch.py --config=configs/attribute_aware.py
  python launch.py --config=configs/attribute_aware.py:rafdb --config.data.dir=DIR

Arguments after the colon as configs/baseline.py's. Evaluated on data without attributes, such a network predicts by the
mean over groups, weighted by their share in training.
"""

from frown_jax.configs import baseline


def get_config(arg=None):
    return baseline.get_config(arg)


def sweep(add):
    add(method="baseline")
    add(method="attribute-aware", mitigation="attribute_aware(by=('race', 'gender', 'age'))")
    add(method="attribute-aware, codes", mitigation="attribute_aware(by=('race', 'gender', 'age'), encoding='codes')")
