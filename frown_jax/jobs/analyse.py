"""What a trained grid shows: intervals, comparisons and selection, into its run directory."""

from __future__ import annotations

import pathlib

from ml_collections import ConfigDict

from frown_jax.data.cohort import parse as parse_counts
from frown_jax.data.load import validation_name
from frown_jax.jobs.job import Trained
from frown_jax.jobs.looks import settings_of
from frown_jax.metrics import draws, predictions_table
from frown_jax.report import files
from frown_jax.report.draws import render as render_draws
from frown_jax.runs.directory import RunDir
from frown_jax.training.grid import expand


def analyse(config: ConfigDict, trained: Trained, workdir: pathlib.Path) -> str:
    """Intervals, comparisons and selection of a trained grid, into its run directory; the text to print."""
    if config.cohort.by:
        return _over_draws(config, trained, RunDir(workdir))
    attributes = trained.data.attributes
    of_split = dict(list(trained.predictions.groupby("split", sort=False)))
    validation = of_split.get(validation_name(config.data))
    before = (
        None
        if validation is None or validation is of_split["test"]
        else predictions_table.outcomes(validation, attributes)
    )
    test = predictions_table.outcomes(of_split["test"], attributes)
    run, settings = RunDir(workdir), settings_of(config)
    return files.analyse_and_write(run, test, before, settings, trained.data.name, trained.results, "test")[1]


def _over_draws(config: ConfigDict, trained: Trained, run: RunDir) -> str:
    """The same for members that drew their subjects: values over draws, and training sets against each other."""
    by = config.cohort.by
    specs = {s.method: s.config.cohort for g in expand(config, run.points()) for t in g.specs for s in t.all}
    sizes = {m: [sum(parse_counts(c[k], k).values()) for k in ("test", "train")] for m, c in specs.items()}
    ratios = {m: tested / fitted for m, (tested, fitted) in sizes.items()}
    groups = list(dict.fromkeys(value for c in specs.values() for value in parse_counts(c.test, "test")))
    test = trained.predictions[trained.predictions["split"] == "test"]
    summary = draws.summary(trained.results[trained.results["split"] == "test"], ratios)
    contrasts = draws.contrasts(test, by, groups, ratios)
    run.write_csv("draws.csv", summary)
    run.write_csv("contrasts.csv", contrasts)
    training = {m: tuple(c.train) for m, c in specs.items()}
    shown = render_draws(summary, contrasts, by, groups, trained.data.name, training, len(config.seeds))
    run.write_text("table.txt", shown)
    return shown
