"""What was found, in a line for each primary value."""

from __future__ import annotations

import numpy as np
import pandas as pd

from frown_jax.metrics.verdicts import EQUAL, GAIN, LOSS, PRIMARY, UNKNOWN

_MEANT = {
    "worst_group_accuracy": "the worst group's accuracy",
    "best_group_accuracy": "the best group's accuracy",
    "accuracy_difference": "the gap in accuracy",
}


def _named(metric: str, attribute: str, group: str) -> str:
    if group:
        return f"{metric.replace('_', ' ')} of {group}"
    what = _MEANT.get(metric, metric.replace("_", " "))
    return f"{what}, by {attribute}" if attribute else what


def _would_do(untold: pd.DataFrame) -> str:
    """What it would take to tell: ': 11 would do'."""
    seeds = untold["seeds_needed"]
    some = seeds[np.isfinite(seeds)]
    images = untold["images_needed"][~np.isfinite(seeds)]
    images = images[np.isfinite(images)]
    parts = []
    if len(some):
        of = "" if len(some) == len(untold) else f" for {len(some)} of them"
        parts.append(f"{int(some.max()):,} would do{of}")
    if len(images):
        of = "" if len(images) == len(untold) else f" for {len(images)} of them"
        parts.append(f"{int(images.max()):,} images would do{of}, where there are {int(untold['n'].iloc[0]):,}")
    if left := len(untold) - len(some) - len(images):
        parts.append(f"no number of either is known to do for {left}")
    return ": " + "; ".join(parts) if parts else ""


def findings(comparisons: pd.DataFrame) -> list[str]:
    """One line for each primary value.

    Args:
      comparisons: of metrics.comparison.compare.

    Returns:
      Lines such as "the worst group's accuracy, by race: 2 of 40 methods help; 31 make no practical difference;
      7 cannot be told with 4 seeds: 11 would do".
    """
    lines = []
    primary = comparisons[comparisons["family"] == PRIMARY]
    for (metric, attribute, group), part in primary.groupby(["metric", "attribute", "group"], sort=False):
        total = f"{len(part)} method{'s' * (len(part) != 1)}"
        count = part["verdict"].value_counts()
        said: list[str] = []
        for verdict, singular, plural in (
            (GAIN, "helps", "help"),
            (LOSS, "harms", "harm"),
            (EQUAL, "makes no practical difference", "make no practical difference"),
            (UNKNOWN, "cannot be told", "cannot be told"),
        ):
            if n := int(count.get(verdict, 0)):
                of = "" if said else f" of {total}"
                said.append(f"{n}{of} {singular if n == 1 else plural}")
        untold = part[part["verdict"] == UNKNOWN]
        if len(untold):
            runs = int(untold["seeds"].max())
            said[-1] += f" with {runs} seed{'s' * (runs != 1)}{_would_do(untold)}"
        lines.append(f"{_named(str(metric), str(attribute), str(group))}: {'; '.join(said) or 'undefined'}")
    return lines


def tests_made(comparisons: pd.DataFrame) -> str:
    """How many tests were made, and how they are corrected."""
    made = comparisons[comparisons["p_value"].notna()]["family"].value_counts()
    primary, rest = int(made.get(PRIMARY, 0)), int(made.get("exploratory", 0))
    return (
        f"{primary:,} tests of primary values, corrected together (Holm); {rest:,} exploratory ones, of whose findings "
        "about 5 % are false (Benjamini-Hochberg)"
    )
