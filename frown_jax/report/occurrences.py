"""How often each Action Unit occurs, and which were chosen: the second study's Figure 5."""

from __future__ import annotations

import pandas as pd
from absl import logging
from matplotlib.figure import Figure

from frown_jax.faces.action_units import AU_NAMES
from frown_jax.report.style import clean
from frown_jax.runs.directory import RunDir


def text(counts: pd.DataFrame) -> str:
    """The table of data.units.select, a line a unit."""
    lines = [f"  {'Action Unit':<28}{'present':>9}{'absent':>9}{'unknown':>9}"]
    for row in counts.itertuples():
        name = f"{row.unit} {AU_NAMES.get(int(str(row.unit)[2:]), '')}".rstrip()
        left = "" if row.chosen else "  left out"
        lines.append(f"  {name:<28}{row.present:>9,}{row.absent:>9,}{row.unknown:>9,}{left}")
    return "\n".join(lines)


def figure(counts: pd.DataFrame, fewest: int = 0) -> Figure:
    """Bars of the occurrences; units that were left out are pale, and `fewest` above 0 is the line between."""
    found = Figure(figsize=(7, 3), layout="constrained")
    axes = found.subplots()
    colours = ["#3b6ea5" if chosen else "#c9d3de" for chosen in counts["chosen"]]
    axes.bar(counts["unit"], counts["present"], color=colours)
    axes.set_ylabel("images that show it")
    axes.tick_params(axis="x", rotation=90)
    title = "Action Units: dark ones are predicted"
    if fewest:
        axes.axhline(fewest, color="#888888", linewidth=0.8, linestyle="--")
        title += f" (at least {fewest:,} images)"
    axes.set_title(title, loc="left", fontsize=10)
    clean(axes)
    return found


def report(run: RunDir, counts: pd.DataFrame, fewest: int = 0) -> None:
    """Logs the counts, and leaves occurrences.csv and occurrences.png."""
    logging.info("occurrences of Action Units in the whole data set:\n%s", text(counts))
    run.write_csv("occurrences.csv", counts)
    run.replace("occurrences.png", lambda p: figure(counts, fewest).savefig(p, format="png", dpi=120))
