"""What a difference means: gain, loss, practically equal or cannot tell, and what it would take to tell.

One family of primary values is declared before anything is seen and corrected over methods and values (Holm 1979);
everything else is exploratory, corrected for its false discovery rate (Benjamini & Hochberg 1995) and called so.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from frown_jax.metrics import catalogue, significance
from frown_jax.metrics.plan import SEPARATOR
from frown_jax.metrics.reference import Variances

Array = np.ndarray
GAIN, LOSS, EQUAL, UNKNOWN = "gain", "loss", "practically equal", "cannot tell"
VERDICTS = (GAIN, LOSS, EQUAL, UNKNOWN)
PRIMARY, EXPLORATORY = "primary", "exploratory"
MARGIN = 0.02
FEWEST_DISCORDANT = 6  # units on which two methods differ, below which sign flips cannot reach 5 %
FEWEST_UNITS = 2
MOST_SEEDS = 1000  # that are thought of
_MOST_IMAGES = 1e4  # times as many as there are


def families(rows: pd.DataFrame, primary: Sequence[str] = catalogue.PRIMARY) -> Array:
    """Which family each value belongs to, object.

    Args:
      rows: columns metric, attribute, group, target.
      primary: metrics that are declared primary: those of everybody, and those that compare the groups of a single
        attribute. 'metric:attribute:group' declares one value of one group, and 'metric:attribute' that of one
        attribute; their other values are then exploratory.

    Returns:
      PRIMARY, EXPLORATORY, or '' for values of which neither end is better.

    Raises:
      ValueError: a declared value that does not exist.
    """
    metric, attribute, group = (rows[c].to_numpy(object) for c in ("metric", "attribute", "group"))
    whole = rows["target"].to_numpy(object) == ""
    single = np.array([SEPARATOR not in a for a in attribute])
    chosen = np.zeros(len(rows), bool)
    for text in primary:
        name, *where = text.split(":")
        known = catalogue.metric(name)
        own = (metric == name) & whole
        if where:
            own &= attribute == where[0]
            own &= group == (where[1] if len(where) > 1 else "")
        else:
            own &= (group == "") & (single if known.of_attribute else attribute == "")
        if where and not own.any():
            raise ValueError(f"primary value {text!r}: there is no such value among those that are compared")
        chosen |= own
    directed = np.array([catalogue.metric(str(m)).better != "neither" for m in metric], bool)
    return np.where(directed, np.where(chosen, PRIMARY, EXPLORATORY), "")


def corrected(p: Array, family: Array) -> Array:
    """p-values corrected over all tests of their family: Holm for the primary one, Benjamini-Hochberg for the rest."""
    out = np.full(len(p), np.nan)
    for name, how in ((PRIMARY, significance.holm), (EXPLORATORY, significance.benjamini_hochberg)):
        own = family == name
        out[own] = how(p[own])
    return out


def verdicts(table: pd.DataFrame, margin: float, level: float, fewest: int) -> Array:
    """The verdict on each difference, object; '' where neither end is better or nothing was measured.

    Args:
      table: metric, difference, lower, upper, p_corrected, family, units, discordant.
      margin: differences up to this do not matter.
      level: of the intervals; a test's level is the rest to 1.
      fewest: units that a gain or a loss needs.

    Returns:
      EQUAL if the interval lies within the margin (two one-sided tests; Schuirmann 1987), else GAIN or LOSS if
      p_corrected is below 1 - level, else UNKNOWN. Without `fewest` units, and FEWEST_DISCORDANT on which the methods
      differ, there is neither GAIN nor LOSS.
    """
    lower, upper, difference = (table[c].to_numpy(float) for c in ("lower", "upper", "difference"))
    with np.errstate(invalid="ignore"):
        equal = (lower >= -margin) & (upper <= margin)
        shown = table["p_corrected"].to_numpy(float) < 1 - level
        shown &= (table["discordant"] >= FEWEST_DISCORDANT).to_numpy() & (table["units"] >= fewest).to_numpy()
        up = difference > 0
    better = np.array([catalogue.metric(str(m)).better == "higher" for m in table["metric"]], bool)
    out = np.where(equal, EQUAL, np.where(shown, np.where(up == better, GAIN, LOSS), UNKNOWN)).astype(object)
    out[(table["family"] == "").to_numpy() | np.isnan(difference)] = ""
    return out


def harmless(table: pd.DataFrame, margin: float) -> Array:
    """Whether a value was made worse by more than the margin, object: 'no', 'yes', UNKNOWN, '' where undirected.

    'no' if the whole interval is better than -margin, 'yes' if it is all worse.
    """
    better = np.array([catalogue.metric(str(m)).better == "higher" for m in table["metric"]], bool)
    lower, upper = table["lower"].to_numpy(float), table["upper"].to_numpy(float)
    worst, best = np.where(better, lower, -upper), np.where(better, upper, -lower)
    with np.errstate(invalid="ignore"):
        out = np.where(worst > -margin, "no", np.where(best < -margin, "yes", UNKNOWN)).astype(object)
    out[(table["family"] == "").to_numpy() | np.isnan(worst)] = ""
    return out


def needed(v: Variances, difference: Array, margin: float, tests: Array, level: float) -> tuple[Array, Array]:
    """How many seeds, or how many times the images, would tell, if the difference is what was seen.

    Args:
      v: of the differences, [E].
      difference: [E].
      margin: of practical equality.
      tests: [E], size of the family that a gain is corrected over (Bonferroni, which is Holm's first step).
      level: of the intervals.

    Returns:
      Seeds on these images, [E]: infinite if even MOST_SEEDS would not do; and how many times the images with these
      seeds, [E]: infinite if the seeds alone leave too much open. NaN for one run, which says nothing of seeds.
    """
    images = np.maximum(v.images - v.both / np.maximum(v.count, 1), 0)
    seeds = np.maximum(v.seeds - v.both, 0)
    apart = np.abs(difference)
    one = v.count < 2

    def tells(count: Array, times: Array) -> Array:
        of_seeds = np.where(one, 0, seeds / count)
        total = np.where(one, v.images / times, (images + v.both / count) / times + of_seeds)
        df = np.maximum(count - 1, 1) * (total / np.maximum(of_seeds, 1e-12 * total + 1e-300)) ** 2
        spread = np.sqrt(total)
        equal = apart + stats.t.ppf((1 + level) / 2, df) * spread <= margin
        shown = stats.t.ppf(1 - (1 - level) / (2 * tests), df) * spread <= apart
        return equal | shown

    def fewest(choices: Array, told) -> Array:
        out = np.full(len(apart), np.inf)
        for choice in choices[::-1]:
            out = np.where(told(choice), choice, out)
        return out

    most = np.unique(np.concatenate([np.arange(2, 65), np.geomspace(65, MOST_SEEDS, 40).astype(int)]))
    by_seeds = fewest(most, lambda s: (s > v.count) & tells(np.full(len(apart), float(s)), np.ones(len(apart))))
    times = np.geomspace(1.1, _MOST_IMAGES, 97)
    by_images = fewest(times, lambda k: tells(np.maximum(v.count, 1).astype(float), np.full(len(apart), k)))
    undefined = ~np.isfinite(difference) | ~np.isfinite(v.total)
    return np.where(one | undefined, np.nan, by_seeds), np.where(undefined, np.nan, by_images)
