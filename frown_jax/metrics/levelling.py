"""How a gap in accuracy closed: did the worst group rise, or the best one fall?"""

from __future__ import annotations

import numpy as np
import pandas as pd

UP, DOWN, WIDER = "levelled up", "levelled down", "widened"
PARTS = {
    "gap": "accuracy_difference",
    "worst": "worst_group_accuracy",
    "best": "best_group_accuracy",
    "middle": "midrange_accuracy",
}


def levelling_down(table: pd.DataFrame) -> pd.DataFrame:
    """Reads how each method's gaps in accuracy moved.

    Args:
      table: of comparison.compare, with the metrics of PARTS.

    Returns:
      A row for each method and attribute: method, attribute; gap, worst, best and middle (changes against the control,
      with _lower and _upper; the middle lies halfway between worst and best, so that it rises where the worst group
      rose more than the best one fell); and reading: UP or DOWN if the gap closed and the middle rose or fell, WIDER,
      or 'unchanged'. A reading is followed by ' (within noise)' where the interval of the gap holds 0, or that of the
      middle of a gap that closed.
    """
    parts = {}
    for short, name in PARTS.items():
        chosen = table[table["metric"] == name].set_index(["method", "attribute"])
        parts[short] = chosen["difference"]
        parts[f"{short}_lower"], parts[f"{short}_upper"] = chosen["lower"], chosen["upper"]
    out = pd.DataFrame(parts).dropna(subset=["gap"]).reset_index()
    closed = out["gap"] < 0
    reading = np.where(closed, np.where(out["middle"] >= 0, UP, DOWN), WIDER)
    reading = np.where(out["gap"] == 0, "unchanged", reading)
    noise = (out["gap"] != 0) & (_holds_zero(out, "gap") | (closed & _holds_zero(out, "middle")))
    out["reading"] = [f"{r} (within noise)" if n else r for r, n in zip(reading, noise, strict=True)]
    return out


def _holds_zero(out: pd.DataFrame, part: str) -> pd.Series:
    return ~((out[f"{part}_upper"] < 0) | (out[f"{part}_lower"] > 0))
