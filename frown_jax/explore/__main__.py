"""What a data set holds: counts, conditional distributions, subgroups, association, pixels, samples.

  python -m frown_jax.explore --data=faces
  python -m frown_jax.explore --data=rafdb:DIR
  python -m frown_jax.explore --config=configs/au_gender.py
  python -m frown_jax.explore --config=configs/baseline.py:manifest --config.data.dir=DIR --out=exploration

Leaves a folder: every figure as PNG and SVG, the CSV behind each, and index.html, one page that shows them offline.
"""

from __future__ import annotations

import itertools
import pathlib

import numpy as np
from absl import flags, logging
from ml_collections import ConfigDict, config_flags

from frown_jax import config as configs
from frown_jax import config_check
from frown_jax.cli import common
from frown_jax.config import DATA
from frown_jax.data.dataset import Dataset, au_columns
from frown_jax.data.load import load
from frown_jax.explore import counts, figures
from frown_jax.report.folder import Folder

_CONFIG = config_flags.DEFINE_config_file("config", None, "Config file, and its argument after a colon.")
_DATA = flags.DEFINE_string("data", "", "In place of a config: faces, rafdb:DIR, ckplus:DIR, manifest:DIR, ...")
_OUT = flags.DEFINE_string("out", "", "Folder of the results; by default explorations/DATA-FINGERPRINT.")
_SAMPLES = flags.DEFINE_integer("samples", 40, "Images shown.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Of the samples and the resamples.")
_RESAMPLES = flags.DEFINE_integer("resamples", 500, "Of the intervals of Cramer's V.", lower_bound=2)


def _config() -> ConfigDict:
    if bool(_DATA.value) == (_CONFIG.value is not None):
        common.fail("give either --data=NAME[:DIR] or --config=FILE (--help tells more)")
    if _CONFIG.value is not None:
        config_check.validate(_CONFIG.value)
        return _CONFIG.value
    c = configs.default()
    c.data.name, _, c.data.dir = _DATA.value.partition(":")
    if c.data.name not in DATA:
        common.fail(f"--data={_DATA.value}: it begins with one of {', '.join(DATA)}, then ':' and the folder")
    if c.data.name in ("face_sequences", "actor_study", "combined"):
        c.data.target, c.data.min_occurrences = "aus", 0
    return c


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
        out.run.write_csv("published.csv", expected)
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
        out.run.write_csv(f"{name}.csv", percent.rename_axis(given).reset_index())
        out.picture(section, name, figures.conditional(percent, of, given), f"{of} within each {given}")
    if not len(au_columns(data.table)):
        return
    for given in known:
        rates = counts.unit_rates(data, given, known)
        name = f"units-given-{given}"
        out.run.write_csv(f"{name}.csv", rates.rename_axis(given).reset_index())
        figure = figures.heatmap(rates, f"Action Units within each {given}", "% of images")
        out.picture(section, name, figure, f"Share of images that show each Action Unit, by {given}")


def _pixels(data: Dataset, out: Folder) -> None:
    section = "Pixels"
    table = counts.pixels(data)
    out.run.write_csv("pixels.csv", table)
    everybody = {"all": np.ones(len(data), bool)}
    figure = figures.histograms(table, everybody, "Pixels before and after preprocessing")
    out.picture(section, "pixels", figure, "Mean and standard deviation of pixels, before and after preprocessing")
    for attribute, vocabulary in data.attributes.items():
        inside = {g: (data.table[attribute] == g).to_numpy() for g in vocabulary}
        inside = {g: rows for g, rows in inside.items() if rows.any()}
        figure = figures.histograms(table, inside, f"Pixels by {attribute}")
        out.picture(section, f"pixels-{attribute}", figure, f"The same by {attribute}")


def _main(_: list[str]) -> None:
    config = _config()
    data = load(config.data, config.model.image_size)
    path = pathlib.Path(_OUT.value) if _OUT.value else pathlib.Path("explorations") / f"{data.name}-{data.fingerprint}"
    page = explore(data, Folder(path, f"What {data.name} holds"), _SAMPLES.value, _RESAMPLES.value, _SEED.value)
    logging.info("%s and the tables behind it are written", page)


def main() -> None:
    """Entry point."""
    common.run(_main, __doc__ or "")


if __name__ == "__main__":
    main()
