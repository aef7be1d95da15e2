"""Pictures of explanations: galleries in the manner of the second study's Figures 9 and 10, mean maps, bars."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure

from frown_jax.explain.explainer import Explainer
from frown_jax.explain.measure import (
    FN,
    FP,
    TN,
    TP,
    MeanMaps,
    Shown,
    head_groups,
)
from frown_jax.explain.regions import alignment
from frown_jax.report.style import clean

# Signed colours: for is red, against is blue, as in the study; and a pair that colour-blind readers tell apart.
COLOURS = {
    "bwr": LinearSegmentedColormap.from_list("bwr", ["#0000ff", "#ffffff", "#ff0000"]),
    "orange_purple": LinearSegmentedColormap.from_list("op", ["#40004b", "#ffffff", "#b35806"]),
}
_CLIP = 99.5  # percentile of |R| that gets the strongest colour
_OUTLINE = "#111111"
_BARS = ("mass", "face", "hair", "background")


@dataclasses.dataclass(frozen=True)
class Case:
    """One picture of a gallery: who is explained, and why it was chosen."""

    method: str
    group: str
    target: str
    outcome: str
    choice: str  # best, median, worst
    row: pd.Series


def choose(table: pd.DataFrame, attribute: str, method: str, target: str, measure: str = "normalised") -> list[Case]:
    """Pictures by rule: of each group, the true positives with the lowest, median and highest measure; of the other
    outcomes the median. Never by eye; ties go to the first image and member.
    """
    found = []
    own = table[(table["method"] == method) & (table["target"] == target) & np.isfinite(table[measure])]
    for group, part in own.groupby(attribute, sort=True):
        for outcome in (TP, FP, FN, TN):
            chosen = part[part["outcome"] == outcome].sort_values([measure, "image", "member"], kind="stable")
            if chosen.empty:
                continue
            places = {"median": (len(chosen) - 1) // 2}
            if outcome == TP:
                places = {"highest": len(chosen) - 1, "median": (len(chosen) - 1) // 2, "lowest": 0}
            for choice, i in places.items():
                found.append(Case(method, str(group), target, outcome, choice, chosen.iloc[i]))
    return found


def likely_target(table: pd.DataFrame) -> str:
    """The class with the most true positives whose region is known; '' if there is none."""
    shown = table.loc[(table["outcome"] == TP) & np.isfinite(table["normalised"]), "target"]
    return str(shown.value_counts().idxmax()) if len(shown) else ""


def maps_of(explainers: Sequence[Explainer], shown: Shown, cases: Sequence[Case]) -> list[np.ndarray]:
    """The map of each case, [H, W]; `explainers` keep maps."""
    out = []
    turned = alignment(shown.regions.points)
    for case in cases:
        row = np.array([int(case.row["image"])])
        for e in explainers:
            members = [s.member for s in e.networks.specs]
            if int(case.row["member"]) in members:
                i = members.index(int(case.row["member"]))
                groups = head_groups(e.networks.specs[i].config.mitigation, shown.data)[row]
                found = e([i], shown.data.images[row], shown.regions.masks(row), groups, turned[row])
                out.append(found.maps[0, shown.data.classes.index(case.target), 0])
                break
    return out


def _bare(axes) -> None:
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_visible(False)


def _outlined(axes, mask: np.ndarray) -> None:
    side = mask.shape[0]
    at = (np.arange(side) + 0.5) / side
    if mask.any() and not mask.all():
        axes.contour(at, at, mask.astype(float), levels=[0.5], colors=_OUTLINE, linewidths=0.9)


def gallery(
    shown: Shown, cases: Sequence[Case], maps: Sequence[np.ndarray], title: str, colours: str = "bwr"
) -> Figure:
    """A column a case: image, signed map, map over the grey image with the region outlined, bars.

    One colour scale for the whole gallery, so that maps can be compared: the median over cases of the 99.5th percentile
    of |R|. Its end is printed; single maps beyond it are cut.
    """
    scale = float(np.median([np.percentile(np.abs(m), _CLIP) for m in maps])) or 1.0
    figure = Figure(figsize=(1.3 * len(cases) + 0.9, 6.1), layout="constrained")
    grid = figure.subplots(4, len(cases), squeeze=False, height_ratios=(1, 1, 1, 0.75)).T
    signed = {"cmap": COLOURS[colours], "vmin": -scale, "vmax": scale, "extent": (0, 1, 1, 0)}
    grey_scale = {"cmap": "gray", "vmin": 0, "vmax": 1, "extent": (0, 1, 1, 0)}
    for column, (axes, case, found) in enumerate(zip(grid, cases, maps, strict=True)):
        place = int(case.row["image"])
        image = shown.data.images[place]
        mask = shown.regions.masks(np.array([place]))[0, shown.data.classes.index(case.target)]
        grey = image.astype(np.float32).mean(-1) / 255
        axes[0].imshow(image, extent=(0, 1, 1, 0), interpolation="bilinear")
        axes[1].imshow(found, interpolation="nearest", **signed)
        axes[2].imshow(0.25 + 0.65 * grey, interpolation="bilinear", **grey_scale)
        axes[2].imshow(found, alpha=np.clip(np.abs(found) / scale, 0, 1), interpolation="bilinear", **signed)
        for a in axes[1:3]:
            _outlined(a, mask)
        for a in axes[:3]:
            _bare(a)
        values = [float(case.row[name]) for name in _BARS]
        axes[3].barh(range(len(_BARS)), np.nan_to_num(values), color=["#b35806"] + 3 * ["#888888"], height=0.65)
        axes[3].set_yticks(
            range(len(_BARS)), ["its region", *_BARS[1:]] if column == 0 else [""] * len(_BARS), fontsize=7
        )
        axes[3].invert_yaxis()
        axes[3].set_xlim(0, 1)
        axes[3].set_xticks([0, 1])
        axes[3].tick_params(axis="x", labelsize=6)
        clean(axes[3])
        axes[0].set_title(f"{case.group}\n{case.outcome}, {case.choice}", fontsize=7)
        axes[3].set_title(f"p = {case.row['probability']:.2f}\n{case.row['normalised']:.1f} x uniform", fontsize=6)
    for axes, name in zip(grid[0][:3], ("image", "relevance", "over the image"), strict=True):
        axes.set_ylabel(name, fontsize=8)
    pro, contra = ("red", "blue") if colours == "bwr" else ("orange", "purple")
    explained = (
        f"{pro} speaks for, {contra} against; full colour from |R| = {scale:.2g}; bars: shares of what speaks for"
    )
    figure.suptitle(f"{title}\n{explained}", fontsize=9)
    return figure


def mean_figure(
    maps: MeanMaps, face: np.ndarray, groups: dict[str, np.ndarray], target: int, name: str, colours: str = "bwr"
) -> Figure:
    """Mean maps of two groups' true positives in the aligned frame, a row a method, and their difference.

    Args:
      maps: of `measure`.
      face: float [S, S], a mean grey face in the same frame.
      groups: name of each of two groups and its blocks, bool.
      target: class.
      name: of it.
      colours: of the difference. It is shown where it is more than two standard errors (over subjects).
    """
    (a, inside_a), (b, inside_b) = groups.items()
    figure = Figure(figsize=(7.6, 2.35 * len(maps.methods) + 0.6), layout="constrained")
    grid = figure.subplots(len(maps.methods), 3, squeeze=False)
    extent = (0, 1, 1, 0)
    means = [[maps.means(m, inside) for inside in (inside_a, inside_b)] for m in maps.methods]
    every = np.array([pair[i][0][target] for pair in means for i in (0, 1)])
    top = float(np.nanpercentile(every, _CLIP)) if np.isfinite(every).any() else 1.0
    gaps = np.array([pair[0][0][target] - pair[1][0][target] for pair in means])
    reach = float(np.nanpercentile(np.abs(gaps), _CLIP)) if np.isfinite(gaps).any() else 1.0
    counts = [
        [int(((maps.counts[i][:, target] > 0) & inside).sum()) for inside in (inside_a, inside_b)]
        for i in range(len(maps.methods))
    ]
    for axes, method, pair, gap, n in zip(grid, maps.methods, means, gaps, counts, strict=True):
        for k, group in enumerate((a, b)):
            axes[k].imshow(face, cmap="gray", vmin=0, vmax=1, extent=extent, interpolation="bilinear")
            shown = np.nan_to_num(pair[k][0][target])
            axes[k].imshow(
                shown,
                cmap="Reds",
                vmin=0,
                vmax=top,
                alpha=np.clip(shown / top, 0, 1) * 0.9,
                extent=extent,
                interpolation="bilinear",
            )
            axes[k].set_title(f"{group} (n = {n[k]})", fontsize=8)
        error = np.sqrt(pair[0][1][target] ** 2 + pair[1][1][target] ** 2)
        with np.errstate(invalid="ignore"):
            sure = np.nan_to_num(np.abs(gap) > 2 * error)
        axes[2].imshow(face, cmap="gray", vmin=0, vmax=1, extent=extent, interpolation="bilinear")
        axes[2].imshow(
            np.nan_to_num(gap), cmap=COLOURS[colours], vmin=-reach, vmax=reach, alpha=0.9 * sure, extent=extent
        )
        axes[2].set_title(f"{a} minus {b}, above 2 s.e.", fontsize=8)
        axes[0].set_ylabel(method, fontsize=9)
        for one in axes:
            _bare(one)
    figure.suptitle(f"{name}: mean maps of true positives, aligned; shares of positive relevance", fontsize=9)
    return figure


def bars(levels: pd.DataFrame, attribute: str, groups: Sequence[str], measure: str = "normalised") -> Figure:
    """The measure of each class and group, with intervals; a panel a method. 1 is what a uniform map gives."""
    own = levels[(levels["attribute"] == attribute) & (levels["measure"] == measure)]
    methods, targets = list(dict.fromkeys(levels["method"])), list(dict.fromkeys(levels["target"]))
    figure = Figure(figsize=(max(6.0, 0.55 * len(targets) + 1.5), 2.3 * len(methods) + 0.4), layout="constrained")
    grid = figure.subplots(len(methods), 1, squeeze=False, sharex=True)[:, 0]
    shades = ["#1b5e9b", "#d98c1f", "#5c8a3a", "#7a5195", "#888888", "#b03a48"]
    for axes, method in zip(grid, methods, strict=True):
        for j, group in enumerate(groups):
            part = own[(own["method"] == method) & (own["group"] == group)].set_index("target").reindex(targets)
            at = np.arange(len(targets)) + (j - (len(groups) - 1) / 2) * 0.8 / len(groups)
            value = part["value"].to_numpy(float)
            low, high = (part[c].to_numpy(float) for c in ("lower", "upper"))
            axes.bar(at, np.nan_to_num(value), 0.75 / len(groups), color=shades[j % len(shades)], label=group)
            span = np.abs(np.stack([value - low, high - value]))
            axes.errorbar(at, value, yerr=np.nan_to_num(span), fmt="none", ecolor="#222222", elinewidth=0.8)
        axes.axhline(1, color="#222222", linewidth=0.8, linestyle="--")
        axes.set_title(method, loc="left", fontsize=9)
        axes.set_ylabel("x uniform" if measure == "normalised" else measure, fontsize=8)
        clean(axes)
    grid[-1].set_xticks(range(len(targets)), targets, rotation=90, fontsize=8)
    grid[0].legend(frameon=False, fontsize=8, ncols=len(groups))
    figure.suptitle("Relevance inside each unit's region (true positives), with intervals over subjects", fontsize=9)
    return figure


def matrix(specificity: pd.DataFrame, targets: Sequence[str]) -> Figure:
    """Share of a class' relevance in each class' region, over what a uniform map gives there."""
    figure = Figure(figsize=(0.34 * len(targets) + 2.0, 0.34 * len(targets) + 1.4), layout="constrained")
    axes = figure.subplots()
    square = specificity.pivot_table(index="target", columns="region", values="normalised", aggfunc="mean")
    square = square.reindex(index=list(targets), columns=list(targets))
    shown = axes.imshow(square, cmap="viridis", vmin=0)
    axes.set_xticks(range(len(targets)), targets, rotation=90, fontsize=7)
    axes.set_yticks(range(len(targets)), targets, fontsize=7)
    axes.set_xlabel("region of", fontsize=8)
    axes.set_ylabel("map of", fontsize=8)
    figure.colorbar(shown, ax=axes, label="x uniform", shrink=0.8)
    axes.set_title("Specificity: does a unit's map lie in its own region?", fontsize=9)
    return figure
