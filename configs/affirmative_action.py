"""The first study's attention factor 10 on one cell of race x gender x age: its two models, and two wider ones.

  python launch.py --config=configs/affirmative_action.py
  python launch.py --config=configs/affirmative_action.py:rafdb --config.data.dir=DIR

Arguments after the colon as configs/baseline.py's; not runlocal, whose 96 faces leave the cells empty. Other cells, or
the worst ones of a finished run by its validation results:

  --config.mitigation="affirmative_action(cells='worst:3', run='runs/baseline-rafdb-0a1b2c3d')"
"""

from frown_jax.configs import baseline

CELLS = ("African-American x Male x 40-69", "Asian x Female x 40-69")


def get_config(arg=None):
    c = baseline.get_config(arg)
    c.loss.normaliser = "count"  # the study does not divide by the sum of the factors
    return c


def sweep(add):
    add(method="baseline")
    for cell in CELLS:
        add(method=f"10 x {cell}", mitigation=f"affirmative_action(cells=({cell!r},), factor=10)")
    add(method="3 x both", mitigation=f"affirmative_action(cells={CELLS!r}, factor=3)")
    add(
        method="3 x African-American", mitigation="affirmative_action(by='race', cells=('African-American',), factor=3)"
    )
