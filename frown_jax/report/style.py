"""How all charts look."""

from __future__ import annotations

from matplotlib.axes import Axes

# Okabe & Ito's palette: told apart by colour-blind readers.
PALETTE = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#F0E442", "#999999", "#000000")


def clean(axes: Axes) -> None:
    """Takes away the frame's top and right."""
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
