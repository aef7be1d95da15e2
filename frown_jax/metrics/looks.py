"""Comparisons that are looked at while seeds are added: which are settled, and which methods need more seeds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd
from scipy import stats

from frown_jax.metrics import catalogue, significance
from frown_jax.metrics.comparison import ComparisonSettings, compare
from frown_jax.metrics.outcomes import Outcomes
from frown_jax.metrics.plan import Grouping, Plan
from frown_jax.metrics.sequential import sequential_p
from frown_jax.metrics.verdicts import EQUAL, FEWEST_DISCORDANT, GAIN, LOSS, PRIMARY, UNKNOWN

KEYS = ["method", "metric", "attribute", "group", "target"]
_HELPERS = ["units", "discordant", "sd_images", "sd_seeds", "sd_both"]
HOPE = 0.1  # probability of a verdict at the last look below which more seeds are not worth training


def schedule(last: int, first: int = 4) -> tuple[int, ...]:
    """After how many seeds one looks: `first`, twice as many, and so on, and `last`.

    >>> schedule(16), schedule(20), schedule(3)
    ((4, 8, 16), (4, 8, 16, 20), (3,))
    """
    out = []
    seeds = first
    while seeds < last:
        out.append(seeds)
        seeds *= 2
    return (*out, last)


@dataclasses.dataclass(frozen=True)
class Looks:
    """When a run that adds seeds is looked at.

    Attributes:
      order: all seeds that may be trained, in the order in which they are.
      counts: how many of them there are at each look, rising; the last is what is planned.
    """

    order: tuple[int, ...]
    counts: tuple[int, ...]


def compared(
    test: Outcomes, control: str, looks: Looks, divisions: Sequence[Grouping], how: ComparisonSettings
) -> list[pd.DataFrame]:
    """What was to be seen of the primary values at each look that has been.

    Args:
      test: every run there is.
      control: method that the others are compared with.
      looks: when one looks.
      divisions: everybody, and the groups of each attribute.
      how: the comparison, with its primary values.

    Returns:
      Tables of `comparison.compare`, one for each look that brought seeds.
    """
    place = test.runs["seed"].astype(str).map({str(seed): i for i, seed in enumerate(looks.order)})
    metrics = list(dict.fromkeys(text.split(":")[0] for text in how.primary))
    out, before = [], 0
    for count in looks.counts:
        if not place.between(before, count - 1).any():
            break
        seen = test.select((place < count).to_numpy())
        out.append(compare(seen, Plan.of(seen, divisions, metrics), control, how))
        before = count
    return out


def revised(comparisons: pd.DataFrame, settled: pd.DataFrame) -> pd.DataFrame:
    """A table of `comparison.compare` whose primary values have the corrected p and the verdict of `settle`."""
    found = comparisons[KEYS].merge(settled[[*KEYS, "p_corrected", "verdict"]], on=KEYS, how="left")
    known = found["verdict"].notna().to_numpy()
    changed = {
        c: comparisons[c].where(~known, found[c].set_axis(comparisons.index)) for c in ("p_corrected", "verdict")
    }
    return comparisons.assign(**changed)


def settle(
    looks: Sequence[pd.DataFrame], planned: int, margin: float, level: float = 0.95, fewest: int = 1
) -> pd.DataFrame:
    """What is known of each primary comparison after several looks, corrected for looking.

    Args:
      looks: tables of `comparison.compare`, one a look, each of all the seeds that there were by then; a method that
        got no more seeds is in the last of them as it was.
      planned: seeds of the last look, if nobody stops before.
      margin: differences up to this are practically equal.
      level: 1 minus the familywise error of gains and losses.
      fewest: units that a gain or a loss needs.

    Returns:
      A row for each primary value of each method: KEYS, seeds, difference, lower, upper (of its last look),
      p_sequential (the error at which looking so often would have ended with a difference), p_corrected (Holm over all
      rows), p_equal (the same of two one-sided tests against the margin), verdict (of verdicts.VERDICTS), hope
      (probability of a verdict other than 'cannot tell' at the last look, if the difference is what was seen; NaN where
      it is settled) and settled (whether more seeds are not needed, or are not worth it).
    """
    out = looks[-1][looks[-1]["family"] == PRIMARY].reset_index(drop=True)
    differ, equal, shares = _histories(looks, out, planned, margin)
    out = out[
        [*KEYS, "seeds", "difference", "lower", "upper", "units", "discordant", "sd_images", "sd_seeds", "sd_both"]
    ]
    rows = range(len(out))
    out["p_sequential"] = [_after_looks(differ[i], shares[i]) for i in rows]
    out["p_corrected"] = significance.holm(out["p_sequential"].to_numpy())
    out["p_equal"] = [_after_looks(equal[i], shares[i]) for i in rows]
    shown = (out["p_corrected"] < 1 - level) & (out["discordant"] >= FEWEST_DISCORDANT) & (out["units"] >= fewest)
    same = out["p_equal"] < 1 - level
    better = np.array([catalogue.metric(str(m)).better == "higher" for m in out["metric"]], bool)
    side = np.where((out["difference"] > 0) == better, GAIN, LOSS)
    out["verdict"] = np.where(same, EQUAL, np.where(shown, side, UNKNOWN)).astype(object)
    out["hope"] = np.where(same | shown, np.nan, _hope(out, planned, margin, level))
    out["settled"] = same | shown | (out["hope"] < HOPE) | (out["seeds"] >= planned)
    return out.drop(columns=_HELPERS)


def _histories(
    looks: Sequence[pd.DataFrame], rows: pd.DataFrame, planned: int, margin: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each row: p-values of a difference and of equality at each look, and the information there was; [rows, L].

    The information is the last planned look's variance over that of a look, both from the last known components. A
    look that brought a method no seed is NaN.
    """
    differ, equal, shares = (np.full((len(rows), len(looks)), np.nan) for _ in range(3))
    final = _variance(rows, planned)
    for k, table in enumerate(looks):
        found = rows[KEYS].merge(table, on=KEYS, how="left", validate="one_to_one")
        seeds = found["seeds"].to_numpy(float)
        before = looks[k - 1] if k else None
        if before is not None:
            old = rows[KEYS].merge(before[[*KEYS, "seeds"]], on=KEYS, how="left")["seeds"].to_numpy(float)
            seeds = np.where(seeds > old, seeds, np.nan)
        new = ~np.isnan(seeds)
        shares[new, k] = np.minimum(final / _variance(rows, np.maximum(seeds, 1)), 1)[new]
        differ[new, k] = found["p_value"].to_numpy(float)[new]
        equal[new, k] = _equality(found, margin)[new]
    return differ, equal, shares


def _variance(rows: pd.DataFrame, seeds) -> np.ndarray:
    """Of the difference, with another number of seeds."""
    of_seed = (rows["sd_seeds"] ** 2 + rows["sd_both"] ** 2) * rows["seeds"]
    return (rows["sd_images"] ** 2 + of_seed / seeds).to_numpy(float)


def _equality(table: pd.DataFrame, margin: float) -> np.ndarray:
    """Twice the larger p-value of the two one-sided tests: small where the interval lies within the margin."""
    unit = (table["upper"] - table["lower"]).to_numpy(float) / 2 / stats.norm.isf(0.025)
    inside = margin - (table[["lower", "upper"]].mean(axis=1).abs()).to_numpy(float)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.minimum(2 * stats.norm.sf(np.where(unit > 0, inside / unit, np.inf * np.sign(inside))), 1)


def _after_looks(p_values: np.ndarray, shares: np.ndarray) -> float:
    seen = ~np.isnan(shares) & ~np.isnan(p_values)
    if not seen.any():
        return float("nan")
    if np.nanmin(p_values[seen]) > 0.5:  # far from any verdict: not worth the integrals
        return 1.0
    return float(sequential_p(p_values[seen], np.maximum.accumulate(shares[seen]))[-1])


def _hope(rows: pd.DataFrame, planned: int, margin: float, level: float) -> np.ndarray:
    """Probability that the last look ends with a verdict: conditional power at the difference that was seen."""
    now, then = _variance(rows, rows["seeds"].to_numpy(float)), _variance(rows, planned)
    apart, left = np.abs(rows["difference"].to_numpy(float)), np.sqrt(np.maximum(now - then, 1e-12))
    reach = stats.norm.isf((1 - level) / 2) * np.sqrt(then)
    reach_of_all = stats.norm.isf((1 - level) / 2 / max(len(rows), 1)) * np.sqrt(then)
    shown = stats.norm.sf((reach_of_all - apart) / left)
    inside = margin - reach
    same = np.where(inside > 0, stats.norm.cdf((inside - apart) / left) - stats.norm.cdf((-inside - apart) / left), 0)
    return np.minimum(shown + same, 1)
