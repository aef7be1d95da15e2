"""Where the noise of a comparison comes from: the images, the seeds, or both together."""

from __future__ import annotations

import numpy as np
import pandas as pd

from frown_jax.metrics.verdicts import PRIMARY

SOURCES = {"sd_images": "images", "sd_seeds": "seeds", "sd_both": "seed and image together"}


def sources(comparisons: pd.DataFrame) -> pd.DataFrame:
    """The variance of every primary difference by what it comes of.

    Args:
      comparisons: of `metrics.comparison.compare`.

    Returns:
      A row for each difference and source: value (metric, and attribute and group), method, source, variance, sd, share
      (of the variance, 0 to 1), seeds, n. Differences of one seed are left out: they say nothing of seeds.
    """
    own = comparisons[(comparisons["family"] == PRIMARY) & (comparisons["seeds"] > 1)].dropna(subset=[*SOURCES])
    where = own["attribute"].where(own["attribute"] == "", ", " + own["attribute"] + own["group"].map(_of_group))
    own = own.assign(value=own["metric"].str.replace("_", " ") + where)
    keys = ["value", "method", "seeds", "n"]
    long = own.melt(keys, [*SOURCES], var_name="source", value_name="sd")
    long["source"] = long["source"].map(SOURCES)
    long["variance"] = long["sd"] ** 2
    total = long.groupby(["value", "method"], sort=False)["variance"].transform("sum")
    long["share"] = np.where(total > 0, long["variance"] / total.where(total > 0, 1), np.nan)
    return long[["value", "method", "source", "variance", "sd", "share", "seeds", "n"]]


def lines(comparisons: pd.DataFrame) -> list[str]:
    """The same as text: of each primary value, the median shares over the methods."""
    table = sources(comparisons)
    out = []
    for value, part in table.groupby("value", sort=False):
        shares = part.groupby("source", sort=False)["share"].median()
        if shares.notna().all():
            told = ", ".join(f"{shares[name]:.0%} {name}" for name in SOURCES.values())
            out.append(f"the noise of {value} comes of: {told}")
    return out


def _of_group(group: str) -> str:
    return f" {group}" if group else ""
