"""The first study's "expected" goals: a stratified train/test split, and with it as many images of each race.

  python launch.py --config=configs/stratified_split.py
  python launch.py --config=configs/stratified_split.py:rafdb --config.data.dir=DIR

Training and test images are pooled and divided anew, so that every emotion x race has the same share in both; subjects
stay whole. The test set is another than configs/baseline.py's: compare these runs with each other.

Arguments after the colon as configs/baseline.py's.
"""

from frown_jax.configs import baseline


def get_config(arg=None):
    c = baseline.get_config(arg)
    c.method = "stratified split"
    c.data.test = "stratified"
    c.data.strata = ("emotion", "race")
    return c


def sweep(add):
    add(method="stratified split")
    add(method="and equal races", mitigation="equalise(by='race', how='mean')")
    add(method="and equal emotions x races", mitigation="equalise(by=('emotion', 'race'), how='mean')")
