"""Evaluates the checkpoints of a run on its own or on other data.

  python -m frown_jax.evaluate --run=runs/baseline-faces-0a1b2c3d
  python -m frown_jax.evaluate --run=... --split=val
  python -m frown_jax.evaluate --run=... --data=rafdb:DIR
  python -m frown_jax.evaluate --run=... --data=manifest:DIR

Prints the analysis with its intervals and leaves it, with predictions.parquet, in RUN/evaluations/DATA-SPLIT.
"""

from __future__ import annotations

import dataclasses
import pathlib

import pandas as pd
from absl import flags, logging

from frown_jax import cache
from frown_jax.cli import common
from frown_jax.config import DATA, ConfigError
from frown_jax.data.dataset import DataError, Dataset
from frown_jax.data.load import load
from frown_jax.ensemble import Ensemble
from frown_jax.metrics import read, table
from frown_jax.predictions import predictions_frame
from frown_jax.report import files
from frown_jax.rundir import RunDir
from frown_jax.training_set import TrainingSet

_RUN = flags.DEFINE_string("run", None, "Run directory.")
_SPLIT = flags.DEFINE_string("split", "test", "train, val or test.")
_DATA = flags.DEFINE_string("data", "", "faces, rafdb:DIR, manifest:DIR, ...; by default the run's own data.")
_CACHE = flags.DEFINE_string("cache_dir", "", "Cache of prepared data; by default the run's.")


def data_for(ensemble: Ensemble, source: str, cache: str = "") -> Dataset:
    """The data set of a --data value, with the ensemble's class order.

    Raises:
      ConfigError: malformed `source`.
      DataError: the data cannot be read, or has emotions that the ensemble does not know.
    """
    config = ensemble.config.data.copy_and_resolve_references()
    if config.test == "cohort" and source in ("", config.name, f"{config.name}:{config.dir}"):
        raise ConfigError(
            "every member of this run has test subjects of its own, and trained on others of this data: results.csv "
            "has their values; --data=... evaluates all members on another data set"
        )
    if source:
        config.name, _, config.dir = source.partition(":")
        config.attributes, config.test = (), "given"
        if ensemble.multilabel:
            config.aus = ensemble.classes
        if config.name not in DATA:
            raise ConfigError(f"--data={source}: it begins with one of {', '.join(DATA)}, then ':' and the folder")
    if cache:
        config.cache_dir = cache
    data = load(config, ensemble.config.model.image_size)
    unknown = [c for c in data.classes if c not in ensemble.classes]
    if unknown:
        raise DataError(f"the run does not know {', '.join(unknown)}; it knows {', '.join(ensemble.classes)}")
    return dataclasses.replace(data, classes=ensemble.classes)


def evaluate(ensemble: Ensemble, data: Dataset, split: str) -> pd.DataFrame:
    """Predictions of every member on one split; members that drew other subjects count as other seeds.

    Raises:
      DataError: the data has no such split.
    """
    part = data.split(split)
    probabilities = ensemble.probabilities(part.images, TrainingSet.of(part))
    found = zip(ensemble.specs, probabilities, ensemble.thresholds(), strict=True)
    frames = [predictions_frame(s, part, split, p, t) for s, p, t in found]
    table = pd.concat(frames, ignore_index=True)
    if "draw" in table:  # on one test set, training sets that were drawn are repetitions as seeds are
        order = table.drop_duplicates("member").groupby("method").cumcount()
        number = dict(zip(table.drop_duplicates("member")["member"], order, strict=True))
        table = table.assign(seed=table["member"].map(number)).drop(columns="draw")
    return table


def _main(_: list[str]) -> None:
    if not _RUN.value:
        common.fail("--run is missing (--help tells more)")
    path = pathlib.Path(_RUN.value)
    ensemble = Ensemble(path)
    cache.keep_compiled_programs(_CACHE.value or ensemble.config.data.cache_dir)
    data = data_for(ensemble, _DATA.value, _CACHE.value)
    predictions = evaluate(ensemble, data, _SPLIT.value)
    out = path / "evaluations" / f"{data.name}-{data.fingerprint}-{_SPLIT.value}"
    out.mkdir(parents=True, exist_ok=True)
    run = RunDir(out)
    run.write_parquet("predictions.parquet", predictions)
    results = table.results(predictions, data.attributes)
    test = read.outcomes(predictions, data.attributes)
    shown = files.analyse_and_write(run, test, None, None, data.name, results, _SPLIT.value)[1]
    print(shown)
    for note in data.notes:
        logging.warning("%s", note)
    logging.info("written to %s", out)


def main() -> None:
    """Entry point."""
    common.run(_main, __doc__ or "")


if __name__ == "__main__":
    main()
