"""The two studies' published numbers beside a run's own, where the data is the same."""

from __future__ import annotations

import pandas as pd

from frown_jax.report import study_table
from frown_jax.report.draws import PUBLISHED
from frown_jax.report.stored import Stored
from frown_jax.report.text import number

_HOW = {"mean": "mean", "max": "up", "min": "down"}
# The first study's models by what this package calls the same thing.
_SAME = {
    "": "baseline",
    "attribute_aware(by=('race','gender','age'))": "attribute-aware",
    "affirmative_action(cells=('African-AmericanxMalex40-69',),factor=10)": "affirmative-1_0_3",
    "affirmative_action(cells=('AsianxFemalex40-69',),factor=10)": "affirmative-2_1_3",
    **{
        f"equalise(by='{by}',how='{how}')": f"{by}-{name}"
        for by in ("race", "gender", "age")
        for how, name in _HOW.items()
    },
}
_AU_METRICS = {"macro_f1": "F1 macro", "weighted_f1": "weighted F1"}
_AU_DATA = ("combined", "ckplus", "actor_study")


def first(run: Stored) -> pd.DataFrame:
    """ "Frowning upon Bias" beside a run on RAF-DB: a row a model of the study's table that the run has too.

    Returns:
      Columns study's model, method, and accuracy and F by race, gender and age: published, here [interval]. Empty for
      other data.
    """
    if run.data.get("name") != "rafdb" or "summary" not in run.tables:
        return pd.DataFrame()
    published = study_table.results().set_index("model")
    base = run.config.get("config", {}).get("mitigation", "")
    names = {p.get("method", run.methods[0]): p.get("mitigation", base) for p in run.config.get("points", [])}
    rows = []
    for method in run.methods:
        model = _SAME.get(str(names.get(method, "?")).replace(" ", ""))
        if model is None:
            continue
        row = {"study's model": model, "method": method}
        for column, metric, attribute in (
            ("accuracy", "accuracy", ""),
            *((f"F_{a}", "generalized_equal_opportunity", a) for a in ("race", "gender", "age")),
        ):
            name = column.replace("_", " ")
            row[f"{name}, published"] = number(float(published[column][model]))
            own = run.summary(metric, attribute)
            own = own[(own["method"] == method) & (own["group"] == "")]
            row[f"{name}, here"] = interval(own.iloc[0]) if len(own) else ""
        rows.append(row)
    return pd.DataFrame(rows)


def second(run: Stored) -> pd.DataFrame:
    """ "Uncovering the Bias in Facial Expressions" beside a run on CK+ or the Actor Study: its Tables 1 and 2.

    Returns:
      Columns trained on, tested on, F1 macro and weighted F1, published and here [interval]. Empty for other data.
    """
    by = run.config.get("config", {}).get("cohort", {}).get("by", "")
    if run.data.get("name") not in _AU_DATA or "draws" not in run.tables or by not in PUBLISHED:
        return pd.DataFrame()
    table = run.tables["draws"]
    table = table[(table["attribute"] == by) & (table["target"] == "")]
    values = table.assign(method=table["method"].str.lower()).set_index(["method", "group", "metric"])
    rows = []
    for method, groups in PUBLISHED[by].items():
        for group, known in groups.items():
            row = {"trained on": method, "tested on": group}
            for (metric, name), value in zip(_AU_METRICS.items(), known, strict=True):
                row[f"{name}, published"] = f"{value:.2f}"
                key = (method, group, metric)
                row[f"{name}, here"] = interval(values.loc[[key]].iloc[0]) if key in values.index else ""
            rows.append(row)
    return pd.DataFrame(rows)


def interval(row: pd.Series) -> str:
    """'0.846 [0.833, 0.859]'."""
    if pd.isna(row["lower"]):
        return number(row["mean"])
    return f"{number(row['mean'])} [{number(row['lower'])}, {number(row['upper'])}]"
