"""An analysis on a terminal: what is there, what differs from chance, what nobody could have seen."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pandas as pd

from frown_jax.metrics.analysis import Analysis
from frown_jax.metrics.plan import SEPARATOR, TINY
from frown_jax.metrics.verdicts import GAIN, LOSS, PRIMARY, VERDICTS
from frown_jax.report import noise
from frown_jax.report.findings import findings, tests_made

_OVERALL = (
    ("accuracy", "accuracy"),
    ("balanced_accuracy", "balanced accuracy"),
    ("macro_f1", "macro F1"),
    ("weighted_f1", "weighted F1"),
    ("auroc", "AUROC, one vs rest"),
    ("ece", "calibration error"),
)
_FAIRNESS = (
    ("worst_group_accuracy", "worst group"),
    ("accuracy_difference", "gap"),
    ("generalized_equal_opportunity", "equal opportunity F"),
    ("demographic_parity_difference_max", "demographic parity difference"),
    ("equal_opportunity_difference_max", "equal opportunity difference"),
    ("equalized_odds_difference_max", "equalized odds difference"),
)
FACES_NOTE = (
    "Embedded faces: any difference between groups above is a property of the image generator (expression contrast "
    "falls with melanin; see docs/faces.md), never a finding about people."
)
ONE_RUN = "One run a method: all of this is about these runs. Another seed of the same method can differ as much."
_ALWAYS = ("worst_group_accuracy", "accuracy_difference", "generalized_equal_opportunity")
_MOST_CELLS = 5
_MOST_METHODS = 3  # that are shown whole


def number(x: float, signed: bool = False) -> str:
    """Three decimals, or 'undefined'."""
    return "undefined" if not np.isfinite(x) else f"{x:+.3f}" if signed else f"{x:.3f}"


def _interval(row: pd.Series, signed: bool = False) -> str:
    if not np.isfinite(row["lower"]):
        return ""
    return f"[{number(row['lower'], signed)}, {number(row['upper'], signed)}]"


def _value(label: str, row: pd.Series) -> str:
    spread = f"  sd {row['sd']:.3f}" if np.isfinite(row["sd"]) else ""
    floor = ""
    if np.isfinite(row.get("by_chance", np.nan)):
        floor = f"  by chance {row['by_chance']:.3f}, at most {row['by_chance_high']:.3f}"
    note = f"  ({row['note'].replace('_', ' ').replace(';', ', ')})" if row["note"] else ""
    return f"  {label:<34}{row['n']:>7,}  {number(row['mean']):>9}  {_interval(row):<16}{spread}{floor}{note}".rstrip()


def _pick(part: pd.DataFrame, metric: str, attribute: str, group: str = "") -> pd.Series | None:
    chosen = part[
        (part["metric"] == metric)
        & (part["attribute"] == attribute)
        & (part["group"] == group)
        & (part["target"] == "")
    ]
    return None if chosen.empty else chosen.iloc[0]


def _lines(part: pd.DataFrame, wanted: Iterable[tuple[str, str]], attribute: str) -> list[str]:
    rows = ((label, _pick(part, metric, attribute)) for metric, label in wanted)
    return [_value(label, row) for label, row in rows if row is not None]


def _method(part: pd.DataFrame, name: str, level: float, split: str) -> list[str]:
    seeds = int(part["seeds"].max())
    where = f"{split} split, " if split else ""
    title = f"{name}: {where}{seeds} run{'s' * (seeds != 1)}, {level:.0%} intervals"
    lines = ["", title, "-" * len(title), f"  {'':<34}{'n':>7}  {'value':>9}", *_lines(part, _OVERALL, "")]
    attributes = [a for a in dict.fromkeys(part["attribute"]) if a]
    for attribute in (a for a in attributes if SEPARATOR not in a):
        groups = part[(part["attribute"] == attribute) & (part["metric"] == "accuracy")]
        lines += ["", f"  accuracy by {attribute}", *(_value(f"  {row['group']}", row) for _, row in groups.iterrows())]
        lines += _lines(part, _FAIRNESS, attribute)
    if attributes and SEPARATOR in attributes[-1]:
        cells = part[(part["attribute"] == attributes[-1]) & (part["metric"] == "accuracy")]
        enough = cells[cells["n"] >= TINY].sort_values("mean").head(_MOST_CELLS)
        lines += ["", f"  lowest accuracy by {attributes[-1]}"]
        lines += [_value(f"  {row['group']}", row) for _, row in enough.iterrows()]
        few, none = int(((cells["n"] < TINY) & (cells["n"] > 0)).sum()), int((cells["n"] == 0).sum())
        lines.append(f"  {few} cells have fewer than {TINY} images, {none} none: read nothing from them alone")
    return lines


def _comparisons(table: pd.DataFrame, control: str) -> list[str]:
    title = f"against {control}: paired differences"
    lines = ["", title, "-" * len(title), *(f"  {line}" for line in findings(table)), f"  {tests_made(table)}"]
    lines += [f"  {line}" for line in noise.lines(table)]
    permuted = table["p_permutation"].notna().any()
    head = f"  {'':<50}{'n':>7} {'control':>8} {'method':>8} {'change':>7}  {'interval':<17} {'p':>5}"
    lines += ["", head + (f" {'p perm':>6}" if permuted else "") + "  visible  verdict"]
    for method, part in table[table["target"] == ""].groupby("method", sort=False):
        simple = part[~part["attribute"].str.contains(SEPARATOR, regex=False)]
        always = ((simple["attribute"] == "") | simple["metric"].isin(_ALWAYS)) & (simple["group"] == "")
        shown = simple[always | (simple["family"] == PRIMARY) | simple["verdict"].isin((GAIN, LOSS))]
        lines.append(f"  {method}")
        for _, row in shown.iterrows():
            where = " ".join(x for x in (row["attribute"], row["group"]) if x)
            label = f"{row['metric']}{', ' + where if where else ''}"
            perm = f" {_p(row['p_permutation']):>6}" if permuted else ""
            values = f"{number(row['control']):>8} {number(row['value']):>8} {number(row['difference'], True):>7}"
            test = f"{_interval(row, True):<17} {_p(row['p_corrected'])}{perm}  {number(row['detectable']):>7}"
            lines.append(f"    {label:<48}{row['n']:>7,} {values}  {test}  {_verdict(row)}".rstrip())
        lines += _cells(part)
        left = len(part) - len(shown)
        lines.append(f"    {left} more values are in comparisons.csv")
    lines.append("  p: corrected; visible: the smallest difference that these images and seeds would show 4 times in 5")
    if (table["seeds"] <= 1).all():
        lines.append(f"  {ONE_RUN}")
    return lines


def _verdict(row: pd.Series) -> str:
    """The verdict; of an exploratory value with that word."""
    return f"{row['verdict']} (exploratory)" if row["verdict"] and row["family"] != PRIMARY else str(row["verdict"])


def _p(p: float) -> str:
    return f"{p:5.3f}" if np.isfinite(p) else f"{'-':>5}"


def _cells(part: pd.DataFrame) -> list[str]:
    cells = part[(part["metric"] == "accuracy") & part["attribute"].str.contains(SEPARATOR, regex=False)]
    cells = cells[cells["n"] > 0]
    shown = cells[cells["verdict"].isin((GAIN, LOSS))].sort_values("p_corrected")
    if cells.empty:
        return []
    lines = [
        f"    intersections: accuracy differs in {len(shown)} of {len(cells)} groups" + (":" if len(shown) else "")
    ]
    for _, r in shown.head(_MOST_CELLS).iterrows():
        change = f"{number(r['difference'], True)} {_interval(r, True)}"
        lines.append(f"      {r['group']} (n={r['n']}): {change} {_verdict(r)}")
    if len(shown) > _MOST_CELLS:
        lines.append(f"      and {len(shown) - _MOST_CELLS} more")
    return lines


def _levelling(table: pd.DataFrame) -> list[str]:
    lines = ["", "how gaps in accuracy moved", "-" * 26]
    for _, row in table[~table["attribute"].str.contains(SEPARATOR, regex=False)].iterrows():
        moves = ", ".join(f"{k} {number(row[k], True)}" for k in ("gap", "worst", "best"))
        lines.append(f"  {row['method']}, {row['attribute']}: {moves}: {row['reading']}")
    return lines


def _looks(settled: pd.DataFrame) -> list[str]:
    """After how many seeds methods were told from the control, of a run that added seeds until then."""
    lines = ["", "seeds until the answer is known", "-------------------------------"]
    for seeds, part in settled.groupby("seeds"):
        counts, methods = part["verdict"].value_counts(), part["method"].nunique()
        told = ", ".join(f"{counts[v]} {v}" for v in VERDICTS if v in counts)
        lines.append(f"  {methods} method{'s' * (methods > 1)} ended with {seeds} seeds; primary values: {told}")
    lines.append("  The verdicts on primary values are corrected for looking several times (sequential.csv).")
    return lines


def _selection(choices: pd.DataFrame, stability: pd.DataFrame | None) -> list[str]:
    lines = ["", "what each selection rule would have chosen on validation", "-" * 55]
    for attribute, part in choices.groupby("attribute", sort=False):
        lines.append(f"  by {attribute:<41}{'chosen':<24}{'test acc.':>9} {'worst':>9} {'F':>9} {'regret':>9}")
        for _, row in part.iterrows():
            tail = ""
            if "test_accuracy" in row:
                columns = ("test_accuracy", "test_worst_group", "test_opportunity", "regret")
                tail = " ".join(f"{number(row[k]):>9}" for k in columns)
            lines.append(f"    {row['rule']:<40}{row['chosen']:<24}{tail}".rstrip())
        if stability is not None:
            w = stability.loc[stability["attribute"] == attribute, "kendall_w"].iloc[0]
            lines.append(f"    agreement of the rules' rankings: Kendall's W {number(w)}")
    return lines


def render(analysis: Analysis, level: float = 0.95, data: str = "", split: str = "") -> str:
    """An analysis as text.

    Args:
      analysis: of metrics.analysis.analyse.
      level: of its intervals, for the headings.
      data: name of the data set; embedded faces get their caution.
      split: its name, for the headings.
    """
    lines: list[str] = []
    methods = list(dict.fromkeys(analysis.summary["method"]))
    shown = methods if len(methods) <= _MOST_METHODS else [analysis.control]
    for method in shown:
        lines += _method(analysis.summary[analysis.summary["method"] == method], str(method), level, split)
    if len(shown) < len(methods):
        lines += ["", f"  The other {len(methods) - len(shown)} methods' own values are in summary.csv."]
    if not (analysis.summary["attribute"] != "").any():
        lines += ["", "  No attributes were given: nothing per group can be said."]
    if analysis.comparisons is not None:
        lines += _comparisons(analysis.comparisons, analysis.control)
    if analysis.sequential is not None:
        lines += _looks(analysis.sequential)
    if analysis.levelling is not None and len(analysis.levelling):
        lines += _levelling(analysis.levelling)
    if analysis.choices is not None:
        lines += _selection(analysis.choices, analysis.rank_stability)
    if data == "faces":
        lines += ["", FACES_NOTE]
    return "\n".join(lines) + "\n"
