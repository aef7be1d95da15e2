"""A self-contained HTML page: pictures, charts and their scripts inside, text from data escaped, nothing fetched."""

from __future__ import annotations

import base64
import html
import importlib.resources
import itertools
import pathlib
import re
from collections.abc import Mapping, Sequence

import pandas as pd

from frown_jax.report import chart as charts
from frown_jax.report.chart import Chart

_CHART = '<figure class="chart"'
# Nothing may be fetched, whatever stands in the page; Vega compiles its expressions.
_POLICY = "default-src 'none'; img-src data: blob:; style-src 'unsafe-inline'; script-src 'unsafe-inline' 'unsafe-eval'"
_WORDY = 40  # characters; longer texts wrap


def table(frame: pd.DataFrame, most: int = 60) -> str:
    """A table's first rows; readers sort it by its columns."""

    def cell(value: object) -> str:
        if isinstance(value, float):
            return f"<td>{'' if value != value else f'{value:.3g}'}</td>"
        text = str(value)
        return f"<td{' class=words' if len(text) > _WORDY else ''}>{html.escape(text)}</td>"

    head = "".join(f'<th scope="col">{html.escape(str(c))}</th>' for c in frame.columns)
    rows = ["<tr>" + "".join(map(cell, row)) + "</tr>" for row in frame.head(most).itertuples(index=False)]
    more = f"<p>{len(frame) - most} more rows in the CSV file.</p>" if len(frame) > most else ""
    return (
        '<div class="wide" tabindex="0" role="group" aria-label="Table">'
        f"<table><thead><tr>{head}</tr></thead><tbody>{''.join(rows)}</tbody></table></div>{more}"
    )


def picture(path: pathlib.Path, caption: str) -> str:
    """A PNG file inside the page."""
    text = html.escape(caption)
    return f"<figure><figcaption>{text}</figcaption>{_image(path.read_bytes(), 'png', text)}</figure>"


def _image(data: bytes, kind: str, text: str) -> str:
    return f'<img alt="{text}" src="data:image/{kind};base64,{base64.b64encode(data).decode()}">'


def chart(name: str, drawn: Chart, caption: str, still: str) -> str:
    """An interactive chart; where scripts do not run, its picture (SVG), if there is one."""
    text = html.escape(caption)
    image = _image(still.encode(), "svg+xml", text) if still else paragraph(f"Its numbers are in {name}.csv.")
    chosen = html.escape(charts.script({"signals": drawn.signals, "beside": drawn.beside}))
    return (
        f'{_CHART} id="{html.escape(name)}" data-choices="{chosen}"><figcaption>{text}</figcaption>'
        f'<div class="choices"></div><div class="drawing" role="group" aria-label="{text}"></div>'
        f"<noscript>{image}</noscript>"
        f'<details class="numbers"><summary>The numbers</summary></details>'
        f'<script type="application/json" class="spec">{charts.script(drawn.vega())}</script>'
        f'<script type="application/json" class="data">{charts.script(charts.columns(drawn.data))}</script></figure>'
    )


def page(title: str, sections: Mapping[str, Sequence[str]]) -> str:
    """HTML of sections, each a heading and fragments of HTML."""
    ids = {name: f"section-{k}-{re.sub(r'[^a-z0-9]+', '-', name.lower())}" for k, name in enumerate(sections)}
    links = "".join(f'<li><a href="#{ids[name]}">{html.escape(name)}</a></li>' for name in sections)
    body = "".join(
        f'<section id="{ids[name]}"><h2>{html.escape(name)}</h2>{"".join(parts)}</section>'
        for name, parts in sections.items()
    )
    drawn = any(part.startswith(_CHART) for part in itertools.chain.from_iterable(sections.values()))
    library = f"<script>{charts.library()}</script>" if drawn else ""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_asset("page.css")}</style>'
        f'</head><body><a class="skip" href="#content">Skip to the content</a><header><h1>{html.escape(title)}</h1>'
        f'<nav aria-label="Sections"><ul>{links}</ul></nav></header><main id="content">{body}</main>'
        f"{library}<script>{_asset('page.js')}</script></body></html>"
    )


def paragraph(text: str) -> str:
    """Text."""
    return f"<p>{html.escape(text)}</p>"


def _asset(name: str) -> str:
    return (importlib.resources.files("frown_jax.report") / name).read_text()
