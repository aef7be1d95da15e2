"""A self-contained HTML page: pictures inside, text from data escaped, nothing fetched."""

from __future__ import annotations

import base64
import html
import pathlib
from collections.abc import Mapping, Sequence

import pandas as pd

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; color: #1c1c1c; background: #fff; max-width: 62rem; margin: 2rem auto;
  padding: 0 1rem; }
h1 { font-size: 1.5rem; } h2 { font-size: 1.15rem; margin-top: 2.2rem; }
img { max-width: 100%; height: auto; } figure { margin: 1rem 0; } figcaption { color: #555; font-size: .9rem; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .85rem; }
th, td { padding: .2rem .6rem; border-bottom: 1px solid #ddd; text-align: right; white-space: nowrap; }
th:first-child, td:first-child { text-align: left; }
"""


def table(frame: pd.DataFrame, most: int = 60) -> str:
    """A table's first rows."""

    def cell(value: object) -> str:
        if isinstance(value, float):
            return "" if value != value else f"{value:.3g}"
        return html.escape(str(value))

    head = "".join(f'<th scope="col">{html.escape(str(c))}</th>' for c in frame.columns)
    rows = [
        "<tr>" + "".join(f"<td>{cell(v)}</td>" for v in row) + "</tr>"
        for row in frame.head(most).itertuples(index=False)
    ]
    more = f"<p>{len(frame) - most} more rows in the CSV file.</p>" if len(frame) > most else ""
    return f'<div class="wide"><table><thead><tr>{head}</tr></thead><tbody>{"".join(rows)}</tbody></table></div>{more}'


def picture(path: pathlib.Path, caption: str) -> str:
    """A PNG file inside the page."""
    data = base64.b64encode(path.read_bytes()).decode()
    text = html.escape(caption)
    return f'<figure><img alt="{text}" src="data:image/png;base64,{data}"><figcaption>{text}</figcaption></figure>'


def page(title: str, sections: Mapping[str, Sequence[str]]) -> str:
    """HTML of sections, each a heading and fragments of HTML."""
    body = "".join(
        f"<section><h2>{html.escape(name)}</h2>{''.join(parts)}</section>" for name, parts in sections.items()
    )
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><title>{html.escape(title)}</title>'
        f'<meta name="viewport" content="width=device-width, initial-scale=1"><style>{_STYLE}</style></head>'
        f"<body><h1>{html.escape(title)}</h1>{body}</body></html>"
    )


def paragraph(text: str) -> str:
    """Text."""
    return f"<p>{html.escape(text)}</p>"
