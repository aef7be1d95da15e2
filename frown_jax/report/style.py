"""How all charts look."""

from __future__ import annotations

from typing import Any, Final

from matplotlib.axes import Axes

# Okabe & Ito's palette: told apart by colour-blind readers.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999", "#000000")
CONTROL, METHOD = "#6e6e6e", PALETTE[0]
GAIN, LOSS = PALETTE[0], PALETTE[5]
SCALE: Final = "cividis"  # even in lightness, and the same to colour-blind readers

# Vega-Lite's config.
THEME: dict[str, Any] = {
    "font": "system-ui, sans-serif",
    "background": "white",
    "view": {"stroke": None},
    "axis": {"labelColor": "#333333", "titleColor": "#333333", "titleFontWeight": "normal", "labelLimit": 260},
    "legend": {
        "labelColor": "#333333",
        "titleColor": "#333333",
        "titleFontWeight": "normal",
        "orient": "bottom",
        "columns": {"expr": "width < 420 ? 1 : 0"},  # one below the other on a phone
    },
    "title": {"anchor": "start", "fontSize": 12, "fontWeight": "normal"},
    "range": {"category": list(PALETTE)},
}


def clean(axes: Axes) -> None:
    """Takes away the frame's top and right."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
