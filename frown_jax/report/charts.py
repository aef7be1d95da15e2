"""Charts of a report: every one of stored values, with their intervals and their n."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from frown_jax.report.style import PALETTE, clean

_GREY = "#777777"


def curves(table: pd.DataFrame, methods: Sequence[str]) -> Figure:
    """Loss, accuracy and validation AUROC over epochs: the median over members, and all of them as a band."""
    panels = (
        ("train_loss", "training loss"),
        ("val_loss", "validation loss"),
        ("val_accuracy", "validation accuracy"),
        ("val_auroc", "validation AUROC"),
    )
    figure = Figure(figsize=(9.0, 4.8), layout="constrained")
    grid = figure.subplots(2, 2)
    for axes, (column, label) in zip(grid.ravel(), panels, strict=True):
        if column in table:
            for k, method in enumerate(methods):
                part = table[table["method"] == method].groupby("epoch")[column]
                low, middle, high = part.min(), part.median(), part.max()
                colour = PALETTE[k % len(PALETTE)]
                axes.plot(middle.index + 1, middle, color=colour, linewidth=1.4, label=method)
                if len(methods) <= 3:
                    axes.fill_between(middle.index + 1, low, high, color=colour, alpha=0.18, linewidth=0)
        axes.set_title(label, loc="left", fontsize=9)
        axes.set_xlabel("epoch", fontsize=8)
        axes.tick_params(labelsize=7)
        clean(axes)
    if 1 < len(methods) <= 10:
        grid[0, 0].legend(frameon=False, fontsize=7)
    return figure


def pareto(points: pd.DataFrame) -> np.ndarray:
    """Which rows nothing beats: no other has at least the accuracy and at most the gap, and one of both strictly."""
    x, y = points["gap"].to_numpy(float), points["accuracy"].to_numpy(float)
    no_worse = (x[None] <= x[:, None]) & (y[None] >= y[:, None])
    better = (x[None] < x[:, None]) | (y[None] > y[:, None])
    return ~(no_worse & better).any(1) & np.isfinite(x) & np.isfinite(y)


def tradeoff(points: pd.DataFrame, runs: pd.DataFrame, attribute: str) -> Figure:
    """Accuracy against the gap between groups: a dot a method, small ones its seeds, the Pareto front as a line.

    Args:
      points: method, accuracy, gap; the first is the control.
      runs: the same of every run.
      attribute: whose gap it is.
    """
    figure = Figure(figsize=(6.4, 4.4), layout="constrained")
    axes = figure.subplots()
    front = points[pareto(points)].sort_values("gap")
    axes.plot(front["gap"], front["accuracy"], color=_GREY, linewidth=1, linestyle="--", label="Pareto front", zorder=1)
    axes.scatter(runs["gap"], runs["accuracy"], s=6, color="#bbbbbb", label="single seeds", zorder=0)
    axes.scatter(points["gap"][1:], points["accuracy"][1:], s=28, color=PALETTE[0], label="methods", zorder=2)
    axes.scatter(
        points["gap"][:1], points["accuracy"][:1], s=60, color=PALETTE[5], marker="D", label="control", zorder=3
    )
    named = pd.concat([points.iloc[:1], front]).drop_duplicates("method")
    for row in named.itertuples():
        axes.annotate(str(row.method), (row.gap, row.accuracy), xytext=(4, 4), textcoords="offset points", fontsize=7)
    axes.set_xlabel(f"gap in accuracy between groups of {attribute} (less is fairer)", fontsize=8)
    axes.set_ylabel("accuracy", fontsize=8)
    axes.legend(frameon=False, fontsize=7, loc="best")
    clean(axes)
    return figure


def differences(table: pd.DataFrame, title: str) -> Figure:
    """Differences to the control with intervals; those that the corrected test shows are filled."""
    figure = Figure(figsize=(6.6, 0.2 * len(table) + 1.1), layout="constrained")
    axes = figure.subplots()
    at = np.arange(len(table))[::-1]
    value = table["difference"].to_numpy(float)
    span = np.abs(np.stack([value - table["lower"], table["upper"] - value]))
    axes.errorbar(value, at, xerr=np.nan_to_num(span), fmt="none", ecolor=_GREY, linewidth=0.9)
    shown = table["shown"].to_numpy(bool)
    axes.scatter(
        value, at, s=24, facecolors=[PALETTE[0] if s else "white" for s in shown], edgecolors=PALETTE[0], zorder=2
    )
    axes.axvline(0, color="#222222", linewidth=0.8)
    axes.set_yticks(at, table["method"], fontsize=7)
    axes.set_title(title, loc="left", fontsize=9)
    axes.set_xlabel("difference to the control; filled: shown after correction", fontsize=8)
    clean(axes)
    return figure


def levelling(table: pd.DataFrame, attribute: str) -> Figure:
    """Change of the worst group against change of the best: up and right lifts both, down and left lowers both."""
    figure = Figure(figsize=(5.2, 4.6), layout="constrained")
    axes = figure.subplots()
    reach = 1.15 * max(1e-3, float(np.nanmax(np.abs(table[["worst", "best"]].to_numpy(float)))))
    axes.axhline(0, color="#222222", linewidth=0.8)
    axes.axvline(0, color="#222222", linewidth=0.8)
    axes.plot([-reach, reach], [-reach, reach], color=_GREY, linewidth=0.8, linestyle="--")
    up = table["reading"].str.startswith("levelled up")
    down = table["reading"].str.startswith("levelled down")
    for k, (part, label) in enumerate(
        ((up, "levelled up"), (down, "levelled down"), (~(up | down), "gap widened or unchanged"))
    ):
        axes.scatter(table.loc[part, "best"], table.loc[part, "worst"], s=22, color=PALETTE[(2, 5, 7)[k]], label=label)
    axes.set_xlim(-reach, reach)
    axes.set_ylim(-reach, reach)
    axes.set_xlabel("change of the best group's accuracy", fontsize=8)
    axes.set_ylabel("change of the worst group's accuracy", fontsize=8)
    axes.set_title(f"By {attribute}; above the dashed line the gap closes", loc="left", fontsize=9)
    axes.legend(frameon=False, fontsize=7)
    clean(axes)
    return figure


def critical_difference(ranks: pd.Series, difference: float, title: str) -> Figure:
    """Mean ranks over seeds (Demsar 2006): methods within the bar's length of each other are not told apart.

    Args:
      ranks: of methods, 1 is best.
      difference: Nemenyi's.
      title: of the chart.
    """
    ranks = ranks.sort_values()
    figure = Figure(figsize=(6.4, 0.19 * len(ranks) + 1.2), layout="constrained")
    axes = figure.subplots()
    at = np.arange(len(ranks))[::-1]
    axes.scatter(ranks, at, s=20, color=PALETTE[0], zorder=2)
    if np.isfinite(difference):
        best = float(ranks.iloc[0])
        axes.axvspan(best, best + difference, color=PALETTE[4], alpha=0.25, label="not told apart from the best")
        axes.legend(frameon=False, fontsize=7, loc="lower left")
    axes.set_yticks(at, ranks.index, fontsize=7)
    axes.set_xlabel("mean rank over seeds (1 is best)", fontsize=8)
    axes.set_title(title, loc="left", fontsize=9)
    clean(axes)
    return figure


def heatmap(values: pd.DataFrame, counts: pd.DataFrame, title: str, fewest: int) -> Figure:
    """Accuracy of each cell with its n; cells of fewer than `fewest` images are dotted, those without are empty."""
    rows, columns = values.shape
    figure = Figure(figsize=(0.95 * columns + 2.6, 0.42 * rows + 1.1), layout="constrained")
    axes = figure.subplots()
    array, n = values.to_numpy(float), counts.to_numpy(float)
    shown = axes.imshow(array, cmap="cividis", vmin=0, vmax=1, aspect="auto")
    for (i, j), value in np.ndenumerate(array):
        if np.isfinite(value):
            colour = "black" if value > 0.5 else "white"
            axes.text(j, i, f"{value:.2f}\nn = {int(n[i, j]):,}", ha="center", va="center", fontsize=6.5, color=colour)
            if n[i, j] < fewest:
                box = Rectangle((j - 0.47, i - 0.46), 0.94, 0.92, fill=False, hatch="..", edgecolor=colour, alpha=0.35)
                axes.add_patch(box)
    axes.set_xticks(range(columns), [str(c) for c in values.columns], fontsize=8)
    axes.set_yticks(range(rows), [str(r) for r in values.index], fontsize=8)
    axes.set_title(title, loc="left", fontsize=9)
    figure.colorbar(shown, ax=axes, label="accuracy")
    return figure


def confusion(matrices: Mapping[str, np.ndarray], classes: Sequence[str]) -> Figure:
    """Row-normalised confusion matrices, a panel a group, with the number of images."""
    figure = Figure(figsize=(2.9 * len(matrices) + 0.8, 3.2), layout="constrained")
    grid = figure.subplots(1, len(matrices), squeeze=False)[0]
    first = next(iter(matrices))
    for axes, (group, counts) in zip(grid, matrices.items(), strict=True):
        total = counts.sum(1, keepdims=True)
        share = np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)
        axes.imshow(share, cmap="Blues", vmin=0, vmax=1)
        for (i, j), value in np.ndenumerate(share):
            if np.isfinite(value) and value >= 0.005:
                axes.text(
                    j,
                    i,
                    f"{100 * value:.0f}",
                    ha="center",
                    va="center",
                    fontsize=6,
                    color="white" if value > 0.5 else "black",
                )
        axes.set_xticks(range(len(classes)), classes, rotation=90, fontsize=6)
        axes.set_yticks(range(len(classes)), classes if group == first else [""] * len(classes), fontsize=6)
        axes.set_title(f"{group} ({int(counts.sum()):,} predictions)", fontsize=7)
    grid[0].set_ylabel("true", fontsize=8)
    figure.supxlabel("predicted; % of the true class", fontsize=8)
    return figure


def reliability(parts: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]]) -> Figure:
    """Accuracy against confidence of each group; the size of a dot is its number of predictions.

    Args:
      parts: of each group mean confidence, accuracy and n of each bin.
    """
    figure = Figure(figsize=(4.6, 4.2), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [0, 1], color=_GREY, linewidth=0.8, linestyle="--")
    most = max((float(n.max(initial=1)) for _, _, n in parts.values()), default=1.0)
    for k, (group, (confidence, accuracy, n)) in enumerate(parts.items()):
        there = n > 0
        colour = PALETTE[k % len(PALETTE)]
        axes.plot(confidence[there], accuracy[there], color=colour, linewidth=1.1, label=f"{group} ({int(n.sum()):,})")
        axes.scatter(confidence[there], accuracy[there], s=4 + 50 * n[there] / most, color=colour)
    axes.set_xlabel("confidence", fontsize=8)
    axes.set_ylabel("accuracy", fontsize=8)
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1)
    axes.legend(frameon=False, fontsize=7)
    clean(axes)
    return figure
