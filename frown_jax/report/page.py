"""A self-contained HTML page: its sections are data, and the files in templates/ make HTML of them.

Everything that a page needs is inside it and nothing is fetched. Jinja escapes every text; what stands on a page
unescaped is in templates/raw.html, with the reasons.

A new kind of part takes a class here, whose `kind` names it, and a macro of that name in templates/parts.html.
"""

from __future__ import annotations

import base64
import dataclasses
import functools
import importlib.resources
import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import jinja2
import pandas as pd

from frown_jax.report import chart as charts

_WORDY = 40  # characters; longer texts wrap


@dataclasses.dataclass(frozen=True)
class Paragraph:
    """A paragraph is one text."""

    kind: ClassVar[str] = "paragraph"
    text: str


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell holds a text, and wraps it if it is wordy."""

    text: str
    wordy: bool = False


@dataclasses.dataclass(frozen=True)
class Table:
    """A table can be sorted by its columns.

    Attributes:
      head: the names of the columns.
      rows: the cells of each row, one for each column.
      left_out: how many rows the CSV file has beyond these.
    """

    kind: ClassVar[str] = "table"
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    left_out: int = 0


@dataclasses.dataclass(frozen=True)
class Picture:
    """A picture is a file inside the page.

    Attributes:
      source: the file as a data URI.
      caption: what it shows; screen readers read it too.
    """

    kind: ClassVar[str] = "picture"
    source: str
    caption: str


@dataclasses.dataclass(frozen=True)
class ChartFigure:
    """A chart is drawn by page.js, and its reader chooses what it shows.

    Attributes:
      name: its id on the page, and the name of its CSV file.
      caption: what it shows.
      choices: what page.js needs to know of the choices: the signal of each column, and whether the control is drawn
        beside the chosen method.
      spec: the drawing in Vega.
      data: the columns of its table, as `chart.columns` packs them.
      still: the picture for where scripts do not run, as a data URI; '' if there is none.
    """

    kind: ClassVar[str] = "chart"
    name: str
    caption: str
    choices: Mapping[str, Any]
    spec: Mapping[str, Any]
    data: Mapping[str, Any]
    still: str = ""


Part = Paragraph | Table | Picture | ChartFigure


@dataclasses.dataclass(frozen=True)
class Section:
    """A section has a heading, which the navigation at the top of the page links to, and parts below each other."""

    title: str
    id: str
    parts: tuple[Part, ...]


def table(frame: pd.DataFrame, most: int = 60) -> Table:
    """The first `most` rows of a frame, with numbers to three digits; what is not defined is blank."""

    def cell(value: object) -> Cell:
        if isinstance(value, float):
            return Cell("" if value != value else f"{value:.3g}")
        text = str(value)
        return Cell(text, len(text) > _WORDY)

    rows = tuple(tuple(map(cell, row)) for row in frame.head(most).itertuples(index=False))
    return Table(tuple(map(str, frame.columns)), rows, max(0, len(frame) - most))


def picture(path: pathlib.Path, caption: str) -> Picture:
    """The picture in a PNG file."""
    return Picture(_data_uri(path.read_bytes(), "png"), caption)


def chart(name: str, drawn: charts.Chart, caption: str, still: str) -> ChartFigure:
    """A chart with its data; `still` is its picture as SVG, or '' if there is none."""
    choices = {"signals": drawn.signals, "beside": drawn.beside}
    image = _data_uri(still.encode(), "svg+xml") if still else ""
    return ChartFigure(name, caption, choices, drawn.vega(), charts.columns(drawn.data), image)


def numbered(parts: Mapping[str, Sequence[Part]]) -> list[Section]:
    """Sections with these headings and parts; numbers tell their ids apart, since headings may differ in signs only."""
    return [
        Section(title, f"section-{k}-{re.sub(r'[^a-z0-9]+', '-', title.lower())}", tuple(own))
        for k, (title, own) in enumerate(parts.items())
    ]


def render(title: str, sections: Sequence[Section]) -> str:
    """The HTML of a page.

    Args:
      title: the page's heading.
      sections: what stands below it.

    Returns:
      A whole document. Vega's library is in it only if there is a chart.
    """
    drawn = any(isinstance(part, ChartFigure) for section in sections for part in section.parts)
    scripts = [*([charts.library()] if drawn else []), _asset("page.js")]
    template = _templates().get_template("page.html")
    return template.render(title=title, sections=sections, css=_asset("page.css"), scripts=scripts)


@functools.cache
def _templates() -> jinja2.Environment:
    found = jinja2.Environment(
        loader=jinja2.PackageLoader("frown_jax.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    # The order of keys is the order of columns, and what is not a number is no JSON.
    found.policies["json.dumps_kwargs"] = {"separators": (",", ":"), "allow_nan": False}
    return found


def _data_uri(data: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(data).decode()}"


def _asset(name: str) -> str:
    return (importlib.resources.files("frown_jax.report") / name).read_text(encoding="utf-8")
