"""Everything that is told of a data set, into one folder."""

from __future__ import annotations

import itertools
import pathlib

import numpy as np

from frown_jax.data.dataset import Dataset, au_columns
from frown_jax.explore import counts, figures
from frown_jax.report.folder import Folder


def _drawn(data: Dataset, count: int, seed: int) -> tuple[list[int], list[str]]:
    """Rows and captions of sample images: classes in turn, at random within each."""
    order = np.random.default_rng(seed).permutation(len(data))
    if not data.multilabel and "emotion" in data.table:
        turn = data.table.iloc[order].groupby("emotion", sort=False).cumcount().to_numpy()
        order = order[np.lexsort([data.labels[order], turn])]
    rows = [int(r) for r in order[:count]]
    captions = []
    for row in rows:
        record = data.table.iloc[row]
        shown = [str(record[a]) for a in data.attributes if record[a] is not None]
        first = str(record["emotion"]) if not data.multilabel else " ".join(u for u in data.classes if record[u] == 1)
        captions.append(
            "\n".join([first or "no unit", *[", ".join(shown[i : i + 2]) for i in range(0, len(shown), 2)]])
        )
    return rows, captions


def explore(data: Dataset, out: Folder, shown: int, resamples: int, seed: int) -> pathlib.Path:
    """Writes everything.

    Args:
      data: with images.
      out: folder.
      shown: sample images.
      resamples: of intervals.
      seed: of samples and resamples.

    Returns:
      The page.
    """
    known = counts.variables(data)
    section = "Values"
    for note in data.notes:
        out.say(section, note)
    everything = counts.values(data, known)
    out.table(section, "values", everything)
    for name in known:
        own = everything[everything["variable"] == name]
        out.picture(section, f"values-{name}", figures.bars(own, name), f"{name}: images of each value")
    units = counts.units(data)
    if len(units):
        out.table(section, "units", units)
    out.picture("Samples", "samples", figures.samples(data, *_drawn(data, shown, seed)), "Images with their labels")
    _together(data, out, known, resamples, seed)
    groups = counts.subgroups(data)
    section = "Subgroups"
    missing, tiny = int((groups["n"] == 0).sum()), int(((groups["n"] > 0) & (groups["n"] < counts.TINY)).sum())
    out.say(
        section,
        f"{len(groups):,} cells of {', '.join(c for c in groups.columns if c not in ('n', 'note'))}: {missing:,} have "
        f"no image, {tiny:,} fewer than {counts.TINY}: too few to say anything about a group.",
    )
    out.table(section, "subgroups", groups)
    if {"race", "gender", "age"} <= set(data.attributes):
        wide = groups.groupby(["race", "gender", "age"], sort=False)["n"].sum().unstack("age")
        wide.index = [f"{r}, {g}" for r, g in wide.index]
        out.picture(section, "cells", figures.heatmap(wide, "Images of each cell", "images"), "Images of each cell")
    expected = counts.published(data)
    if len(expected):
        off = expected[expected["published"] != expected["here"]]
        out.say("Published counts", f"{len(expected) - len(off)} of {len(expected)} published counts are met.")
        out.csv("published", expected)
        if len(off):
            out.show("Published counts", off)
    _pixels(data, out)
    return out.finish()


def _together(data: Dataset, out: Folder, known: dict[str, tuple[str, ...]], resamples: int, seed: int) -> None:
    section = "Which go together"
    if len(known) > 1:
        table = counts.associations(data, known, resamples, seed=seed)
        out.table(section, "associations", table)
        out.picture(section, "associations", figures.strengths(table), "Cramer's V of every pair, with its interval")
    for of, given in itertools.permutations(known, 2):
        percent = counts.conditional(data, of, given, known)
        name = f"{of}-given-{given}"
        out.csv(name, percent.rename_axis(given).reset_index())
        out.picture(section, name, figures.conditional(percent, of, given), f"{of} within each {given}")
    if not len(au_columns(data.table)):
        return
    for given in known:
        rates = counts.unit_rates(data, given, known)
        name = f"units-given-{given}"
        out.csv(name, rates.rename_axis(given).reset_index())
        figure = figures.heatmap(rates, f"Action Units within each {given}", "% of images")
        out.picture(section, name, figure, f"Share of images that show each Action Unit, by {given}")


def _pixels(data: Dataset, out: Folder) -> None:
    section = "Pixels"
    table = counts.pixels(data)
    out.csv("pixels", table)
    everybody = {"all": np.ones(len(data), bool)}
    figure = figures.histograms(table, everybody, "Pixels before and after preprocessing")
    out.picture(section, "pixels", figure, "Mean and standard deviation of pixels, before and after preprocessing")
    for attribute, vocabulary in data.attributes.items():
        inside = {g: (data.table[attribute] == g).to_numpy() for g in vocabulary}
        inside = {g: rows for g, rows in inside.items() if rows.any()}
        figure = figures.histograms(table, inside, f"Pixels by {attribute}")
        out.picture(section, f"pixels-{attribute}", figure, f"The same by {attribute}")
