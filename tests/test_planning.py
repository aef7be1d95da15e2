"""Seeds and images that a question needs: checked by drawing the differences that they would give."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from frown_jax.metrics import planning

TABLE = pd.DataFrame(
    {
        "method": ["a", "b", "a"],
        "metric": ["accuracy", "accuracy", "macro_f1"],
        "attribute": "",
        "group": "",
        "target": "",
        "n": 1000,
        "seeds": 4,
        "sd_images": [0.006, 0.005, 0.02],
        "sd_seeds": [0.010, 0.004, 0.001],
        "sd_both": [0.003, 0.002, 0.002],
    }
)


def _found(rng, effect, images, seeds, both, count, repeats=20_000):
    """How often a t-test that knows the images' variance finds the effect."""
    of_seeds = rng.normal(0, np.sqrt(seeds + both), (repeats, count))
    d = effect + rng.normal(0, np.sqrt(images), repeats) + of_seeds.mean(1)
    v_seeds = np.maximum(of_seeds.var(1, ddof=1) - both, 0) / count
    total = images + both / count + v_seeds
    df = (count - 1) * (total / np.maximum(v_seeds, 1e-12)) ** 2
    return (np.abs(d) / np.sqrt(total) > stats.t.ppf(0.975, np.clip(df, 1, 1e6))).mean()


@pytest.mark.parametrize("count", [4, 8, 32])
def test_power_is_how_often_draws_are_found(count):
    images, seeds, both = 0.006**2, 0.02**2, 0.006**2
    expected = planning.power(0.03, images, seeds, both, count)
    assert _found(np.random.default_rng(count), 0.03, images, seeds, both, count) == pytest.approx(expected, abs=0.04)


def test_what_is_needed_is_enough_and_one_less_is_not():
    found = planning.plan(TABLE, 0.02, 0.8).set_index("metric")
    row = found.loc["accuracy"]
    assert row["sd_seeds"] == 0.010  # of the method that varies most
    images, seeds, both = row["sd_images"] ** 2, 4 * row["sd_seeds"] ** 2, 4 * row["sd_both"] ** 2
    needed = int(row["seeds_needed"])
    at = [float(planning.power(0.02, images, seeds, both, s)) for s in (needed - 1, needed)]
    assert at[0] < 0.8 <= at[1]
    assert row["power"] == pytest.approx(float(planning.power(0.02, images, seeds, both, 4)))
    # Where images make the noise, no number of seeds would do, and more images would.
    noisy = found.loc["macro_f1"]
    assert np.isinf(noisy["seeds_needed"]) and np.isfinite(noisy["images_needed"])
    k = noisy["images_needed"] / 1000
    parts = (noisy["sd_images"] ** 2 / k, 4 * noisy["sd_seeds"] ** 2, 4 * noisy["sd_both"] ** 2 / k)
    assert planning.power(0.02, *parts, 4) >= 0.8
    assert k == pytest.approx(2.8**2 * (0.02 / 0.02) ** 2, rel=0.1)  # by the normal approximation


def test_what_cannot_be_planned_is_said():
    for changes, words in (({"effect": 0}, "effect=0"), ({"effect": 0.1, "wanted": 1.0}, "power=1")):
        with pytest.raises(ValueError, match=words):
            planning.plan(TABLE, **changes)
    with pytest.raises(ValueError, match="how seeds vary is not known"):
        planning.plan(TABLE.assign(seeds=1), 0.1)
