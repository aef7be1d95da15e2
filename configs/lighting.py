"""Photometric ("varying lighting") augmentation of three strengths.

  python launch.py --config=configs/lighting.py
  python launch.py --config=configs/lighting.py:rafdb --config.data.dir=DIR

Arguments after the colon as configs/baseline.py's.
"""

from frown_jax.configs import baseline


def get_config(arg=None):
    return baseline.get_config(arg)


def sweep(add):
    add(method="baseline")
    for strength in (0.2, 0.4, 0.6):
        add(method=f"lighting {strength}", mitigation=f"lighting(brightness={strength}, contrast={strength})")
