"""A folder of results: tables as CSV, figures as PNG and SVG, and one page that shows them."""

from __future__ import annotations

import pathlib
import re
from collections.abc import Mapping, Sequence
from typing import Any

import matplotlib
import pandas as pd
from matplotlib.figure import Figure

from frown_jax.report import chart as charts
from frown_jax.report import page
from frown_jax.report.chart import Chart
from frown_jax.runs.directory import RunDir

# The same figure is the same file every time.
_FORMULAS = ("=", "+", "-", "@", "\t", "\r")
_SVG: Any = {"svg.hashsalt": "frown_jax", "svg.fonttype": "none"}


def for_spreadsheets(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with an apostrophe before texts that a spreadsheet would run as formulas (OWASP: CSV injection)."""

    def quiet(value: object) -> object:
        return f"'{value}" if isinstance(value, str) and value.startswith(_FORMULAS) else value

    texts = [c for c in frame.columns if not pd.api.types.is_numeric_dtype(frame[c])]
    return frame.assign(**{c: frame[c].map(quiet) for c in texts}).rename(columns=quiet)


class Folder:
    """Writes tables and figures, and remembers them for the page.

    Attributes:
      run: the folder's files.
      stills: whether charts leave PNG and SVG files.
    """

    def __init__(self, path: pathlib.Path, title: str, stills: bool = True):
        self.run = RunDir.made(path)
        self.stills = stills
        self._title = title
        self._sections: dict[str, list[page.Part]] = {}

    def say(self, section: str, text: str) -> None:
        """A paragraph."""
        self.add(section, page.Paragraph(text))

    def table(self, section: str, name: str, frame: pd.DataFrame, columns: Sequence[str] = ()) -> None:
        """A CSV file; on the page, some of its columns."""
        self.csv(name, frame)
        self.show(section, frame[list(columns)] if columns else frame)

    def csv(self, name: str, frame: pd.DataFrame) -> None:
        """A CSV file that a spreadsheet can open: text stays text."""
        self.run.write_csv(f"{name}.csv", for_spreadsheets(frame))

    def show(self, section: str, frame: pd.DataFrame) -> None:
        """A table on the page."""
        self.add(section, page.table(frame))

    def picture(self, section: str, name: str, figure: Figure, caption: str) -> None:
        """PNG and SVG files; the PNG is on the page."""
        self.run.replace(f"{name}.png", lambda p: figure.savefig(p, format="png", dpi=110))
        with matplotlib.rc_context(_SVG):
            self.run.replace(f"{name}.svg", lambda p: figure.savefig(p, format="svg", metadata={"Date": None}))
        self.add(section, page.picture(self.run.path / f"{name}.png", caption))

    def chart(
        self, section: str, name: str, chart: Chart, caption: str, stills: Sequence[Mapping[str, str]] = ({},)
    ) -> None:
        """A CSV file, and PNG and SVG files of some choices; the page's reader chooses.

        Args:
          section: heading.
          name: of the files.
          chart: what is drawn.
          caption: what it shows.
          stills: choices in place of the first ones, a picture each; their values end the files' names.
        """
        self.csv(name, chart.data)
        first = ""
        for values in stills if self.stills else ():
            of = ", ".join({**chart.first, **values}[c] for c, options in chart.choices.items() if len(options) > 1)
            title = f"{caption} ({of})" if of else caption
            file = re.sub(r"[^\w.+-]+", "_", "-".join([name, *values.values()]))
            svg = chart.svg(title, values)
            png = charts.png(svg)
            first = first or svg
            self.run.replace(f"{file}.png", lambda path, png=png: path.write_bytes(png))
            self.run.write_text(f"{file}.svg", svg)
        self.add(section, page.chart(name, chart, caption, first))

    def add(self, section: str, part: page.Part) -> None:
        """Puts a part at the end of a section, which begins with its first part."""
        self._sections.setdefault(section, []).append(part)

    def finish(self) -> pathlib.Path:
        """Writes index.html, and returns its path."""
        self.run.write_text("index.html", page.render(self._title, page.numbered(self._sections)))
        return self.run.path / "index.html"
