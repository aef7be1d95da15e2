"""One chart: its drawing in Vega-Lite, the numbers behind it and what its reader chooses; as JSON, PNG and SVG."""

from __future__ import annotations

import copy
import dataclasses
import functools
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import numpy as np
import pandas as pd
import vl_convert

from frown_jax.report.style import THEME

_SNIPPET = "window.vegaEmbed = vegaEmbed;"
_TITLES = {"lower": "interval from", "upper": "to", "n": "n images", "p": "p (Holm)"}
TABLE = "table"  # name of the chart's data
_DIGITS = 5  # significant ones, in the page; the CSV files have all
_STILL_WIDTH = 560  # pixels of the PNG and SVG files, before scaling


@dataclasses.dataclass(frozen=True)
class Chart:
    """What is drawn of a table.

    Attributes:
      drawing: Altair's chart, with `data` as its data and container width.
      data: a row a mark.
      choices: of columns, what a reader can choose: drawn are the rows that have the chosen values. The first value
        is the one at first.
      beside: rows of role 'control' are drawn whatever method is chosen.
    """

    drawing: alt.Chart | alt.LayerChart | alt.FacetChart
    data: pd.DataFrame
    choices: Mapping[str, tuple[str, ...]]
    beside: bool = False

    def rows(self, values: Mapping[str, str] | None = None) -> pd.DataFrame:
        """What is drawn of the first choices, but for `values`."""
        kept = np.ones(len(self.data), bool)
        for column, value in ({**self.first, **(values or {})}).items():
            own = (self.data[column].astype(str) == value).to_numpy()
            if column == "method" and self.beside:
                own = own | (self.data["role"] == "control").to_numpy()
            kept &= own
        return self.data[kept]

    def vega(self) -> dict[str, Any]:
        """Vega for a page, as wide as its element; the page's script fills the data set TABLE."""
        lite = copy.deepcopy(self._drawn) | {"width": "container", "config": THEME, "data": {"name": TABLE}}
        return vl_convert.vegalite_to_vega(lite)

    def still(self, title: str, values: Mapping[str, str]) -> dict[str, Any]:
        """Vega-Lite with data, of the first choices but for `values`, with nothing left to choose."""
        out = copy.deepcopy(self._drawn) | {"width": _STILL_WIDTH, "config": THEME, "title": title}
        out["data"] = {"values": records(self.rows(values))}
        named = {_signal(column): value for column, value in values.items()}
        for param in out.get("params", ()):
            param.pop("bind", None)
            param["value"] = named.get(param["name"], param["value"])
        return out

    @functools.cached_property
    def _drawn(self) -> dict[str, Any]:
        with alt.data_transformers.enable(consolidate_datasets=False):
            drawn = self.drawing.to_dict()
        drawn.pop("config", None)
        for part in (drawn, *drawn.get("layer", ())):
            if part.get("data") == source().to_dict():  # inherits the chart's own table then
                del part["data"]
        return drawn

    def svg(self, title: str, values: Mapping[str, str]) -> str:
        """A picture of the first choices, but for `values`."""
        return vl_convert.vegalite_to_svg(self.still(title, values))

    @property
    def signals(self) -> dict[str, str]:
        """Vega's name of each choice."""
        return {column: _signal(column) for column in self.choices}

    @property
    def first(self) -> dict[str, str]:
        """What is chosen at first."""
        return {column: values[0] for column, values in self.choices.items()}


def choices(data: pd.DataFrame, *columns: str, beside: bool = False) -> dict[str, tuple[str, ...]]:
    """What a reader can choose of each column: its values, in the order in which they come.

    Args:
      data: the chart's table.
      columns: of it.
      beside: the first method, the control, is drawn anyway, and comes last.
    """
    out = {column: tuple(str(v) for v in dict.fromkeys(data[column])) for column in columns}
    if beside:
        out["method"] = (*out["method"][1:], out["method"][0])
    return out


def parameters(options: Mapping[str, Sequence[str]]) -> list[alt.Parameter]:
    """A field to choose from for each column of more than one value."""
    out = []
    for column, values in options.items():
        bind = alt.binding_select(options=list(values), name=f"{column} ") if len(values) > 1 else alt.Undefined
        out.append(alt.param(name=_signal(column), value=values[0], bind=bind))
    return out


def chosen(*columns: str, beside: bool = False) -> str:
    """Vega's expression for 'the row has the chosen values', or is the control's where that is drawn beside."""
    wanted = {column: f"datum['{column}'] === {_signal(column)}" for column in columns}
    if beside:
        wanted["method"] = f"({wanted['method']} || datum.role === 'control')"
    return " && ".join(wanted.values()) or "true"


def told(formats: Mapping[str, str], **titles: str) -> list[alt.Tooltip]:
    """What hovering tells.

    Args:
      formats: of columns, in their order, D3's number format; '' for text.
      titles: of columns that are not called by their name.
    """
    names = {**_TITLES, **titles}
    out = []
    for column, form in formats.items():
        name = names.get(column, column)
        numeric = alt.Tooltip(column, type="quantitative", format=form, title=name)
        out.append(numeric if form else alt.Tooltip(column, type="nominal", title=name))
    return out


def _signal(column: str) -> str:
    return "chosen_" + column.replace(" ", "_")


def source() -> alt.Data:
    """Stands for the chart's own table while it is drawn."""
    return alt.InlineData(values=[])


def columns(data: pd.DataFrame) -> dict[str, Any]:
    """A table for a page, column by column: numbers to five significant digits, null for what is not defined.

    Text is {"of": its different values, "at": the place of each row's among them}: a tenth of rows as JSON objects.
    """
    out: dict[str, Any] = {}
    for name in data.columns:
        values = data[name].to_numpy()
        if np.issubdtype(values.dtype, np.floating):
            out[name] = [_short(v) for v in values.tolist()]
        elif np.issubdtype(values.dtype, np.integer):
            out[name] = values.tolist()
        else:
            at, of = pd.factorize(data[name].astype(str))
            out[name] = {"of": of.tolist(), "at": at.tolist()}
    return out


def _short(value: float) -> float | int | None:
    if not np.isfinite(value):
        return None
    short = float(f"{value:.{_DIGITS}g}")
    return int(short) if short.is_integer() else short


def records(data: pd.DataFrame) -> list[dict[str, Any]]:
    """The same as Vega takes it: an object a row."""
    full = [[c["of"][k] for k in c["at"]] if isinstance(c, dict) else c for c in columns(data).values()]
    return [dict(zip(data.columns, row, strict=True)) for row in zip(*full, strict=True)]


def png(svg: str) -> bytes:
    """The same picture, at twice the pixels."""
    return vl_convert.svg_to_png(svg, scale=2)


@functools.cache
def library() -> str:
    """Vega, Vega-Lite and Vega-Embed as one script."""
    return vl_convert.javascript_bundle(_SNIPPET).replace("</script", "<\\/script")
