"""What a finished run left behind, read for a report; nothing is trained or predicted here."""

from __future__ import annotations

import dataclasses
import json
import pathlib
from collections.abc import Sequence

import pandas as pd

from frown_jax.errors import ConfigError
from frown_jax.runs.directory import RunDir

_TABLES = (
    "summary", "comparisons", "levelling", "ranks", "choices", "rank_stability", "draws", "contrasts",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Stored:
    """One run.

    Attributes:
      name: of its folder.
      path: its folder.
      config, versions, data, timing: contents of the JSON files; {} where there is none.
      tables: those of _TABLES that there are, blank text as ''.
      curves: metrics.jsonl, a row per epoch and member.
      predictions: of the test split.
      missing: what a finished run has and this one does not, with the file's name.
    """

    name: str
    path: pathlib.Path
    config: dict
    versions: dict
    data: dict
    timing: dict
    tables: dict[str, pd.DataFrame]
    curves: pd.DataFrame
    predictions: pd.DataFrame
    missing: tuple[str, ...]

    @property
    def methods(self) -> list[str]:
        """In the order of the run; the first is the control."""
        source = self.tables.get("summary", self.curves)
        return list(dict.fromkeys(source["method"])) if "method" in source else []

    @property
    def attributes(self) -> dict[str, tuple[str, ...]]:
        """Groups of each attribute."""
        return {k: tuple(v) for k, v in self.data.get("attributes", {}).items()}

    @property
    def classes(self) -> tuple[str, ...]:
        """That are predicted."""
        return tuple(self.data.get("classes", ()))

    def summary(self, metric: str, attribute: str = "") -> pd.DataFrame:
        """Rows of summary.csv of one metric of an attribute's groups ('': everybody)."""
        table = self.tables.get("summary")
        if table is None:
            return pd.DataFrame(
                columns=["method", "metric", "attribute", "group", "target", "n", "mean", "lower", "upper"]
            )
        chosen = (table["metric"] == metric) & (table["attribute"] == attribute) & (table["target"] == "")
        return table[chosen]

    def results(self) -> pd.DataFrame:
        """results.csv: every value of every member; empty where there is none."""
        path = self.path / "results.csv"
        return _text_columns(path) if path.is_file() else pd.DataFrame()


def refuse_mixture(runs: Sequence[Stored]) -> None:
    """Refuses runs whose numbers are of different images: side by side they would be compared.

    Raises:
      ConfigError: naming two of them, and their data.
    """
    known = [
        (run, f"{run.data.get('name', '')} {run.data['fingerprint']}") for run in runs if "fingerprint" in run.data
    ]
    for run, data in known[1:]:
        first, other = known[0]
        if data != other:
            raise ConfigError(
                f"{first.path} is a run on {other}, {run.path} on {data}: their numbers are of different images. "
                "Report them one by one, or together with --mixed_data"
            )


def _json(path: pathlib.Path) -> dict:
    try:
        return json.loads(path.read_text())
    except (OSError, json.JSONDecodeError):
        return {}


def _text_columns(path: pathlib.Path) -> pd.DataFrame:
    """A CSV in which blank text is '' and blank numbers are NaN."""
    table = pd.read_csv(path)
    blank = ("attribute", "group", "target", "note", "interval", "verdict", "family", "harm")
    return table.assign(**{c: table[c].astype(object).where(table[c].notna(), "") for c in blank if c in table})


def read(path: pathlib.Path) -> Stored:
    """Reads a run.

    Raises:
      ConfigError: there is no run.
    """
    run = RunDir.open(path)
    tables = {name: _text_columns(path / f"{name}.csv") for name in _TABLES if (path / f"{name}.csv").is_file()}
    predictions = path / "predictions.parquet"
    expected = ("data.json", "metrics.jsonl", "predictions.parquet", "results.csv", "timing.json")
    missing = [name for name in expected if not (path / name).is_file()]
    if not tables:
        missing.append("summary.csv")
    shown = pd.read_parquet(predictions) if predictions.is_file() else pd.DataFrame()
    return Stored(
        name=path.name,
        path=path,
        config=_json(path / "config.json"),
        versions=_json(path / "versions.json"),
        data=_json(path / "data.json"),
        timing=_json(path / "timing.json"),
        tables=tables,
        curves=pd.DataFrame(run.read_metrics()),
        predictions=shown[shown["split"] == "test"] if "split" in shown else shown,
        missing=tuple(missing),
    )
