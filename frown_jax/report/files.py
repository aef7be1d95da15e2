"""An analysis and its files in a run directory."""

from __future__ import annotations

import pandas as pd
from tqdm import tqdm

from frown_jax.errors import OutcomesError
from frown_jax.metrics.analysis import Analysis, AnalysisSettings, analyse
from frown_jax.metrics.outcomes import Outcomes
from frown_jax.report import text
from frown_jax.runs.directory import RunDir


def analyse_and_write(
    run: RunDir,
    test: Outcomes,
    validation: Outcomes | None = None,
    settings: AnalysisSettings | None = None,
    data: str = "",
    results: pd.DataFrame | None = None,
    split: str = "",
) -> tuple[Analysis, str]:
    """Analyses outcomes with a progress bar, and leaves a CSV a table and what is printed (table.txt).

    Args:
      run: where.
      test: what is reported.
      validation: what methods are selected on.
      settings: of the analysis.
      data: name of the data set.
      results: written in place of the analysis' own results, which are those of `test` only.

      split: name of what is reported.

    Returns:
      The analysis, and the text to print.

    Raises:
      OutcomesError: settings that do not fit.
    """
    settings = settings or AnalysisSettings()
    with tqdm(unit="method", disable=None, leave=False) as bar:

        def progress(what: str, done: int, of: int) -> None:
            bar.set_description(what, refresh=False)
            bar.total, bar.n = of, done
            bar.refresh()

        try:
            found = analyse(test, validation, settings, progress)
        except ValueError as e:
            raise e if isinstance(e, OutcomesError) else OutcomesError(str(e)) from None
    tables = found.tables()
    if results is not None:
        tables["results"] = results
    for name, frame in tables.items():
        run.write_csv(f"{name}.csv", frame)
    shown = text.render(found, settings.bootstrap.level, data, split)
    run.write_text("table.txt", shown)
    return found, shown
