"""A method's groups: the numbers, and charts of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd

from frown_jax import schema
from frown_jax.metrics.plan import SEPARATOR, TINY
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
from frown_jax.report.style import LOSS, METHOD, PALETTE, SCALE

_METRICS = ("accuracy", "balanced_accuracy", "macro_f1", "auroc", "ece")
_BINS = 10
_ACROSS = 34  # pixels of a line with two bars
_DOWN = 38  # pixels of a cell with two lines of text


def values(run: Stored, metrics: Sequence[str] = _METRICS) -> pd.DataFrame:
    """Metrics of every group of every attribute and intersection: a row a method, with the interval and n."""
    table = run.tables["summary"]
    own = table[table["metric"].isin(metrics) & (table["group"] != "") & (table["target"] == "") & (table["n"] > 0)]
    own = own.assign(
        metric=own["metric"].map(title),
        role=np.where(own["method"] == run.methods[0], "control", "method"),
        label=[f"{g} (n = {int(n):,})" for g, n in zip(own["group"], own["n"], strict=True)],
    )
    columns = ["metric", "attribute", "method", "group", "mean", "lower", "upper", "n", "seeds", "role", "label"]
    return own[columns].rename(columns={"mean": "value"}).reset_index(drop=True)


def value_chart(table: pd.DataFrame) -> Chart:
    """A method's groups beside the control's, as bars with intervals.

    Args:
      table: of `values`.
    """
    options = choices(table, "metric", "attribute", "method", beside=True)
    base = alt.Chart(source()).transform_filter(chosen(*options, beside=True))
    y = alt.Y("label:N", sort=None, title=None, scale=alt.Scale(paddingInner=0.25))
    offset = alt.YOffset("role:N", sort=["control", "method"])
    colour = alt.Color("role:N", scale=alt.Scale(domain=["control", "method"], range=["#a9a9a9", METHOD]), title=None)
    tooltip = told({"method": "", "group": "", "value": ".3f", "lower": ".3f", "upper": ".3f", "n": ",", "seeds": "d"})
    bars = base.mark_bar().encode(x=alt.X("value:Q", title="value"), y=y, yOffset=offset, color=colour, tooltip=tooltip)
    spans = base.mark_rule(color="#222222", strokeWidth=1.4).encode(
        x="lower:Q", x2="upper:Q", y=y, yOffset=offset, tooltip=tooltip
    )
    drawing = alt.layer(bars, spans).add_params(*parameters(options))
    drawing = drawing.properties(height=alt.Step(_ACROSS, **{"for": "position"}))
    return Chart(drawing, table, options, beside=True)


def cells(run: Stored) -> pd.DataFrame:
    """Accuracy of every cell: cells (the attributes), method, row, column, accuracy, interval, n, minus the control."""
    table = run.tables["summary"]
    own = table[(table["metric"] == "accuracy") & (table["group"] != "") & (table["target"] == "")]
    names = own["group"].str.rsplit(SEPARATOR, n=1)
    own = own.assign(
        cells=own["attribute"],
        row=[parts[0] if len(parts) > 1 else "" for parts in names],
        column=[parts[-1] for parts in names],
        accuracy=own["mean"],
    )
    return _beside_control(own, run.methods[0], "accuracy")


def _beside_control(own: pd.DataFrame, control: str, value: str) -> pd.DataFrame:
    """Adds what a cell has over the control's, and how little it may rest on."""
    keys = ["cells", "row", "column"]
    of_control = own[own["method"] == control].set_index(keys)[value]
    minus = own[value].to_numpy() - of_control.reindex(pd.MultiIndex.from_frame(own[keys])).to_numpy()
    note = np.select([own["n"] == 0, own["n"] < TINY], ["no image", f"fewer than {TINY} images"], "")
    columns = ["cells", "method", "row", "column", value, "lower", "upper", "n", "minus control", "note"]
    return own.assign(**{"minus control": minus, "note": note})[columns].reset_index(drop=True)


def cell_chart(table: pd.DataFrame) -> Chart:
    """Accuracy of each cell as colours, with its n; grey where there is no image, framed where there are few.

    Args:
      table: of `cells`.
    """
    return _heatmap(table, "accuracy")


def _heatmap(table: pd.DataFrame, value: str) -> Chart:
    options = choices(table, "cells", "method")
    base = alt.Chart(source()).transform_filter(chosen(*options))
    x = alt.X("column:N", sort=None, title=None, axis=alt.Axis(labelAngle=0, orient="top", labelLimit=90))
    y = alt.Y("row:N", sort=None, title=None)
    numbers = {value: ".3f", "lower": ".3f", "upper": ".3f", "n": ",", "minus control": "+.3f"}
    tooltip = told({"row": "", "column": "", **numbers, "note": ""})
    boxes = base.mark_rect(stroke="white", strokeWidth=2, invalid=None).encode(
        x=x,
        y=y,
        color=alt.condition(
            "datum.n === 0",
            alt.value("#e6e6e6"),
            alt.Color(f"{value}:Q", scale=alt.Scale(scheme=SCALE, domain=[0, 1])),
        ),
        tooltip=tooltip,
    )
    inner: Any = {"width": alt.RelativeBandSize(0.97), "height": alt.RelativeBandSize(0.84)}
    few = base.transform_filter(f"datum.n > 0 && datum.n < {TINY}")
    frames = few.mark_rect(filled=False, stroke=LOSS, strokeDash=[3, 2], strokeWidth=1.5, **inner).encode(x=x, y=y)
    text = f"datum.n === 0 ? ['', 'none'] : [format(datum.{value}, '.2f'), 'n ' + format(datum.n, ',')]"
    written = (
        base.transform_calculate(text=text)
        .mark_text(fontSize=10.5, lineBreak="\n", dy=-5)
        .encode(
            x=x,
            y=y,
            text="text:N",
            color=alt.condition(f"datum.n === 0 || datum.{value} >= 0.45", alt.value("black"), alt.value("white")),
        )
    )
    drawing = alt.layer(boxes, frames, written).add_params(*parameters(options))
    return Chart(drawing.properties(height=alt.Step(_DOWN)), table, options)


def recalls(run: Stored) -> pd.DataFrame:
    """Which expressions fail for whom: as `cells`, with the attribute, the classes as rows, the groups as columns."""
    table = run.tables["summary"]
    own = table[(table["metric"] == "recall") & (table["target"] != "")]
    own = own[own["attribute"].isin(("", *run.attributes))]
    own = own.assign(
        cells=own["attribute"].replace("", EVERYBODY),
        row=own["target"],
        column=own["group"].replace("", EVERYBODY),
        recall=own["mean"],
    )
    return _attributes_first(_beside_control(own, run.methods[0], "recall"), "cells", run)


def _attributes_first(table: pd.DataFrame, column: str, run: Stored) -> pd.DataFrame:
    order = {a: i for i, a in enumerate((*run.attributes, EVERYBODY))}
    return table.sort_values(column, key=lambda s: s.map(order), kind="stable", ignore_index=True)


def recall_chart(table: pd.DataFrame) -> Chart:
    """Recall of each class in each group as colours, as `cell_chart`.

    Args:
      table: of `recalls`.
    """
    return _heatmap(table, "recall")


def _crossed(true: np.ndarray, predicted: np.ndarray, classes: int) -> np.ndarray:
    """Counts [true, predicted]."""
    return np.bincount(true * classes + predicted, minlength=classes**2).reshape(classes, classes)


def _binned(top: np.ndarray, right: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean confidence, accuracy and n in ten bins of equal width."""
    place = np.minimum((top * _BINS).astype(int), _BINS - 1)
    n = np.bincount(place, minlength=_BINS)
    sums = [np.bincount(place, weights=w, minlength=_BINS) for w in (top, right.astype(float))]
    confidence, accuracy = (np.divide(s, n, out=np.full(_BINS, np.nan), where=n > 0) for s in sums)
    return confidence, accuracy, n


def predicted(run: Stored) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Confusion and calibration of every method, of everybody and of each group.

    Returns:
      whose, method, true, predicted, share (of the true class), n (predictions, over members); and attribute, method,
      group, confidence, accuracy, n, a row a bin that has predictions.
    """
    table, classes = run.predictions, run.classes
    true, answer = (schema.codes(table[c], classes) for c in ("emotion", "prediction"))
    p = table[[f"p_{c}" for c in classes]].to_numpy(np.float32)
    top, right = p.max(1).astype(np.float64), p.argmax(1) == true
    method = pd.Categorical(table["method"], categories=run.methods).codes
    groups: dict[tuple[str, str], np.ndarray | None] = {(EVERYBODY, EVERYBODY): None}
    for attribute, names in run.attributes.items():
        codes = schema.codes(table[attribute], names) if len(names) else np.empty(0)
        groups |= {(attribute, name): codes == k for k, name in enumerate(names) if (codes == k).any()}
    crossed, bins = [], []
    for m, name in enumerate(run.methods):
        of_method = np.flatnonzero(method == m)
        for (attribute, group), inside in groups.items():
            rows = of_method if inside is None else of_method[inside[of_method]]
            crossed.append(_confusion_rows(_crossed(true[rows], answer[rows], len(classes)), classes).assign(
                whose=group if inside is None else f"{attribute}: {group}", method=name))  # fmt: skip
            confidence, accuracy, n = _binned(top[rows], right[rows])
            own = pd.DataFrame({"confidence": confidence, "accuracy": accuracy, "n": n})
            bins.append(own[n > 0].assign(attribute=attribute, method=name, group=group))
    confusion = pd.concat(crossed, ignore_index=True)[["whose", "method", "true", "predicted", "share", "n"]]
    calibration = pd.concat(bins, ignore_index=True)[["attribute", "method", "group", "confidence", "accuracy", "n"]]
    return confusion, _attributes_first(calibration, "attribute", run)


def _confusion_rows(counts: np.ndarray, classes: Sequence[str]) -> pd.DataFrame:
    total = counts.sum(1, keepdims=True)
    share = np.divide(counts, total, out=np.full(counts.shape, np.nan), where=total > 0)
    names = np.array(classes, object)
    return pd.DataFrame(
        {
            "true": names.repeat(len(classes)),
            "predicted": np.tile(names, len(classes)),
            "share": share.ravel(),
            "n": counts.ravel(),
        }
    )


def confusion_chart(table: pd.DataFrame, classes: Sequence[str]) -> Chart:
    """What is taken for what: shares of the true class.

    Args:
      table: whose, method, true, predicted, share, n.
      classes: in their order.
    """
    options = choices(table, "whose", "method")
    base = alt.Chart(source()).transform_filter(chosen(*options))
    x = alt.X("predicted:N", sort=list(classes), axis=alt.Axis(orient="top", labelAngle=-40))
    y = alt.Y("true:N", sort=list(classes))
    boxes = base.mark_rect(stroke="white").encode(
        x=x,
        y=y,
        color=alt.Color("share:Q", scale=alt.Scale(scheme="blues", domain=[0, 1]), title="share of the true class"),
        tooltip=["true:N", "predicted:N", alt.Tooltip("share:Q", format=".3f"), alt.Tooltip("n:Q", format=",")],
    )
    written = (
        base.transform_filter("isValid(datum.share) && datum.share >= 0.005")
        .mark_text(fontSize=10.5)
        .encode(
            x=x,
            y=y,
            text=alt.Text("share:Q", format=".0%"),
            color=alt.condition("datum.share > 0.55", alt.value("white"), alt.value("black")),
        )
    )
    drawing = alt.layer(boxes, written).add_params(*parameters(options)).properties(height=alt.Step(30))
    return Chart(drawing, table, options)


def reliability_chart(table: pd.DataFrame) -> Chart:
    """Accuracy against confidence, a line a group; above the diagonal a group is more often right than it is told.

    Args:
      table: attribute, method, group, confidence, accuracy, n.
    """
    options = choices(table, "attribute", "method")
    base = alt.Chart(source()).transform_filter(chosen(*options))
    unit = alt.Scale(domain=[0, 1])
    x = alt.X("confidence:Q", scale=unit, title="mean confidence")
    y = alt.Y("accuracy:Q", scale=unit, title="accuracy")
    colour = alt.Color("group:N", sort=None, title=None, scale=alt.Scale(range=[*PALETTE[:6], *PALETTE[7:]]))
    diagonal = (
        alt.Chart(alt.InlineData(values=[{"x": 0, "y": 0}, {"x": 1, "y": 1}]))
        .mark_line(color="#999999", strokeDash=[4, 3])
        .encode(x="x:Q", y="y:Q")
    )
    lines = base.mark_line(strokeWidth=1.5).encode(x=x, y=y, color=colour)
    dots = base.mark_point(filled=True, opacity=1).encode(
        x=x,
        y=y,
        color=colour,
        shape=alt.Shape("group:N", sort=None, legend=None),
        size=alt.Size("n:Q", scale=alt.Scale(range=[20, 220]), title="predictions"),
        tooltip=["group:N", alt.Tooltip("confidence:Q", format=".3f"), alt.Tooltip("accuracy:Q", format=".3f"),
                 alt.Tooltip("n:Q", format=",", title="n predictions")],
    )  # fmt: skip
    drawing = alt.layer(diagonal, lines, dots).add_params(*parameters(options)).properties(height=330)
    return Chart(drawing, table, options)
