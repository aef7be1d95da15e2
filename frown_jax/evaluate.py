"""Evaluates the checkpoints of a run on its own or on other data.

  python -m frown_jax.evaluate --run=runs/baseline-faces-0a1b2c3d
  python -m frown_jax.evaluate --run=... --split=val
  python -m frown_jax.evaluate --run=... --data=rafdb:DIR
  python -m frown_jax.evaluate --run=... --data=manifest:DIR

Prints the analysis with its intervals and leaves it, with predictions.parquet, in RUN/evaluations/DATA-SPLIT.
"""

from __future__ import annotations

import pathlib

from absl import flags, logging

from frown_jax.inference.ensemble import Ensemble
from frown_jax.inference.evaluation import data_for, evaluate
from frown_jax.metrics import predictions_table, results_table
from frown_jax.report import files
from frown_jax.runs.directory import RunDir
from frown_jax.runtime import cache, command

_RUN = flags.DEFINE_string("run", None, "Run directory.")
_SPLIT = flags.DEFINE_string("split", "test", "train, val or test.")
_DATA = flags.DEFINE_string("data", "", "faces, rafdb:DIR, manifest:DIR, ...; by default the run's own data.")
_CACHE = flags.DEFINE_string("cache_dir", "", "Cache of prepared data; by default the run's.")


def _main(_: list[str]) -> None:
    if not _RUN.value:
        command.fail("--run is missing (--help tells more)")
    path = pathlib.Path(_RUN.value)
    ensemble = Ensemble(path)
    cache.keep_compiled_programs(_CACHE.value or ensemble.config.data.cache_dir)
    data = data_for(ensemble, _DATA.value, _CACHE.value)
    predictions = evaluate(ensemble, data, _SPLIT.value)
    out = path / "evaluations" / f"{data.name}-{data.fingerprint}-{_SPLIT.value}"
    run = RunDir.made(out)
    run.write_parquet("predictions.parquet", predictions)
    results = results_table.results(predictions, data.attributes)
    test = predictions_table.outcomes(predictions, data.attributes)
    shown = files.analyse_and_write(run, test, None, None, data.name, results, _SPLIT.value)[1]
    print(shown)
    for note in data.notes:
        logging.warning("%s", note)
    logging.info("written to %s", out)


def main() -> None:
    """Entry point."""
    command.run(_main, __doc__ or "")


if __name__ == "__main__":
    main()
