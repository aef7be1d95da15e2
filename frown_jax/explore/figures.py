"""Figures of a data set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from frown_jax.data.dataset import Dataset
from frown_jax.report.style import PALETTE, clean


def bars(counts: pd.DataFrame, title: str) -> Figure:
    """Counts and percentages of one variable's values, split by split."""
    splits = [c for c in counts.columns if c.startswith("n_")]
    figure = Figure(figsize=(max(4.0, 0.8 * len(counts) + 1.5), 3.1), layout="constrained")
    axes = figure.subplots()
    base = np.zeros(len(counts))
    for k, split in enumerate(splits):
        axes.bar(counts["value"], counts[split], bottom=base, color=PALETTE[k], label=split[2:])
        base += counts[split].to_numpy()
    for i, (n, percent) in enumerate(zip(counts["n"], counts["percent"], strict=True)):
        axes.annotate(f"{n:,}\n{percent:.1f} %", (i, n), ha="center", va="bottom", fontsize=7)
    axes.set_ylabel("images")
    axes.margins(y=0.18)
    axes.tick_params(axis="x", labelrotation=20 if len(counts) > 4 else 0, labelsize=8)
    if len(splits) > 1:
        axes.legend(frameon=False, fontsize=8)
    axes.set_title(title, loc="left", fontsize=10)
    clean(axes)
    return figure


def conditional(percent: pd.DataFrame, of: str, given: str) -> Figure:
    """Grouped bars of a conditional distribution; n of each group beside its name."""
    shown = percent.drop(columns="n")
    rows, columns = shown.shape
    figure = Figure(figsize=(max(5.0, 0.16 * rows * columns + 2.0), 3.1), layout="constrained")
    axes = figure.subplots()
    width = 0.84 / columns
    for k, name in enumerate(shown.columns):
        at = np.arange(rows) + (k - (columns - 1) / 2) * width
        axes.bar(at, shown[name].fillna(0), width * 0.92, color=PALETTE[k % len(PALETTE)], label=str(name))
    names = [f"{index}\n(n = {n:,})" for index, n in zip(percent.index, percent["n"], strict=True)]
    axes.set_xticks(range(rows), names, fontsize=8)
    axes.set_ylabel("%")
    axes.set_title(f"{of} within each {given}", loc="left", fontsize=10)
    axes.legend(frameon=False, fontsize=7, ncols=min(columns, 4), loc="upper right")
    axes.margins(y=0.25)
    clean(axes)
    return figure


def heatmap(values: pd.DataFrame, title: str, unit: str, fmt: str = "{:.0f}") -> Figure:
    """A table as colours with its numbers; what is not defined is empty."""
    rows, columns = values.shape
    figure = Figure(figsize=(0.55 * columns + 2.2, 0.34 * rows + 1.3), layout="constrained")
    axes = figure.subplots()
    array = values.to_numpy(np.float64)
    shown = axes.imshow(array, cmap="cividis", aspect="auto")
    middle = np.nanmean([np.nanmin(array), np.nanmax(array)]) if np.isfinite(array).any() else 0.0
    for (i, j), value in np.ndenumerate(array):
        if np.isfinite(value):
            axes.text(
                j,
                i,
                fmt.format(value),
                ha="center",
                va="center",
                fontsize=7,
                color="black" if value > middle else "white",
            )
    axes.set_xticks(range(columns), [str(c) for c in values.columns], rotation=45, ha="right", fontsize=7)
    axes.set_yticks(range(rows), [str(i) for i in values.index], fontsize=7)
    axes.set_title(title, loc="left", fontsize=10)
    figure.colorbar(shown, ax=axes, label=unit)
    return figure


def strengths(table: pd.DataFrame) -> Figure:
    """Cramer's V of each pair, with its interval."""
    figure = Figure(figsize=(6.2, 0.3 * len(table) + 1.1), layout="constrained")
    axes = figure.subplots()
    at = np.arange(len(table))[::-1]
    value = table["cramers_v"].to_numpy(float)
    span = np.abs(np.stack([value - table["lower"], table["upper"] - value]))
    axes.errorbar(value, at, xerr=np.nan_to_num(span), fmt="o", color=PALETTE[0], ecolor="#777777", markersize=4)
    axes.set_yticks(at, [f"{a} and {b}" for a, b in zip(table["a"], table["b"], strict=True)], fontsize=8)
    axes.set_xlim(left=0)
    axes.set_xlabel("Cramer's V (0: independent, 1: one tells the other)", fontsize=8)
    axes.set_title("How strongly variables go together", loc="left", fontsize=10)
    clean(axes)
    return figure


def histograms(pixels: pd.DataFrame, groups: Mapping[str, np.ndarray], title: str) -> Figure:
    """Mean and standard deviation of pixels, before and after preprocessing; a line a group."""
    figure = Figure(figsize=(8.0, 4.6), layout="constrained")
    grid = figure.subplots(2, 2)
    names = {
        "mean": "mean of an image",
        "sd": "standard deviation of an image",
        "mean_normalised": "mean, as the network sees it",
        "sd_normalised": "standard deviation, as the network sees it",
    }
    for axes, (column, label) in zip(grid.ravel(), names.items(), strict=True):
        edges = np.histogram_bin_edges(pixels[column], 30)
        for k, (group, inside) in enumerate(groups.items()):
            values = pixels.loc[inside, column]
            style = {"color": PALETTE[k % len(PALETTE)], "linewidth": 1.4}
            axes.hist(values, edges, density=True, histtype="step", label=f"{group} ({len(values):,})", **style)
        axes.set_xlabel(label, fontsize=8)
        axes.set_yticks([])
        clean(axes)
    grid[0, 0].legend(frameon=False, fontsize=7)
    figure.suptitle(title, fontsize=10)
    return figure


def samples(data: Dataset, rows: Sequence[int], captions: Sequence[str], columns: int = 8) -> Figure:
    """Images with their labels."""
    lines = -(-len(rows) // columns)
    figure = Figure(figsize=(1.25 * columns, 1.62 * lines + 0.2), layout="constrained")
    grid = figure.subplots(lines, columns, squeeze=False)
    for axes in grid.ravel():
        axes.set_axis_off()
    for axes, row, caption in zip(grid.ravel(), rows, captions, strict=False):
        axes.imshow(data.images[row], interpolation="bilinear")
        axes.set_title(caption, fontsize=6)
    return figure
