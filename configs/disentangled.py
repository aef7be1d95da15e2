"""Xu et al. 2020: baseline, attribute-aware and disentangled networks, each with and without augmentation: six columns.

  python launch.py --config=configs/disentangled.py
  python launch.py --config=configs/disentangled.py:rafdb --config.data.dir=DIR

Arguments after the colon as configs/baseline.py's. Augmentation is flips, shifts and lighting (the paper's own is not
known in detail).
"""

from frown_jax.configs import baseline

NETWORKS = {
    "baseline": "",
    "attribute-aware": "attribute_aware(by=('race', 'gender', 'age'))",
    "disentangled": "disentangled(by=('race', 'gender', 'age'))",
}
AUGMENTED = {"augment.flip": 0.5, "augment.shift": 0.06, "augment.brightness": 0.2, "augment.contrast": 0.2}


def get_config(arg=None):
    return baseline.get_config(arg)


def sweep(add):
    for augmented in (False, True):
        settings = AUGMENTED if augmented else dict.fromkeys(AUGMENTED, 0.0)
        for name, mitigation in NETWORKS.items():
            add(method=name + " + augmentation" * augmented, mitigation=mitigation, **settings)
