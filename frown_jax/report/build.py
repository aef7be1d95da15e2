"""A report of finished runs: sections made of what they stored."""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Sequence

import numpy as np
import pandas as pd

from frown_jax import schema
from frown_jax.metrics.plan import TINY
from frown_jax.report import charts, page
from frown_jax.report.folder import Folder
from frown_jax.report.stored import Stored
from frown_jax.report.text import FACES_NOTE, number

_HEADLINE = ("accuracy", "balanced_accuracy", "macro_f1", "worst_group_accuracy", "accuracy_difference")
_FACTS = ["what", "value"]
_MOST_CURVES = 8  # methods in one figure
_FALSE_ALARMS = 0.05  # of the corrected tests
_BINS = 10


def _section(run: Stored, name: str, several: bool) -> str:
    return f"{run.name}: {name}" if several else name


def _interval(row: pd.Series) -> str:
    if not np.isfinite(row["lower"]):
        return number(row["mean"])
    return f"{number(row['mean'])} [{number(row['lower'])}, {number(row['upper'])}]"


def headline(run: Stored) -> pd.DataFrame:
    """A row a method: the headline metrics with intervals; fairness ones per attribute."""
    rows = {method: {"method": method} for method in run.methods}
    for metric, attribute in itertools.product(_HEADLINE, ("", *run.attributes)):
        for _, row in run.summary(metric, attribute).iterrows():
            if row["group"] == "" and row["method"] in rows:
                name = metric.replace("_", " ") + (f", {attribute}" if attribute else "")
                rows[row["method"]][name] = _interval(row)
    return pd.DataFrame(rows.values())


def _headline(out: Folder, run: Stored, several: bool) -> None:
    section = _section(run, "Headline", several)
    table = headline(run)
    if len(table.columns) < 2:
        out.say(section, "There is no summary of this run: it predicts Action Units over draws, or is not finished.")
        return
    out.table(section, f"{run.name}-headline", table)
    out.run.write_text(f"{run.name}-headline.tex", table.to_latex(index=False, escape=True))


def _differences(out: Folder, run: Stored, several: bool) -> None:
    table = run.tables.get("comparisons")
    if table is None:
        out.say(_section(run, "Against the control", several), "One method: there is nothing to compare it with.")
        return
    section = _section(run, "Against the control", several)
    out.say(section, f"The control is {run.methods[0]}. Intervals and tests are paired; p-values are corrected (Holm).")
    for metric, attribute in (("accuracy", ""), *(("accuracy_difference", a) for a in run.attributes)):
        part = table[(table["metric"] == metric) & (table["attribute"] == attribute) & (table["group"] == "")]
        part = part[part["target"] == ""]
        if part.empty:
            continue
        shown = part["p_bootstrap_holm"].to_numpy(float) < _FALSE_ALARMS
        title = metric.replace("_", " ") + (f", {attribute}" if attribute else "")
        name = f"{run.name}-difference-{metric}-{attribute or 'everybody'}"
        figure = charts.differences(part.assign(shown=shown), title)
        out.run.write_csv(f"{name}.csv", part)
        out.picture(section, name, figure, f"{title}: each method minus the control; {int(shown.sum())} shown")


def _tradeoffs(out: Folder, run: Stored, several: bool) -> None:
    section = _section(run, "Accuracy and fairness", several)
    accuracy = run.summary("accuracy").set_index("method")["mean"]
    results = run.path / "results.csv"
    every = pd.read_csv(results) if results.is_file() else pd.DataFrame()
    for attribute in run.attributes:
        rows = run.summary("accuracy_difference", attribute)
        gap = rows[rows["group"] == ""].set_index("method")["mean"]
        points = pd.DataFrame({"accuracy": accuracy, "gap": gap}).reindex(run.methods).dropna()
        points = points.rename_axis("method").reset_index()
        if len(points) < 2:
            continue
        name = f"{run.name}-tradeoff-{attribute}"
        out.run.write_csv(f"{name}.csv", points.assign(pareto=charts.pareto(points)))
        figure = charts.tradeoff(points, _of_runs(every, attribute), attribute)
        out.picture(section, name, figure, f"Accuracy against the gap by {attribute}, with the Pareto front")


def _of_runs(every: pd.DataFrame, attribute: str) -> pd.DataFrame:
    """Accuracy and gap of every member."""
    if every.empty:
        return pd.DataFrame(columns=["accuracy", "gap"])
    test = every[(every["split"] == "test") & every["group"].isna() & every["target"].isna()]
    accuracy = test[(test["metric"] == "accuracy") & test["attribute"].isna()].set_index("member")["value"]
    gap = test[(test["metric"] == "accuracy_difference") & (test["attribute"] == attribute)].set_index("member")[
        "value"
    ]
    return pd.DataFrame({"accuracy": accuracy, "gap": gap}).dropna()


def _levelling(out: Folder, run: Stored, several: bool) -> None:
    table = run.tables.get("levelling")
    if table is None:
        return
    section = _section(run, "Levelling up or down", several)
    out.say(section, "A gap also closes when the best group gets worse: where it did, a smaller gap is no gain.")
    for attribute in run.attributes:
        part = table[table["attribute"] == attribute].reset_index(drop=True)
        if len(part):
            name = f"{run.name}-levelling-{attribute}"
            out.run.write_csv(f"{name}.csv", part)
            out.picture(section, name, charts.levelling(part, attribute), f"Worst and best group by {attribute}")


def _selection(out: Folder, run: Stored, several: bool) -> None:
    section = _section(run, "Ranks and selection", several)
    ranks = run.tables.get("ranks")
    if ranks is not None:
        names = [c for c in ranks.columns if c.startswith("mean_rank_")]
        for _, row in ranks[ranks["metric"].isin(("accuracy", "worst_group_accuracy"))].iterrows():
            own = pd.Series({c.removeprefix("mean_rank_"): float(row[c]) for c in names}).dropna()
            if len(own) < 2:
                continue
            what = row["metric"].replace("_", " ") + (f", {row['attribute']}" if row["attribute"] else "")
            title = f"{what}: Friedman p = {row['p_value']:.3g}"
            figure = charts.critical_difference(own, float(row["critical_difference"]), title)
            name = f"{run.name}-ranks-{row['metric']}-{row['attribute'] or 'everybody'}"
            out.picture(section, name, figure, f"Mean ranks over {int(row['seeds'])} seeds: {what}")
    for name in ("choices", "rank_stability"):
        if name in run.tables:
            out.table(section, f"{run.name}-{name}", run.tables[name])


def cells(predictions: pd.DataFrame, rows: pd.Index, columns: pd.Index) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Accuracy and number of images of every intersection of two attributes, means over members.

    Args:
      predictions: of one method, with columns member, emotion, prediction and the attributes.
      rows, columns: groups; an index's name is its attribute.
    """
    right = (predictions["emotion"].astype(object) == predictions["prediction"].astype(object)).astype(float)
    named = predictions.assign(right=right)
    value = named.pivot_table(index=rows.name, columns=columns.name, values="right", aggfunc="mean", observed=True)
    count = named.pivot_table(index=rows.name, columns=columns.name, values="right", aggfunc="size", observed=True)
    members = max(1, predictions["member"].nunique())
    value, count = (t.reindex(index=list(rows), columns=list(columns)) for t in (value, count / members))
    return value, count.fillna(0)


def _groups(out: Folder, run: Stored, several: bool) -> None:
    section = _section(run, "Groups", several)
    if not run.attributes:
        out.say(section, "The data has no attributes: there are no groups to compare.")
        return
    if not run.methods or "emotion" not in run.predictions:
        out.say(section, "There are no predictions of one class an image: no accuracy of cells, no confusion.")
        return
    method = run.methods[0]
    own = run.predictions[run.predictions["method"] == method]
    index = {a: pd.Index(groups, name=a) for a, groups in run.attributes.items()}
    for rows, columns in itertools.combinations(run.attributes, 2):
        value, count = cells(own, index[rows], index[columns])
        name = f"{run.name}-cells-{rows}-{columns}"
        long = value.reset_index().melt(rows, value_name="accuracy")
        out.run.write_csv(f"{name}.csv", long.assign(n=count.reset_index().melt(rows)["value"]))
        figure = charts.heatmap(value, count, f"{method}: accuracy by {rows} and {columns}", TINY)
        out.picture(section, name, figure, f"Accuracy by {rows} and {columns}; dotted: fewer than {TINY} images")
    for attribute, groups in run.attributes.items():
        present = [g for g in groups if (own[attribute] == g).any()]
        matrices = {g: confusion_counts(own[own[attribute] == g], run.classes) for g in present}
        caption = f"{method}: which expressions fail for whom, by {attribute}"
        out.picture(section, f"{run.name}-confusion-{attribute}", charts.confusion(matrices, run.classes), caption)
        parts = {g: reliability_bins(own[own[attribute] == g], run.classes) for g in present}
        caption = f"{method}: calibration by {attribute}, with the number of predictions"
        out.picture(section, f"{run.name}-reliability-{attribute}", charts.reliability(parts), caption)


def confusion_counts(predictions: pd.DataFrame, classes: Sequence[str]) -> np.ndarray:
    """Counts [true, predicted] of predictions with columns emotion and prediction; members add up."""
    true, predicted = (schema.codes(predictions[c], tuple(classes)) for c in ("emotion", "prediction"))
    out = np.zeros((len(classes), len(classes)), np.int64)
    np.add.at(out, (true, predicted), 1)
    return out


def reliability_bins(predictions: pd.DataFrame, classes: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean confidence, accuracy and n in ten bins of equal width of the highest probability."""
    p = predictions[[f"p_{c}" for c in classes]].to_numpy(np.float64)
    top = p.max(1)
    right = np.array(classes, object)[p.argmax(1)] == predictions["emotion"].to_numpy(object)
    place = np.minimum((top * _BINS).astype(int), _BINS - 1)
    n = np.bincount(place, minlength=_BINS)
    sums = [np.bincount(place, weights=w, minlength=_BINS) for w in (top, right.astype(float))]
    confidence, accuracy = (np.divide(s, n, out=np.full(_BINS, np.nan), where=n > 0) for s in sums)
    return confidence, accuracy, n


def _training(out: Folder, run: Stored, several: bool) -> None:
    section = _section(run, "Training", several)
    if run.curves.empty:
        out.say(section, "metrics.jsonl is missing: there are no curves.")
        return
    out.run.write_csv(f"{run.name}-curves.csv", run.curves)
    every = list(dict.fromkeys(run.curves["method"]))
    if len(every) > _MOST_CURVES:
        out.say(section, f"The first {_MOST_CURVES} of {len(every)} methods; all are in the CSV file.")
    caption = "Training and validation over epochs: median and range of the members"
    out.picture(section, f"{run.name}-curves", charts.curves(run.curves, every[:_MOST_CURVES]), caption)


def _explanations(out: Folder, run: Stored, several: bool) -> None:
    section = _section(run, "Explanations", several)
    folders = sorted(p for p in (run.path / "explanations").glob("*") if (p / "index.html").is_file())
    if not folders:
        out.say(section, f"There are none: python -m frown_jax.explain --run={run.path}")
    for folder in folders:
        for picture in sorted(p for kind in ("gallery", "groups", "mean") for p in folder.glob(f"{kind}-*.png")):
            out.add(section, page.picture(picture, f"{folder.name}: {picture.stem}"))


def _configuration(out: Folder, run: Stored, several: bool) -> None:
    section = _section(run, "What was run", several)
    facts = {
        "folder": run.path,
        "data": f"{run.data.get('name', '')} {run.data.get('fingerprint', '')}",
        **run.versions,
    }
    facts |= {name: f"{seconds} s" for name, seconds in run.timing.items()}
    out.table(section, f"{run.name}-versions", pd.DataFrame([(k, str(v)) for k, v in facts.items()], columns=_FACTS))
    settings = pd.json_normalize(run.config.get("config", {}))
    if len(settings.columns):
        pairs = [(name, str(settings.iloc[0][name])) for name in settings.columns]
        out.table(section, f"{run.name}-settings", pd.DataFrame(pairs, columns=["setting", "value"]))
    for name in run.missing:
        out.say(section, f"{name} is missing in {run.path}: sections that need it are left out.")


_PARTS = (
    _headline,
    _differences,
    _tradeoffs,
    _levelling,
    _selection,
    _groups,
    _training,
    _explanations,
    _configuration,
)


def build(runs: Sequence[Stored], path: pathlib.Path) -> pathlib.Path:
    """Writes the report of some runs.

    Args:
      runs: what they stored.
      path: folder.

    Returns:
      The page.
    """
    several = len(runs) > 1
    out = Folder(path, "Report of " + ", ".join(r.name for r in runs))
    for run in runs:
        if run.data.get("name") in ("faces", "face_sequences"):
            out.say(_section(run, "Headline", several), FACES_NOTE)
        for part in _PARTS:
            part(out, run, several)
    return out.finish()
