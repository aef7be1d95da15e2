"""Runs over random draws of subjects: the numbers, and charts of them."""

from __future__ import annotations

import altair as alt
import numpy as np
import pandas as pd

from frown_jax.metrics.draws import LEVEL
from frown_jax.metrics.verdicts import EQUAL, GAIN, LOSS, MARGIN, UNKNOWN
from frown_jax.report.chart import (
    Chart,
    choices,
    chosen,
    parameters,
    source,
    told,
)
from frown_jax.report.comparing import EVERYBODY, title
from frown_jax.report.stored import Stored
from frown_jax.report.style import PALETTE

_OVERALL = ("macro_f1", "weighted_f1", "accuracy", "auroc", "macro_precision", "macro_recall")
_OF_UNITS = ("f1", "target_auroc", "recall", "precision", "selection_rate")


def summary(run: Stored, units: bool) -> pd.DataFrame:
    """Means over draws: metric, tested on, [unit,] method, mean, lower, upper, n, draws.

    Args:
      run: with draws.csv.
      units: of each Action Unit; otherwise of all of them together.
    """
    table = run.tables["draws"]
    single = table["attribute"].isin(("", *run.attributes)) & (table["n"] > 0)
    metrics = _OF_UNITS if units else _OVERALL
    own = table[single & table["metric"].isin(metrics) & ((table["target"] != "") == units)]
    own = own[(own["group"] != "") | (own["attribute"] == "")]
    place = {m: i for i, m in enumerate(metrics)}
    own = own.sort_values("metric", key=lambda s: s.map(place), kind="stable")
    where = [f"{a}: {g}" if a else EVERYBODY for a, g in zip(own["attribute"], own["group"], strict=True)]
    own = own.assign(metric=own["metric"].map(title), unit=own["target"], **{"tested on": where})
    columns = ["metric", "tested on", *(["unit"] if units else []), "method", "mean", "lower", "upper", "n", "draws"]
    return own[columns].reset_index(drop=True)


def summary_chart(table: pd.DataFrame) -> Chart:
    """Means over draws with intervals, a colour a training set; a line a tested group, or an Action Unit.

    Args:
      table: of `summary`.
    """
    line = "unit" if "unit" in table else "tested on"
    options = choices(table, *(("metric", "tested on") if line == "unit" else ("metric",)))
    base = alt.Chart(source()).transform_filter(chosen(*options))
    methods = list(dict.fromkeys(table["method"]))
    y = alt.Y(f"{line}:N", sort=list(dict.fromkeys(table[line])), title=None)
    offset = alt.YOffset("method:N", sort=methods)
    colour = alt.Color("method:N", sort=methods, title="trained on", scale=alt.Scale(range=list(PALETTE)))
    tooltip = told(
        {"method": "", "mean": ".3f", "lower": ".3f", "upper": ".3f", "n": ",.1f", "draws": "d"},
        method="trained on",
        n="n images, mean over draws",
    )
    spans = base.mark_rule(strokeWidth=1.6).encode(
        x=alt.X("lower:Q", title=f"mean over draws of subjects, {LEVEL:.0%} interval"),
        x2="upper:Q",
        y=y,
        yOffset=offset,
        color=colour,
    )
    dots = base.mark_point(filled=True, size=55, opacity=1).encode(
        x="mean:Q",
        y=y,
        yOffset=offset,
        color=colour,
        shape=alt.Shape("method:N", sort=methods, legend=None),
        tooltip=tooltip,
    )
    step = alt.Step(12 * len(methods) + 10, **{"for": "position"})
    return Chart(
        alt.layer(spans, dots).add_params(*parameters(options)).properties(height=step),
        table,
        options,
    )


def contrasts(run: Stored) -> pd.DataFrame:
    """Training sets against each other on the same images: metric, pair, difference with its interval and verdict."""
    table = run.tables["contrasts"]
    pair = [
        f"{m} instead of {c}, tested on {g or EVERYBODY}"
        for m, c, g in zip(table["method"], table["control"], table["group"], strict=True)
    ]
    direction = np.where(table["difference"] > 0, GAIN, LOSS)
    equal = (table["lower"] >= -MARGIN) & (table["upper"] <= MARGIN)
    verdict = np.where(equal, EQUAL, np.where(table["p_holm"] < 1 - LEVEL, direction, UNKNOWN))
    own = table.assign(metric=table["metric"].map(title), pair=pair, p=table["p_holm"], verdict=verdict)
    return own[["metric", "pair", "difference", "lower", "upper", "p", "verdict", "draws"]]
