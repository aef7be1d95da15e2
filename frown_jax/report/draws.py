"""Experiments over random draws of subjects as text: the second study's Tables 1 and 2, with intervals over draws."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from frown_jax.metrics.draws import LEVEL
from frown_jax.report.text import FACES_NOTE, number

# Deuschel, Finzel & Rieger 2020, Tables 1 and 2: (F1 macro, weighted F1 macro) by training set and tested group, on CK+
# and the Actor Study; one draw of subjects, one run.
PUBLISHED: dict[str, dict[str, dict[str, tuple[float, float]]]] = {
    "gender": {
        "female": {"Female": (0.55, 0.55), "Male": (0.56, 0.58)},
        "male": {"Female": (0.44, 0.45), "Male": (0.55, 0.59)},
        "mixed": {"Female": (0.54, 0.55), "Male": (0.60, 0.63)},
    },
    "skin_tone": {"light": {"Light": (0.63, 0.69), "Dark": (0.55, 0.62)}},
}
_NAMES = {
    "macro_f1": "F1 macro",
    "weighted_f1": "weighted F1",
    "accuracy": "accuracy",
    "macro_precision": "precision",
    "macro_recall": "recall",
}
_TABLE = ("macro_f1", "weighted_f1")
_MORE = ("accuracy", "macro_precision", "macro_recall")
_CELL = 22


def _cell(rows: pd.DataFrame, **where: str) -> str:
    chosen = rows
    for column, value in where.items():
        chosen = chosen[chosen[column] == value]
    if chosen.empty:
        return "-"
    row = chosen.iloc[0]
    interval = f" [{number(row['lower'])}, {number(row['upper'])}]" if np.isfinite(row["lower"]) else ""
    return f"{number(row['mean'])}{interval}"


def _table(
    summary: pd.DataFrame, attribute: str, groups: Sequence[str], metrics: Sequence[str], published: bool
) -> list[str]:
    heads = [f"{_NAMES[m]}, {g}" for g in groups for m in metrics]
    lines = [f"  {'trained on':<14}" + "".join(f"{h:<{_CELL}}" for h in heads)]
    for method in dict.fromkeys(summary["method"]):
        cells = [
            _cell(summary, method=method, metric=m, attribute=attribute, group=g, target="")
            for g in groups
            for m in metrics
        ]
        lines.append(f"  {method:<14}" + "".join(f"{c:<{_CELL}}" for c in cells))
        known = PUBLISHED.get(attribute, {}).get(method.lower()) if published else None
        if known:
            cells = [f"{v:.2f}" for g in groups for v in known.get(g, ())]
            lines.append(f"  {'  published*':<14}" + "".join(f"{c:<{_CELL}}" for c in cells))
    return [line.rstrip() for line in lines]


def _contrasts(table: pd.DataFrame, level: float) -> list[str]:
    if table.empty:
        return []
    title = f"training sets against each other, on the same test images: differences with {level:.0%} intervals"
    lines = ["", title, "-" * len(title)]
    lines.append(f"  {'':<34}{'tested on':<12}{'F1 macro':>9}  {'interval':<18}{'p (Holm)':>8}  reading")
    for _, row in table[table["metric"] == _TABLE[0]].iterrows():
        pair = f"{row['method']} instead of {row['control']}"
        if np.isfinite(row["lower"]):
            interval = f"[{number(row['lower'], True)}, {number(row['upper'], True)}]"
            seen = "no difference seen" if row["p_holm"] >= 1 - level else "gain" if row["difference"] > 0 else "loss"
            tail = f"{interval:<18}{row['p_holm']:>8.3f}  {seen}"
        else:
            tail = "one draw: no interval"
        lines.append(f"  {pair:<34}{row['group'] or 'everybody':<12}{number(row['difference'], True):>9}  {tail}")
    return lines


def _units(summary: pd.DataFrame, attribute: str, groups: Sequence[str]) -> list[str]:
    part = summary[(summary["metric"] == "f1") & (summary["attribute"] == attribute)]
    methods = list(dict.fromkeys(part["method"]))
    title = "F1 of each Action Unit (mean over draws; intervals in draws.csv)"
    lines = ["", title, "-" * len(title)]
    heads = [f"{m}, {g}" for m in methods for g in groups]
    lines.append(f"  {'':<8}" + "".join(f"{h:>16}" for h in heads))
    means = part.set_index(["method", "group", "target"])["mean"]
    for unit in dict.fromkeys(part["target"]):
        cells = [number(means.get((m, g, unit), np.nan)) for m in methods for g in groups]
        lines.append(f"  {unit:<8}" + "".join(f"{c:>16}" for c in cells))
    return lines


def render(
    summary: pd.DataFrame,
    contrasts: pd.DataFrame,
    attribute: str,
    groups: Sequence[str],
    data: str,
    training: Mapping[str, Sequence[str]],
    seeds: int,
) -> str:
    """An experiment as text.

    Args:
      summary, contrasts: of metrics.draws.
      attribute: by which subjects were drawn.
      groups: its tested values.
      data: name of the data set.
      training: of each method, the subjects that it trains on ('Female:37').
      seeds: of each draw.
    """
    draws = int(summary["draws"].max())
    title = f"{data}, {draws} draw{'s' * (draws != 1)} of subjects x {seeds} seed{'s' * (seeds != 1)}"
    lines = ["", f"{title}: mean over draws, {LEVEL:.0%} intervals (corrected for shared subjects)"]
    lines += ["-" * len(lines[-1])]
    lines += [f"  {m}: trained on {', '.join(s)} subjects" for m, s in training.items()]
    lines += ["", *_table(summary, attribute, groups, _TABLE, published=True)]
    if any(m.lower() in PUBLISHED.get(attribute, {}) for m in training):
        lines.append("  * Deuschel et al. 2020: other data (CK+ and Actor Study), one draw, one run")
    lines += ["", *_table(summary, attribute, groups, _MORE, published=False)]
    lines += _contrasts(contrasts, LEVEL)
    lines += _units(summary, attribute, groups)
    if draws < 2:
        lines += ["", "One draw of subjects: another may differ as much. --config.cohort.draws='(0,1,2,3)' tells."]
    if data == "face_sequences":
        lines += ["", FACES_NOTE]
    return "\n".join(lines) + "\n"
