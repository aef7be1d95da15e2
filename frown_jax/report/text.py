"""The results table on a terminal."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd

from frown_jax.metrics.plan import TINY
from frown_jax.metrics.table import over_seeds

FACES_NOTE = (
    "Embedded faces: any difference between groups below is a property of the image generator (expression contrast "
    "falls with melanin; see docs/faces.md), never a finding about people."
)
_OVERALL = (
    ("accuracy", "accuracy"),
    ("balanced_accuracy", "balanced accuracy"),
    ("macro_f1", "macro F1"),
    ("weighted_f1", "weighted F1"),
    ("auroc", "AUROC, one vs rest"),
    ("log_loss", "log loss"),
)
_FAIRNESS = (
    ("accuracy_difference", "accuracy gap"),
    ("worst_group_accuracy", "worst group's accuracy"),
    ("generalized_equal_opportunity", "equal opportunity F"),
    ("statistical_parity_gap", "statistical parity gap"),
)


def _number(x: float) -> str:
    return f"{x:.3f}" if np.isfinite(x) else "undefined"


def _line(label: str, row: pd.Series, mark: str = "") -> str:
    spread = f"+- {row['sd']:.3f}   {row['min']:.3f} to {row['max']:.3f}" if row["seeds"] > 1 else ""
    return f"  {label:<34}{row['n']:>7,}   {_number(row['mean']):>9} {spread}{mark}".rstrip()


def render(results: pd.DataFrame, split: str, attributes: Mapping[str, tuple[str, ...]], data: str) -> str:
    """The table of one split: overall, per group with n, fairness, smallest intersections.

    Args:
      results: of metrics.table.results.
      split: its name.
      attributes: that were reported.
      data: name of the data set; embedded faces get their caution.
    """
    summary = over_seeds(results[results["split"] == split])
    lines = []
    for method, part in summary.groupby("method", sort=False):
        seeds = int(part["seeds"].max())
        part = part[part["target"] == ""]
        cells = {(row["metric"], row["attribute"], row["group"]): row for _, row in part.iterrows()}
        title = f"{method}: {split} split, mean +- sd and range over {seeds} seed{'s' * (seeds > 1)}"
        lines += ["", title, "-" * len(title), f"  {'':<34}{'n':>7}   {'mean':>9}"]
        lines += [_line(label, cells[metric, "", ""]) for metric, label in _OVERALL]
        for attribute, groups in attributes.items():
            lines += ["", f"  accuracy by {attribute}"]
            for group in groups:
                row = cells["accuracy", attribute, group]
                lines.append(_line(f"  {group}", row, _few(row)))
            for metric, label in _FAIRNESS:
                lines.append(_line(label, cells[metric, attribute, ""]))
        lines += _extremes(part, attributes)
    if not attributes:
        lines += ["", "  No attributes in this data: nothing per group can be said."]
    if data == "faces":
        lines += ["", FACES_NOTE]
    return "\n".join(lines) + "\n"


def _few(row: pd.Series) -> str:
    return f"   (fewer than {TINY} images)" if row["n"] < TINY else ""


def _extremes(part: pd.DataFrame, attributes: Mapping[str, tuple[str, ...]]) -> list[str]:
    """The worst cells of the finest intersection, and how many cells are too small to say anything."""
    if len(attributes) < 2:
        return []
    crossed = " x ".join(list(attributes)[:3])
    cells = part[(part["metric"] == "accuracy") & (part["attribute"] == crossed)]
    enough = cells[cells["n"] >= TINY].sort_values("mean")
    small, none = int(((cells["n"] < TINY) & (cells["n"] > 0)).sum()), int((cells["n"] == 0).sum())
    lines = ["", f"  lowest accuracy by {crossed}"]
    lines += [_line(f"  {row['group']}", row) for _, row in enough.head(3).iterrows()]
    lines.append(f"  {small} cells have fewer than {TINY} images, {none} have none; all are in results.csv")
    return lines
