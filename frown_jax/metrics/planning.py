"""How many seeds and images a question needs, from the variance of differences that a run has shown."""

from __future__ import annotations

import numpy as np
import pandas as pd
from scipy import stats

MOST_SEEDS = 1000
_MOST_TIMES = 1e4  # as many images as there are, at the most
_VALUE = ["metric", "attribute", "group", "target"]


def power(
    effect: float | np.ndarray, images: np.ndarray, seeds: np.ndarray, both: np.ndarray, count, level: float = 0.95
) -> np.ndarray:
    """How often a difference of `effect` would be found by a two-sided test.

    Args:
      effect: the true difference.
      images, seeds, both: variance that the images make, that one seed makes, and that one seed and the images make
        together.
      count: S, seeds of each method.
      level: 1 minus the test's error.

    Returns:
      0 to 1, from Student's noncentral t with (S - 1) (v / v_seeds)^2 degrees of freedom (Satterthwaite 1946).
    """
    count = np.asarray(count, float)
    of_seeds = seeds / count
    total = images + of_seeds + both / count
    df = np.clip(np.maximum(count - 1, 1) * (total / np.maximum(of_seeds, 1e-12 * total + 1e-300)) ** 2, 1, 1e6)
    reach, away = stats.t.ppf((1 + level) / 2, df), np.abs(effect) / np.sqrt(np.maximum(total, 1e-300))
    return stats.nct.sf(reach, df, away) + stats.nct.cdf(-reach, df, away)


def plan(comparisons: pd.DataFrame, effect: float, wanted: float = 0.8, level: float = 0.95) -> pd.DataFrame:
    """What it takes to find a difference of `effect` in each value of a run.

    Args:
      comparisons: of `comparison.compare`, of at least two seeds a method.
      effect: the difference that should not be missed, above 0.
      wanted: how often it should be found, 0 to 1.
      level: 1 minus the test's error, before any correction for many tests.

    Returns:
      A row for each value (metric, attribute, group, target), for the method whose difference varies most: n (images),
      seeds (so far), sd_images, sd_seeds, sd_both (with these), power (of finding the effect with these), seeds_needed
      (on these images; infinite if no number up to MOST_SEEDS would do) and images_needed (of this group, with these
      seeds; infinite likewise).

    Raises:
      ValueError: an effect or a power that is none, or runs of one seed, which say nothing of seeds.
    """
    if not effect > 0:
        raise ValueError(f"effect={effect}: more than 0")
    if not 0 < wanted < 1:
        raise ValueError(f"power={wanted}: between 0 and 1")
    table = comparisons[comparisons["seeds"] > 1].dropna(subset=["sd_images", "sd_seeds", "sd_both"])
    if table.empty:
        raise ValueError("no value was compared over two seeds or more: how seeds vary is not known")
    table = table.assign(total=table["sd_images"] ** 2 + table["sd_seeds"] ** 2 + table["sd_both"] ** 2)
    widest = table.loc[table.groupby(_VALUE, sort=False)["total"].idxmax()]
    now = widest["seeds"].to_numpy(float)
    images = widest["sd_images"].to_numpy(float) ** 2
    seeds, both = (widest[c].to_numpy(float) ** 2 * now for c in ("sd_seeds", "sd_both"))
    out = widest[[*_VALUE, "n", "seeds", "sd_images", "sd_seeds", "sd_both"]].reset_index(drop=True)
    out["power"] = power(effect, images, seeds, both, now, level)
    counts = np.unique(np.concatenate([np.arange(2, 65), np.geomspace(65, MOST_SEEDS, 60).astype(int)]))
    out["seeds_needed"] = _least(counts, [power(effect, images, seeds, both, c, level) >= wanted for c in counts])
    times = np.geomspace(1 / 64, _MOST_TIMES, 400)
    enough = [power(effect, images / k, seeds, both / k, now, level) >= wanted for k in times]
    out["images_needed"] = np.ceil(_least(times, enough) * out["n"])
    return out


def _least(choices: np.ndarray, enough: list[np.ndarray]) -> np.ndarray:
    """The first choice that is enough, for each value; infinite if none is."""
    found = np.stack(enough)
    return np.where(found.any(0), choices[found.argmax(0)].astype(float), np.inf)
