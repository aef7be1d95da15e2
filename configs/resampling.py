"""The first study's resampling: race, gender or age equalised to the mean, largest or smallest group; nine models.

  python launch.py --config=configs/resampling.py
  python launch.py --config=configs/resampling.py:rafdb --config.data.dir=DIR
  python launch.py --config=configs/resampling.py:rafdb,fidelity=repo --config.data.dir=DIR

Arguments after the colon as configs/baseline.py's. The set is drawn once, as in the study's code. A larger set means
more updates per epoch; '... matched' are the same sets with as many updates as the baseline's.
"""

from frown_jax.configs import baseline

ATTRIBUTES = ("race", "gender", "age")


def get_config(arg=None):
    return baseline.get_config(arg)


def sweep(add):
    add(method="baseline")
    for by in ATTRIBUTES:
        for how in ("mean", "max", "min"):
            add(method=f"{by} {how}", mitigation=f"equalise(by='{by}', how='{how}')")
    for by in ATTRIBUTES:
        add(method=f"{by} mean matched", mitigation=f"equalise(by='{by}', how='mean') + matched_steps()")
