"""Methods against the control and against each other: the numbers, and charts of them."""

from __future__ import annotations

from collections.abc import Sequence

import altair as alt
import numpy as np
import pandas as pd

from frown_jax.metrics import catalogue
from frown_jax.metrics.verdicts import EQUAL, GAIN, LOSS, UNKNOWN
from frown_jax.report import style
from frown_jax.report.chart import (
    Chart,
    choices,
    chosen,
    parameters,
    source,
    told,
)
from frown_jax.report.stored import Stored
from frown_jax.report.style import CONTROL, METHOD, PALETTE

EVERYBODY = "everybody"
_STEP = 19  # pixels of a line of text
_SHAPES = {GAIN: "triangle-right", LOSS: "triangle-left", EQUAL: "square", UNKNOWN: "circle"}
_COLOURS = {GAIN: style.GAIN, LOSS: style.LOSS, EQUAL: PALETTE[2], UNKNOWN: "#767676"}
_READINGS = ("levelled up", "levelled down", "gap wider or unchanged")
_BETTER = {"higher": "more is better", "lower": "less is better", "neither": ""}


def title(metric: str) -> str:
    """'worst group accuracy'."""
    return metric.replace("_", " ")


def _of_everything(table: pd.DataFrame) -> pd.DataFrame:
    """Rows of no single group and no single class, with the attribute and metric as a reader calls them."""
    own = table[(table["group"] == "") & (table["target"] == "")]
    direction = own["metric"].map(lambda m: _BETTER[catalogue.metric(m).better])
    return own.assign(
        metric=own["metric"].map(title),
        attribute=own["attribute"].replace("", EVERYBODY),
        direction=direction,
    )


def differences(run: Stored, fairness: bool) -> pd.DataFrame:
    """Every method minus the control: difference, interval, corrected p and verdict.

    Args:
      run: with comparisons.
      fairness: measures between the groups of an attribute; otherwise of everybody.
    """
    own = _of_everything(run.tables["comparisons"])
    own = own[(own["attribute"] != EVERYBODY) == fairness]
    own = own.assign(p=own["p_corrected"], verdict=own["verdict"].replace("", UNKNOWN))
    columns = ["metric", "attribute", "method", "difference", "lower", "upper", "p", "verdict", "family", "value", "n"]
    parts = ["seeds", "sd_images", "sd_seeds", "sd_both", "seeds_needed", "images_needed"]
    return own[[*columns, *parts, "direction"]].reset_index(drop=True)


# What hovering tells of a difference, as far as a table has it.
_TOLD = {
    "difference": "+.3f",
    "lower": "+.3f",
    "upper": "+.3f",
    "p": ".3g",
    "value": ".3f",
    "n": ",",
    "family": "",
    "seeds": "d",
    "sd_images": ".3f",
    "sd_seeds": ".3f",
    "sd_both": ".3f",
    "seeds_needed": ",",
    "images_needed": ",",
    "draws": "d",
}


def difference_chart(table: pd.DataFrame, line: str = "method", unit: str = "method minus control") -> Chart:
    """Differences with their intervals and verdicts; hollow where nothing can be told.

    Args:
      table: of `differences`, or of `action_units.contrasts`.
      line: column that names a line.
      unit: title of the axis.
    """
    options = choices(table, *(c for c in ("metric", "attribute") if c in table))
    base = alt.Chart(source()).transform_filter(chosen(*options))
    y = alt.Y(f"{line}:N", sort=list(dict.fromkeys(table[line])), title=None, axis=alt.Axis(labelLimit=330))
    colour = alt.Color(
        "verdict:N",
        scale=alt.Scale(domain=list(_COLOURS), range=list(_COLOURS.values())),
        title="after correction",
        legend=alt.Legend(symbolStrokeWidth=2),
    )
    formats = {line: "", **{c: form for c, form in _TOLD.items() if c in table}}
    span = base.mark_rule(strokeWidth=2).encode(x=alt.X("lower:Q", title=unit), x2="upper:Q", y=y, color=colour)
    dots = base.mark_point(size=70, strokeWidth=2, opacity=1).encode(
        x="difference:Q",
        y=y,
        color=colour,
        fill=alt.condition(f"datum.verdict === '{UNKNOWN}'", alt.value("white"), colour),
        shape=alt.Shape(
            "verdict:N",
            scale=alt.Scale(domain=list(_SHAPES), range=list(_SHAPES.values())),
            title="after correction",
        ),
        tooltip=told(formats, value="its own value"),
    )
    zero = alt.Chart(alt.InlineData(values=[{"zero": 0}])).mark_rule(color="#333333").encode(x="zero:Q")
    drawing = alt.layer(zero, span, dots).add_params(*parameters(options)).properties(height=alt.Step(_STEP))
    return Chart(drawing, table, options)


def front(accuracy: np.ndarray, fairness: np.ndarray) -> np.ndarray:
    """Which points nothing beats: no other has as much of both, and more of one.

    Args:
      accuracy, fairness: [n]; more is better. NaN is never on the front.
    """
    x, y = np.asarray(fairness, float), np.asarray(accuracy, float)
    no_worse = (x[None] >= x[:, None]) & (y[None] >= y[:, None])
    better = (x[None] > x[:, None]) | (y[None] > y[:, None])
    return ~(no_worse & better).any(1) & np.isfinite(x) & np.isfinite(y)


def tradeoffs(run: Stored, metrics: Sequence[str], attributes: Sequence[str]) -> pd.DataFrame:
    """Accuracy and a fairness measure: of every method, and of every one of its seeds.

    Returns:
      Columns fairness (its name), attribute, method, kind ('method' or 'seed'), seed ('' for a method), accuracy,
      value, n, pareto ('yes': no other method beats it), control ('yes' or 'no').
    """
    seeds = run.results()
    if len(seeds):
        seeds = seeds[seeds["split"] == "test"]
    parts = []
    for metric in metrics:
        sign = 1 if catalogue.metric(metric).better == "higher" else -1
        for attribute in attributes:
            of_methods = _pairs(run.tables["summary"].rename(columns={"mean": "value"}), metric, attribute)
            of_methods = of_methods.set_index("method").reindex(run.methods).reset_index().dropna(subset=["value"])
            of_methods = of_methods.assign(
                kind="method",
                seed="",
                pareto=np.where(
                    front(of_methods["accuracy"].to_numpy(), sign * of_methods["value"].to_numpy()), "yes", "no"
                ),
            )
            own = [of_methods]
            if len(seeds):
                own.append(_pairs(seeds, metric, attribute, "member", "seed").assign(kind="seed", pareto="no"))
            direction = _BETTER[catalogue.metric(metric).better]
            name = title(metric) + (f" ({direction})" if direction else "")
            parts.append(pd.concat(own).assign(fairness=name, attribute=attribute))
    table = pd.concat(parts, ignore_index=True)
    table["control"] = np.where(table["method"] == run.methods[0], "yes", "no")
    columns = ["fairness", "attribute", "method", "kind", "seed", "accuracy", "value", "n", "pareto", "control"]
    return table[columns].astype({"seed": str})


def _pairs(table: pd.DataFrame, metric: str, attribute: str, *by: str) -> pd.DataFrame:
    """Accuracy of everybody beside a measure of an attribute."""
    table = table[(table["group"] == "") & (table["target"] == "")]
    keys = ["method", *by]
    accuracy = table[(table["metric"] == "accuracy") & (table["attribute"] == "")]
    value = table[(table["metric"] == metric) & (table["attribute"] == attribute)]
    accuracy = accuracy.rename(columns={"value": "accuracy"})[[*keys, "accuracy", "n"]]
    return accuracy.merge(value[[*keys, "value"]], on=keys, how="inner")


def tradeoff_chart(table: pd.DataFrame) -> Chart:
    """Accuracy against fairness: a large dot a method, the seeds of one of them, and the front that nothing beats.

    Args:
      table: of `tradeoffs`.
    """
    options = choices(table, "fairness", "attribute")
    methods = tuple(dict.fromkeys(table["method"]))
    here = chosen(*options)
    x = alt.X("value:Q", title="fairness measure", scale=alt.Scale(zero=False, nice=True))
    y = alt.Y("accuracy:Q", title="accuracy", scale=alt.Scale(zero=False, nice=True))
    formats = {"method": "", "seed": "", "accuracy": ".3f", "value": ".3f", "n": ",", "pareto": ""}
    tooltip = told(formats, value="fairness measure", pareto="on the front")
    base = alt.Chart(source()).transform_filter(here)
    of_methods = base.transform_filter("datum.kind === 'method'")
    seeds = (
        base.transform_filter("datum.kind === 'seed' && datum.method === chosen_seeds")
        .mark_point(size=22, filled=True, color=PALETTE[1], opacity=0.9)
        .encode(x=x, y=y, tooltip=tooltip)
    )
    line = (
        of_methods.transform_filter("datum.pareto === 'yes'")
        .mark_line(color=CONTROL, strokeDash=[4, 3], strokeWidth=1.2)
        .encode(x=x, y=y, order="value:Q")
    )
    kinds = {
        "control": ("diamond", style.LOSS),
        "on the front": ("circle", METHOD),
        "other methods": ("circle", "#9ab6cc"),
    }
    kind = "datum.control === 'yes' ? 'control' : datum.pareto === 'yes' ? 'on the front' : 'other methods'"
    dots = (
        of_methods.transform_calculate(what=kind)
        .mark_point(size=75, filled=True, opacity=1)
        .encode(
            x=x,
            y=y,
            color=alt.Color(
                "what:N", scale=alt.Scale(domain=list(kinds), range=[c for _, c in kinds.values()]), title=None
            ),
            shape=alt.Shape(
                "what:N", scale=alt.Scale(domain=list(kinds), range=[s for s, _ in kinds.values()]), title=None
            ),
            tooltip=tooltip,
        )
    )
    names = (
        of_methods.transform_filter("datum.pareto === 'yes' || datum.control === 'yes'")
        .mark_text(align="left", dx=7, dy=-6, fontSize=10, color="#333333")
        .encode(x=x, y=y, text="method:N")
    )
    seeds_of = alt.param(
        name="chosen_seeds",
        value=methods[0],
        bind=alt.binding_select(options=list(methods), name="small dots: seeds of "),
    )
    params = [*parameters(options), seeds_of]
    return Chart(alt.layer(line, seeds, dots, names).add_params(*params).properties(height=330), table, options)


def levelling(run: Stored) -> pd.DataFrame:
    """How each method changes the worst group and the best: method, attribute, worst, best, gap, intervals, reading."""
    table = run.tables["levelling"]
    text = table["reading"].astype(str)
    kind = np.select([text.str.startswith(r) for r in _READINGS[:2]], _READINGS[:2], _READINGS[2])
    return table.assign(kind=kind)[
        ["attribute", "method", "best", "best_lower", "best_upper", "worst", "worst_lower", "worst_upper", "gap",
         "gap_lower", "gap_upper", "kind", "reading"]
    ]  # fmt: skip


def levelling_chart(table: pd.DataFrame) -> Chart:
    """Change of the worst group against change of the best: up and right lifts both, down and left lowers both.

    Args:
      table: of `levelling`.
    """
    options = choices(table, "attribute")
    base = alt.Chart(source()).transform_filter(chosen(*options))
    x = alt.X("best:Q", title="change of the best group's accuracy", axis=alt.Axis(format="+.2f"))
    y = alt.Y("worst:Q", title="change of the worst group's accuracy", axis=alt.Axis(format="+.2f"))
    colours = [PALETTE[2], style.LOSS, "#8a8a8a"]
    domain, tooltip = list(_READINGS), [alt.Tooltip("method:N"), alt.Tooltip("reading:N")]
    for column in ("best", "worst", "gap"):
        tooltip.append(alt.Tooltip(f"{column}:Q", format="+.3f", title=f"{column}, change"))
        tooltip += [
            alt.Tooltip(f"{column}_{end}:Q", format="+.3f", title=f"{column}, {end}") for end in ("lower", "upper")
        ]
    dots = base.mark_point(size=75, filled=True, opacity=0.9).encode(
        x=x,
        y=y,
        color=alt.Color("kind:N", scale=alt.Scale(domain=domain, range=colours), title=None),
        shape=alt.Shape(
            "kind:N", scale=alt.Scale(domain=domain, range=["triangle-up", "triangle-down", "circle"]), title=None
        ),
        tooltip=tooltip,
    )
    reach = 1.1 * max(1e-3, float(np.nanmax(np.abs(table[["worst", "best"]].to_numpy(float)), initial=0)))
    lines = [{"x": -reach, "y": 0, "x2": reach, "y2": 0}, {"x": 0, "y": -reach, "x2": 0, "y2": reach}]
    axes = (
        alt.Chart(alt.InlineData(values=lines))
        .mark_rule(color="#555555")
        .encode(x="x:Q", y="y:Q", x2="x2:Q", y2="y2:Q")
    )
    diagonal = (
        alt.Chart(alt.InlineData(values=[{"x": -reach, "y": -reach, "x2": reach, "y2": reach}]))
        .mark_rule(color="#999999", strokeDash=[4, 3])
        .encode(x="x:Q", y="y:Q", x2="x2:Q", y2="y2:Q")
    )
    drawing = alt.layer(axes, diagonal, dots).add_params(*parameters(options)).properties(height=360)
    return Chart(drawing, table, options)


def ranks(run: Stored) -> pd.DataFrame:
    """Mean ranks over seeds: measure, method, rank (1 is best), critical difference, Friedman's p, seeds."""
    table = run.tables["ranks"]
    names = [c for c in table.columns if c.startswith("mean_rank_")]
    keys = ["metric", "attribute", "seeds", "p_value", "critical_difference"]
    long = table.melt(keys, names, var_name="method", value_name="rank")
    long["method"] = long["method"].str.removeprefix("mean_rank_")
    long["measure"] = [
        title(m) + (f", {a}" if a else "") for m, a in zip(long["metric"], long["attribute"], strict=True)
    ]
    place = {m: i for i, m in enumerate(dict.fromkeys(long["measure"]))}
    long = long.dropna(subset=["rank"]).sort_values("measure", key=lambda s: s.map(place), kind="stable")
    best = long.groupby("measure")["rank"].transform("min")
    apart = np.where(long["rank"] <= best + long["critical_difference"], "not told apart from the best", "worse")
    long["apart"] = np.where(np.isfinite(long["critical_difference"]), apart, "no test")
    long = long.rename(columns={"critical_difference": "critical difference", "p_value": "Friedman p"})
    return long[["measure", "method", "rank", "critical difference", "apart", "Friedman p", "seeds"]].reset_index(
        drop=True
    )


def rank_chart(table: pd.DataFrame) -> Chart:
    """Mean ranks (Demsar 2006): methods within the critical difference of the best are not told apart from it.

    Args:
      table: of `ranks`.
    """
    options = choices(table, "measure")
    base = alt.Chart(source()).transform_filter(chosen(*options))
    y = alt.Y("method:N", sort=alt.EncodingSortField("rank", order="ascending"), title=None)
    kinds = {"not told apart from the best": METHOD, "worse": style.LOSS, "no test": "#8a8a8a"}
    dots = base.mark_point(size=70, filled=True, opacity=1).encode(
        x=alt.X("rank:Q", title="mean rank over seeds (1 is best)", scale=alt.Scale(zero=False)),
        y=y,
        color=alt.Color(
            "apart:N", scale=alt.Scale(domain=list(kinds), range=list(kinds.values())), title="after Nemenyi's test"
        ),
        tooltip=[
            alt.Tooltip("method:N"),
            alt.Tooltip("rank:Q", format=".2f"),
            alt.Tooltip("critical difference:Q", format=".2f"),
            alt.Tooltip("apart:N"),
            alt.Tooltip("Friedman p:Q", format=".3g"),
            alt.Tooltip("seeds:Q"),
        ],
    )
    band = (
        base.transform_joinaggregate(best="min(rank)")
        .transform_calculate(end="datum.best + datum['critical difference']")
        .transform_filter("datum.rank === datum.best && isValid(datum['critical difference'])")
        .mark_rect(color=PALETTE[4], opacity=0.25)
        .encode(x="best:Q", x2="end:Q")
    )
    drawing = alt.layer(band, dots).add_params(*parameters(options)).properties(height=alt.Step(_STEP))
    return Chart(drawing, table, options)


def stability_chart(table: pd.DataFrame) -> Chart:
    """The span of a method's ranks over selection rules.

    Args:
      table: rank_stability.csv.
    """
    table = table.rename(columns={"candidate": "method", "best_rank": "best rank", "worst_rank": "worst rank",
                                  "kendall_w": "Kendall W"})  # fmt: skip
    options = choices(table, "attribute")
    drawing = (
        alt.Chart(source())
        .transform_filter(chosen(*options))
        .mark_bar(size=7, color=METHOD)
        .encode(
            x=alt.X("best rank:Q", title="ranks over the selection rules (1 is best)"),
            x2="worst rank:Q",
            y=alt.Y("method:N", sort=alt.EncodingSortField("best rank", order="ascending"), title=None),
            tooltip=["method:N", "best rank:Q", "worst rank:Q", alt.Tooltip("Kendall W:Q", format=".2f")],
        )
        .add_params(*parameters(options))
        .properties(height=alt.Step(_STEP))
    )
    return Chart(drawing, table, options)


def regret_chart(table: pd.DataFrame) -> Chart:
    """What each selection rule would have chosen, and how far its worst group is from the best choice's.

    Args:
      table: choices.csv.
    """
    table = table.rename(columns=lambda c: c.replace("_", " "))
    options = choices(table, "attribute")
    base = alt.Chart(source()).transform_filter(chosen(*options))
    y = alt.Y("rule:N", sort=list(dict.fromkeys(table["rule"])), title=None)
    most = table["regret"].max() if table["regret"].notna().any() else 0.0
    room = alt.Scale(domain=[0, max(1.5 * most, 0.01)])  # for the names behind the bars
    x = alt.X("regret:Q", title="worst-group accuracy lost to the best", scale=room)
    figures = [alt.Tooltip(f"{c}:Q", format=".3f") for c in ("regret", "test accuracy", "test worst group")]
    bars = base.mark_bar(size=9, color=METHOD).encode(
        x=x, y=y, tooltip=[alt.Tooltip("rule:N"), alt.Tooltip("chosen:N", title="chosen method"), *figures]
    )
    names = base.mark_text(align="left", dx=5, fontSize=10.5, color="#333333").encode(x=x, y=y, text="chosen:N")
    drawing = alt.layer(bars, names).add_params(*parameters(options)).properties(height=alt.Step(_STEP + 3))
    return Chart(drawing, table, options)
