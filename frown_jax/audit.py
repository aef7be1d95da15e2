"""Fairness of the predictions of any model, with intervals and tests: no training, no JAX model needed.

  python -m frown_jax.audit predictions.csv --attributes=race,gender,age
  python -m frown_jax.audit predictions.parquet --control=baseline --margin=.01
  python -m frown_jax.audit predictions.parquet --primary=accuracy,accuracy:race:African-American
  python -m frown_jax.audit runs/baseline-faces-0a1b2c3d/predictions.parquet
  python -m frown_jax.audit predictions.parquet --small_cells --multiverse --arbitrariness --label_error=race:0.05

The file has a row per image (and run): y_true (or emotion, label); y_pred (or prediction) or probabilities p_<class>,
or both; the attributes. Optional: method and seed (several runs), id (which image; needed with several runs), subject
(frames of one person are then drawn together), split (test is audited, val is what methods are selected on). Action
Units: y_true_AU1 (1, 0, blank: not known), y_pred_AU1 or p_AU1, and so on.

Prints a summary and leaves all tables as CSV in --out: results, summary, comparisons, levelling, ranks, choices.
docs/metrics.md explains every metric, docs/statistics.md the intervals and tests; docs/small_cells.md and
docs/robustness.md what --small_cells, --multiverse, --arbitrariness and --label_error add.
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping

import numpy as np
import pandas as pd
from absl import flags, logging

from frown_jax import schema
from frown_jax.errors import OutcomesError
from frown_jax.metrics import arbitrariness, label_sensitivity, multiverse, predictions_table, small_cells
from frown_jax.metrics.analysis import AnalysisSettings
from frown_jax.metrics.bootstrap import Bootstrap
from frown_jax.metrics.catalogue import PRIMARY
from frown_jax.metrics.outcomes import Outcomes
from frown_jax.metrics.plan import SCORED
from frown_jax.metrics.resample import draws_subjects
from frown_jax.metrics.verdicts import MARGIN
from frown_jax.report import files, robustness
from frown_jax.runs.directory import RunDir
from frown_jax.runtime import cache, command

_ATTRIBUTES = flags.DEFINE_list(
    "attributes", None, "Columns with groups; by default those of race, gender, age that are there."
)
_CLASSES = flags.DEFINE_list("classes", None, "Classes in order; by default those of the p_ columns, or that occur.")
_CONTROL = flags.DEFINE_string("control", "", "Method that the others are compared with; by default the first.")
_SPLIT = flags.DEFINE_string("split", "test", "Which rows are audited, if there is a column split.")
_VALIDATION = flags.DEFINE_string("validation", "val", "Which rows methods are selected on, if there are any.")
_SCORED = flags.DEFINE_string(
    "scored",
    "studies",
    "Groups that fairness measures compare: 'studies' (no gender Unsure, no age 0-3 or 70+), 'all', or "
    "'gender:Male|Female,age:20-39|40-69'.",
)
_FEWEST = flags.DEFINE_integer(
    "fewest",
    10,
    "Intersections compare groups of at least so many images, and no gain or loss rests on a smaller group.",
    lower_bound=1,
)
_CROSSED = flags.DEFINE_integer("crossed", 3, "Attributes in the largest intersection.", lower_bound=1)
_MARGIN = flags.DEFINE_float(
    "margin", MARGIN, "Differences up to this are called practically equal, and a loss of more is called harm."
)
_PRIMARY = flags.DEFINE_list(
    "primary",
    list(PRIMARY),
    "Values that verdicts are about, corrected together: metrics, or metric:attribute, or metric:attribute:group.",
)
_RESAMPLES = flags.DEFINE_integer("resamples", 1000, "Resamples of the images that variances come of.", lower_bound=2)
_PERMUTATIONS = flags.DEFINE_integer(
    "permutations", 0, "Of the permutation tests; they cost four bootstraps, so by default there are none."
)
_INTERVAL = flags.DEFINE_enum("interval", "percentile", ["percentile", "bca"], "Kind of bootstrap interval.")
_LEVEL = flags.DEFINE_float("level", 0.95, "Of confidence.", lower_bound=0.5, upper_bound=0.999)
_STRATIFY = flags.DEFINE_enum(
    "stratify", "cells", ["cells", "cells and labels", "none"], "What every resample keeps the size of."
)
_BY_SUBJECT = flags.DEFINE_bool(
    "by_subject", None, "Draw subjects with all their images; by default if a column subject names some twice."
)
_SEED = flags.DEFINE_integer("seed", 0, "Of the resamples.")
_MULTIVERSE = flags.DEFINE_bool(
    "multiverse", False, "Count in which share of all defensible analyses each method's gain or loss holds."
)
_CONTROLS = flags.DEFINE_list(
    "controls", None, "Controls that --multiverse compares with, one at a time; by default the one control."
)
_SMALL_CELLS = flags.DEFINE_bool(
    "small_cells", False, "Estimate the accuracy of small cells from all cells together, beside the raw values."
)
_ARBITRARINESS = flags.DEFINE_bool(
    "arbitrariness", False, "Count how often two seeds of a method disagree about an image, by group."
)
_LABEL_ERROR = flags.DEFINE_list(
    "label_error",
    None,
    "Attributes with a rate of wrong labels, 'race:0.05', or with a CSV file of P(label | true group), "
    "'race:errors.csv', whose rows are true groups and whose columns are labels: what the gaps may then be.",
)
_OUT = flags.DEFINE_string("out", "", "Folder of the tables; by default FILE-audit beside the file.")


def read_table(path: pathlib.Path) -> pd.DataFrame:
    """A table by its file's ending: .parquet, .tsv, else CSV.

    Raises:
      OutcomesError: there is no such file, or it cannot be read.
    """
    if not path.is_file():
        raise OutcomesError(f"no such file: {path}")
    try:
        if path.suffix == ".parquet":
            return pd.read_parquet(path)
        # 'None' and 'NA' can be groups; only an empty field is missing.
        return pd.read_csv(path, sep="\t" if path.suffix == ".tsv" else ",", keep_default_na=False, na_values=[""])
    except (ValueError, OSError, pd.errors.ParserError) as e:
        raise OutcomesError(f"{path}: not a readable table ({e})") from None


def vocabularies(table: pd.DataFrame, names: list[str] | None) -> dict[str, tuple[str, ...] | None]:
    """Attributes and the order of their groups: the studies' where a column has no others, else sorted."""
    if names is None:
        names = [a for a in schema.ATTRIBUTES if a in table]
    out: dict[str, tuple[str, ...] | None] = {}
    for name in names:
        known = schema.ATTRIBUTES.get(name)
        fits = known is not None and name in table and set(table[name].dropna().astype(str)) <= set(known)
        out[name] = known if fits else None
    return out


def _scored(text: str) -> str | dict[str, tuple[str, ...]]:
    if text in SCORED:
        return text
    out = {}
    for part in text.split(","):
        name, colon, groups = part.partition(":")
        if not colon or not groups:
            raise OutcomesError(f"--scored={text}: 'studies', 'all', or attribute:group|group, separated by commas")
        out[name.strip()] = tuple(g.strip() for g in groups.split("|"))
    return out


def load(table: pd.DataFrame, split: str, attributes: dict, classes: list[str] | None) -> Outcomes | None:
    """The outcomes of one split; None if there are no such rows.

    Raises:
      OutcomesError: what read.outcomes raises.
    """
    if "split" in table:
        table = table[table["split"] == split]
    return None if table.empty else predictions_table.outcomes(table, attributes, classes)


def _label_errors(test: Outcomes) -> dict[str, float | np.ndarray]:
    """What --label_error says, by attribute.

    Raises:
      OutcomesError: an attribute that is not audited, or no rate and no matrix.
    """
    out: dict[str, float | np.ndarray] = {}
    for part in _LABEL_ERROR.value or ():
        name, colon, text = part.partition(":")
        if not colon or name not in test.attributes:
            raise OutcomesError(
                f"--label_error={part}: attribute:rate or attribute:file.csv, of {', '.join(test.attributes) or 'none'}"
            )
        path = pathlib.Path(text)
        matrix = None
        if path.suffix == ".csv":
            table = read_table(path)
            matrix = table.set_index(table.columns[0])
        out[name] = robustness.error_of(text, matrix, test.attributes[name].vocabulary)
    return out


def _controls(test: Outcomes) -> tuple[str, ...]:
    """What --controls says.

    Raises:
      OutcomesError: there is no such method.
    """
    methods = list(dict.fromkeys(test.runs["method"]))
    for name in _CONTROLS.value or ():
        if name not in methods:
            raise OutcomesError(f"--controls: there is no method {name!r}; there are {', '.join(map(str, methods))}")
    return tuple(_CONTROLS.value or ((_CONTROL.value,) if _CONTROL.value else ()))


def _robust(
    run: RunDir,
    test: Outcomes,
    validation: Outcomes | None,
    settings: AnalysisSettings,
    errors: Mapping[str, float | np.ndarray],
) -> str:
    """Writes what was asked for beyond the analysis, and returns the text to print."""
    shown = ""
    tables: dict[str, pd.DataFrame] = {}
    if _MULTIVERSE.value:
        varied = multiverse.MultiverseSettings(
            _controls(test), level=settings.bootstrap.level, resamples=min(settings.bootstrap.resamples, 1000),
            seed=settings.bootstrap.seed,
        )  # fmt: skip
        tables["multiverse"] = multiverse.multiverse(test, validation, varied)
        tables["survival"] = multiverse.survival(tables["multiverse"])
        shown += robustness.multiverse_text(tables["multiverse"])
    if _SMALL_CELLS.value:
        tables["small_cells"] = small_cells.estimates(
            test, level=settings.bootstrap.level, seed=settings.bootstrap.seed
        )
        shown += robustness.small_cells_text(tables["small_cells"])
    if _ARBITRARINESS.value:
        tables["consistency"] = arbitrariness.consistency(test, level=settings.bootstrap.level)
        tables["abstention"] = arbitrariness.abstention(test)
        shown += robustness.arbitrariness_text(tables["consistency"])
    if errors:
        tables["label_sensitivity"] = label_sensitivity.sensitivity(test, errors, settings.scored)
        shown += robustness.label_text(tables["label_sensitivity"])
    for name, table in tables.items():
        run.write_csv(f"{name}.csv", table)
    return shown


def _main(arguments: list[str]) -> None:
    if len(arguments) != 1:
        command.fail("give one file of predictions (--help tells more)")
    cache.keep_compiled_programs()
    path = pathlib.Path(arguments[0])
    table = read_table(path)
    attributes = vocabularies(table, _ATTRIBUTES.value)
    test = load(table, _SPLIT.value, attributes, _CLASSES.value)
    if test is None:
        splits = ", ".join(map(str, table["split"].unique())) if "split" in table else "none"
        raise OutcomesError(f"--split={_SPLIT.value}: {path} has no such rows; its splits are {splits}")
    validation = load(table, _VALIDATION.value, attributes, _CLASSES.value) if "split" in table else None
    errors = _label_errors(test)
    _controls(test)  # a wrong name is said before the analysis, not after it
    settings = AnalysisSettings(
        control=_CONTROL.value,
        crossed=_CROSSED.value,
        scored=_scored(_SCORED.value),
        fewest=_FEWEST.value,
        bootstrap=Bootstrap(
            _RESAMPLES.value,
            _LEVEL.value,
            "bca" if _INTERVAL.value == "bca" else "percentile",
            _STRATIFY.value,
            _BY_SUBJECT.value,
            seed=_SEED.value,
        ),
        permutations=_PERMUTATIONS.value,
        margin=_MARGIN.value,
        primary=tuple(_PRIMARY.value),
    )
    drawn = "subjects" if draws_subjects(test, _BY_SUBJECT.value) else "images"
    logging.info(
        "%s: %d images, %d runs, %d targets; %d resamples of %s",
        path.name,
        len(test.labels),
        len(test.runs),
        len(test.targets),
        _RESAMPLES.value,
        drawn,
    )
    out = pathlib.Path(_OUT.value) if _OUT.value else path.with_name(f"{path.stem}-audit")
    run = RunDir.made(out)
    found, shown = files.analyse_and_write(
        run, test, validation, settings, split=_SPLIT.value if "split" in table else ""
    )
    run.write_json("settings.json", dataclasses.asdict(settings))
    print(shown + _robust(run, test, validation, settings, errors))
    logging.info("%s written to %s", ", ".join(f"{n}.csv" for n in found.tables()), out)


def main() -> None:
    """Entry point."""
    command.run(_main, __doc__ or "", takes_files=True)


if __name__ == "__main__":
    main()
