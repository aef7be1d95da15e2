"""Seeds until the answer is known: what a run looks at between them, and which methods get more."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
from absl import logging
from ml_collections import ConfigDict

from frown_jax.data.dataset import Dataset
from frown_jax.metrics import predictions_table
from frown_jax.metrics.analysis import AnalysisSettings, seen_so_far
from frown_jax.metrics.looks import Looks, schedule
from frown_jax.metrics.verdicts import VERDICTS
from frown_jax.runs.directory import RunDir
from frown_jax.training.grid import Program, seeds_of


def wanted(config: ConfigDict, grid: Sequence[Program], begun: Sequence[dict]) -> set[int]:
    """The trainings of a grid that are due, by member number: all of a run with a fixed number of seeds.

    Args:
      config: of the run.
      grid: its programs.
      begun: looks after the first, see RunDir.read_looks.
    """
    trainings = [spec for program in grid for spec in program.specs]
    if not config.seeds_until:
        return {spec.member for spec in trainings}
    place = {seed: i for i, seed in enumerate(seeds_of(config))}
    before = len(config.seeds)
    out = {spec.member for spec in trainings if place[spec.seed] < before}
    for look in begun:
        more = range(before, look["seeds"])
        due = [s for s in trainings if place[s.seed] in more and {r.method for r in s.all} & set(look["methods"])]
        out |= {spec.member for spec in due}
        before = look["seeds"]
    return out


def settings_of(config: ConfigDict) -> AnalysisSettings:
    """How a run's predictions are analysed."""
    seeds = Looks(seeds_of(config), schedule(config.seeds_until, len(config.seeds))) if config.seeds_until else None
    return AnalysisSettings(margin=config.verdicts.margin, primary=tuple(config.verdicts.primary), looks=seeds)


def look(config: ConfigDict, run: RunDir, data: Dataset, predictions: Sequence[pd.DataFrame]) -> dict | None:
    """Looks at what programs have predicted; who gets how many seeds by the next look, None if nobody does."""
    begun = run.read_looks()
    now = begun[-1]["seeds"] if begun else len(config.seeds)
    if now >= config.seeds_until:
        return None
    frame = pd.concat(predictions, ignore_index=True)
    test = frame[frame["split"] == "test"].sort_values("member", kind="stable")
    outcomes, settings = predictions_table.outcomes(test, data.attributes), settings_of(config)
    control = str(outcomes.runs["method"].iloc[0])
    found = seen_so_far(outcomes, control, settings)
    open_ = found.groupby("method", sort=False)["settled"].all()
    going = [str(method) for method, is_settled in open_.items() if not is_settled]
    counts = found["verdict"].value_counts()
    told = ", ".join(f"{counts.get(v, 0)} {v}" for v in VERDICTS)
    logging.info("after %d seeds: %s; %d of %d methods get more", now, told, len(going), len(open_))
    if not going:
        return None
    assert settings.looks is not None
    later = [c for c in settings.looks.counts if c > now]
    return {"seeds": later[0], "methods": [control, *going]}
