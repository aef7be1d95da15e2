"""The host side of training: data in, compile groups one after another, checkpoints, predictions, results."""

from __future__ import annotations

import dataclasses
import pathlib
import time
from collections.abc import Sequence

import jax
import pandas as pd
from absl import logging
from ml_collections import ConfigDict

from frown_jax import members
from frown_jax.cohort import parse as parse_counts
from frown_jax.data.dataset import Dataset
from frown_jax.data.load import load, validation_name
from frown_jax.group_trainer import GroupTrainer, Initial, weights_of_file
from frown_jax.metrics import draws, read, table
from frown_jax.report import files, occurrences
from frown_jax.report.draws import render as render_draws
from frown_jax.rundir import RunDir, versions
from frown_jax.training_set import TrainingSet
from frown_jax.watch import Watcher

_CALLS_PER_EPOCH_ON_CPU = 6  # an epoch is one call on accelerators; on CPU the bar should move


@dataclasses.dataclass(frozen=True)
class Trained:
    """What a run leaves in memory."""

    predictions: pd.DataFrame
    results: pd.DataFrame
    data: Dataset


def _programs(groups: list[members.Group], run: RunDir, data: Dataset, initial: Initial) -> list[members.Group]:
    """The groups, cut to what the devices hold. A run that goes on keeps its cuts."""
    programs = run.read_programs()
    if programs is not None:
        return members.regroup(groups, programs)
    out = []
    for index, group in enumerate(groups):
        if group.config.members_per_device != "auto":
            most = int(group.config.members_per_device) * jax.local_device_count()
        else:
            capacity = GroupTrainer(index, group, run, data, initial).capacity()
            logging.info("memory: %s", capacity)
            most = capacity.members
        parts = members.split(group, most)
        if len(parts) > 1:
            logging.info("%d members train in %d programs, one after another", len(group.specs), len(parts))
        out += parts
    run.write_json("programs.json", [[s.member for s in g.specs] for g in out])
    return out


def train(
    config: ConfigDict,
    points: list[dict],
    workdir: pathlib.Path,
    overrides: dict | None = None,
    initial: Initial = weights_of_file,
    watchers: Sequence[Watcher] = (),
) -> Trained:
    """Trains the grid `points` x `config.seeds` and leaves a run directory. Continues one that was interrupted.

    Args:
      config: validated.
      points: of the grid; [{}] for the config alone.
      workdir: the run directory.
      overrides: the command line's, kept for the record.
      initial: the weights that networks begin with.
      watchers: are told of every epoch.

    Raises:
      ConfigError, DataError: before any training, with one clear message.
    """
    groups = members.expand(config, points)
    run = RunDir.create(workdir, config, points, overrides or {})
    logging.info("run directory: %s", workdir)
    began = time.monotonic()
    data = load(config.data, config.model.image_size)
    run.write_text("data_report.txt", "".join(f"{note}\n" for note in data.notes))
    for note in data.notes[:10]:
        logging.warning("%s", note)
    if len(data.notes) > 10:
        logging.warning("... %d more notes in %s", len(data.notes) - 10, workdir / "data_report.txt")
    sizes = data.table["split"].value_counts()
    parts = ", ".join(f"{sizes[s]:,} {s}" for s in ("train", "val", "test") if s in sizes)
    logging.info("data: %s (%s), %d x %d pixels", data.name, parts, *data.images.shape[1:3])
    described = {
        "classes": data.classes,
        "attributes": data.attributes,
        "image_side": data.images.shape[1],
        "multilabel": data.multilabel,
    }
    if data.occurrences is not None:
        occurrences.report(run, data.occurrences, 0 if config.data.aus else config.data.min_occurrences)
    run.write_json("data.json", {"name": data.name, "fingerprint": data.fingerprint, **described})
    run.write_json("versions.json", versions())
    run.add_time(data_seconds=time.monotonic() - began)

    members.check(groups, *(TrainingSet.of(data.split(s)) for s in ("train", validation_name(config.data))))
    splits = ("val", "test") if config.cohort.by else tuple(dict.fromkeys((validation_name(config.data), "test")))
    predictions, summaries = [], []
    trainings = [s for g in groups for s in g.specs]
    count = sum(len(s.all) for s in trainings)
    shared = f" in {len(trainings)} trainings" if count > len(trainings) else ""
    logging.info("%d members%s share %d program%s", count, shared, len(groups), "s" * (len(groups) > 1))
    run.watch(watchers)
    for index, group in enumerate(_programs(groups, run, data, initial)):
        trainer = GroupTrainer(index, group, run, data, initial)
        state = trainer.train()
        predictions.append(trainer.predict(state, data, splits))
        summaries.append(trainer.summary(state))
    for watcher in watchers:
        watcher.close()
    frame = pd.concat(predictions, ignore_index=True)
    if frame.empty:
        raise FloatingPointError(f"no member finished an epoch; see {workdir / 'metrics.jsonl'}")
    results = table.results(frame, data.attributes)
    run.write_csv("members.csv", pd.concat(summaries, ignore_index=True))
    run.write_parquet("predictions.parquet", frame)
    run.write_csv("results.csv", results)
    return Trained(frame, results, data)


def analyse(config: ConfigDict, trained: Trained, workdir: pathlib.Path) -> str:
    """Intervals, comparisons and selection of a trained grid, into its run directory; the text to print."""
    if config.cohort.by:
        return _over_draws(config, trained, RunDir(workdir))
    attributes = trained.data.attributes
    of_split = dict(list(trained.predictions.groupby("split", sort=False)))
    validation = of_split.get(validation_name(config.data))
    before = None if validation is None or validation is of_split["test"] else read.outcomes(validation, attributes)
    test = read.outcomes(of_split["test"], attributes)
    return files.analyse_and_write(RunDir(workdir), test, before, None, trained.data.name, trained.results, "test")[1]


def _over_draws(config: ConfigDict, trained: Trained, run: RunDir) -> str:
    """The same for members that drew their subjects: values over draws, and training sets against each other."""
    by = config.cohort.by
    specs = {s.method: s.config.cohort for g in members.expand(config, run.points()) for t in g.specs for s in t.all}
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
