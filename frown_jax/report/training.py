"""Training over epochs: the numbers, and a chart of them."""

from __future__ import annotations

from collections.abc import Mapping

import altair as alt
import numpy as np
import pandas as pd

from frown_jax.report.chart import Chart, choices, chosen, parameters, source
from frown_jax.report.stored import Stored
from frown_jax.report.style import CONTROL, METHOD

_SERIES: Mapping[str, Mapping[str, str]] = {
    "loss": {"train_loss": "training", "val_loss": "validation"},
    "accuracy": {"train_accuracy": "training", "val_accuracy": "validation"},
    "AUROC": {"val_auroc": "validation"},
}


def curves(run: Stored) -> pd.DataFrame:
    """Training over epochs: measure, method, role, split, epoch (from 1), median, lowest and highest of n members."""
    parts = []
    for measure, columns in _SERIES.items():
        for column, split in columns.items():
            if column not in run.curves:
                continue
            own = run.curves.dropna(subset=[column]).groupby(["method", "epoch"], sort=False)[column]
            spans = own.agg(median="median", lowest="min", highest="max", n="size").reset_index()
            parts.append(spans.assign(measure=measure, split=split, epoch=spans["epoch"] + 1))
    table = pd.concat(parts, ignore_index=True)
    table["role"] = np.where(table["method"] == run.curves["method"].iloc[0], "control", "method")
    return table[["measure", "method", "role", "split", "epoch", "median", "lowest", "highest", "n"]]


def curve_chart(table: pd.DataFrame) -> Chart:
    """A method's curves beside the control's: medians over members, with all members as a band.

    Args:
      table: of `curves`.
    """
    options = choices(table, "measure", "method", beside=True)
    base = alt.Chart(source()).transform_filter(chosen(*options, beside=True))
    x = alt.X(
        "epoch:Q",
        axis=alt.Axis(labelExpr="datum.value % 1 ? '' : format(datum.value, 'd')"),
        scale=alt.Scale(nice=False, zero=False),
    )
    roles = alt.Scale(domain=["control", "method"], range=[CONTROL, METHOD])
    colour = alt.Color("role:N", scale=roles, legend=alt.Legend(symbolOpacity=1), title=None)
    splits = alt.Scale(domain=["validation", "training"], range=[[1, 0], [4, 3]])
    dash = alt.StrokeDash(
        "split:N",
        scale=splits,
        legend=alt.Legend(symbolType="stroke", symbolStrokeColor="#333333", symbolStrokeWidth=2),
        title=None,
    )
    zero = alt.Scale(zero=False)
    band = base.mark_area(opacity=0.18).encode(
        x=x, y=alt.Y("lowest:Q", title="median and range over members", scale=zero), y2="highest:Q", color=colour,
        detail="split:N",
    )  # fmt: skip
    lines = base.mark_line(strokeWidth=1.8).encode(x=x, y="median:Q", color=colour, strokeDash=dash)
    numbers = [alt.Tooltip(f"{name}:Q", format=".4f") for name in ("median", "lowest", "highest")]
    dots = base.mark_point(filled=True, size=18, opacity=1).encode(
        x=x,
        y="median:Q",
        color=colour,
        tooltip=["method:N", "split:N", "epoch:Q", *numbers, alt.Tooltip("n:Q", title="n members")],
    )
    drawing = alt.layer(band, lines, dots).add_params(*parameters(options)).properties(height=300)
    return Chart(drawing, table, options, beside=True)
