"""How far findings hold, from stored predictions: small cells, the analyst's choices, arbitrary seeds, wrong labels."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from frown_jax.errors import OutcomesError
from frown_jax.metrics import arbitrariness, label_sensitivity, multiverse, predictions_table, small_cells
from frown_jax.metrics.outcomes import Outcomes
from frown_jax.metrics.plan import MAX_CROSSED
from frown_jax.report.comparing import EVERYBODY
from frown_jax.report.stored import Stored

_RATES = (0.0, 0.005, 0.01, 0.02, 0.03, 0.04, 0.05, 0.075, 0.1)
_LINES = 30  # of printed text a table


def stored_outcomes(run: Stored, split: str = "test") -> Outcomes | None:
    """What a run's predictions of a split say; None if it stored none of one class an image."""
    path = run.path / "predictions.parquet"
    if not path.is_file() or "emotion" not in run.predictions:
        return None
    table = run.predictions if split == "test" else pd.read_parquet(path)
    table = table[table["split"] == split] if "split" in table else table
    if table.empty:
        return None
    return predictions_table.outcomes(table, run.attributes, run.classes)


def cells(outcomes: Outcomes) -> pd.DataFrame:
    """Raw and shrunken accuracy of every cell of all attributes (of the first three, if there are more)."""
    return small_cells.estimates(outcomes, tuple(outcomes.attributes)[:MAX_CROSSED], draws=1000)


def analyses(test: Outcomes, validation: Outcomes | None) -> pd.DataFrame:
    """Every analysis of every method, with what it is about in a column of its own."""
    table = multiverse.multiverse(test, validation)
    return table.assign(about=about(table))


def about(table: pd.DataFrame) -> list[str]:
    """'worst group, race' of a claim and an attribute."""
    return [f"{c}, {a}" if a else c for c, a in zip(table["claim"], table["attribute"], strict=True)]


def by_choice(table: pd.DataFrame) -> pd.DataFrame:
    """In which share of the analyses with one choice made each verdict is reached.

    Args:
      table: of `analyses`.

    Returns:
      about, method, choice ('seeds: first half'), verdict, share, n (analyses).
    """
    rows = []
    axes = [c for c in ("groups", "measure", "seeds", "control", "threshold") if table[c].nunique() > 1]
    for (subject, method), own in table.groupby(["about", "method"], sort=False):
        for axis in axes:
            for value, part in own.groupby(axis, sort=False):
                shares = part["verdict"].value_counts(normalize=True)
                rows += [
                    {"about": subject, "method": method, "choice": f"{axis}: {value}", "verdict": v,
                     "share": float(shares.get(v, 0.0)), "n": len(part)}
                    for v in multiverse.VERDICTS
                ]  # fmt: skip
    return pd.DataFrame(rows, columns=["about", "method", "choice", "verdict", "share", "n"])


def seeds_agree(outcomes: Outcomes) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Self-consistency and abstention, with everybody as an attribute of one group."""
    out = []
    for table in (arbitrariness.consistency(outcomes), arbitrariness.abstention(outcomes)):
        out.append(table.assign(attribute=table["attribute"].replace("", EVERYBODY),
                                group=table["group"].replace("", EVERYBODY)))  # fmt: skip
    return out[0], out[1]


def label_errors(outcomes: Outcomes) -> pd.DataFrame:
    """What wrong group labels at several rates could do to each gap, of groups in the order of their vocabulary.

    Returns:
      The columns of label_sensitivity.sensitivity, and pair ('race: Caucasian - Asian').
    """
    return oriented(label_sensitivity.sensitivity(outcomes, rates=_RATES), outcomes)


def oriented(table: pd.DataFrame, outcomes: Outcomes) -> pd.DataFrame:
    """The same gaps with the group first that is first in the vocabulary, whoever fares better."""
    if table.empty:
        return table.assign(pair="")
    order = {(a, g): i for a, x in outcomes.attributes.items() for i, g in enumerate(x.vocabulary)}
    turned = np.array(
        [order[a, g] > order[a, o] for a, g, o in zip(table["attribute"], table["group"], table["other"], strict=True)]
    )
    out = table.copy()
    for one, two in (("group", "other"), ("n", "n_other")):
        out[one], out[two] = (np.where(turned, table[x], table[y]) for x, y in ((two, one), (one, two)))
    for column, source in (("gap", "gap"), ("alike", "alike"), ("lower", "upper"), ("upper", "lower")):
        out[column] = np.where(turned, -table[source], table[column])
    out["pair"] = [f"{a}: {g} - {o}" for a, g, o in zip(out["attribute"], out["group"], out["other"], strict=True)]
    return out


def _width(table: pd.DataFrame) -> int:
    return max(len(str(m)) for m in table["method"]) + 2


def _lines(title: str, lines: Sequence[str], file: str) -> list[str]:
    rest = [f"  ... and {len(lines) - _LINES} more in {file}"] if len(lines) > _LINES else []
    return ["", title, "-" * len(title), *lines[:_LINES], *rest]


def multiverse_text(table: pd.DataFrame) -> str:
    """A line a method and claim: in how many analyses each verdict is reached."""
    lines, wide = [], _width(table)
    for _, row in multiverse.survival(table).iterrows():
        n = row["analyses"]
        counts = {v: round(n * row[v.replace(" ", "_")]) for v in multiverse.VERDICTS}
        told = ", ".join(f"{v} {k}" for v, k in counts.items() if k)
        what = f"{row['claim']}{', ' + row['attribute'] if row['attribute'] else ''}"
        lines.append(f"  {row['method']:<{wide}}{what:<24}{n:>4} analyses: {told}")
    return "\n".join(_lines("verdicts over all defensible analyses", lines, "survival.csv")) + "\n"


def small_cells_text(table: pd.DataFrame) -> str:
    """A line a method: the cell that is most probably the worst."""
    lines, wide = [], _width(table)
    for method, own in table.dropna(subset=["p_worst"]).groupby("method", sort=False):
        row = own.iloc[int(own["p_worst"].to_numpy().argmax())]
        lines.append(
            f"  {method:<{wide}}{row['group']} (n = {row['n']}): {row['shrunken']:.3f} [{row['lower']:.3f}, "
            f"{row['upper']:.3f}], the worst cell with probability {row['p_worst']:.2f}"
        )
    return "\n".join(_lines("the cell that is most probably the worst", lines, "small_cells.csv")) + "\n"


def arbitrariness_text(table: pd.DataFrame) -> str:
    """A line a method and attribute: the most and the least consistent group."""
    lines, wide = [], _width(table)
    for (method, attribute), own in table.dropna(subset=["consistency"]).groupby(["method", "attribute"], sort=False):
        value = own["consistency"].to_numpy()
        ends = own.iloc[sorted({int(value.argmin()), int(value.argmax())}, key=lambda i: value[i])]
        told = [
            f"{r['group'] or EVERYBODY} {r['consistency']:.3f} [{r['lower']:.3f}, {r['upper']:.3f}] (n = {r['n']})"
            for _, r in ends.iterrows()
        ]
        lines.append(f"  {method:<{wide}}{attribute or EVERYBODY:<12}{' to '.join(told)}")
    title = "self-consistency: the chance that two seeds agree about an image"
    return "\n".join(_lines(title, lines, "consistency.csv")) + "\n"


def label_text(table: pd.DataFrame) -> str:
    """A line a method and pair of groups: the gap, what errors make of it, and when its sign is lost."""
    lines, wide = [], _width(table)
    for _, row in table.iterrows():
        alike = f"{row['alike']:.3f}" if np.isfinite(row["alike"]) else "not possible"
        lines.append(
            f"  {row['method']:<{wide}}{row['attribute']}, {row['group']} over {row['other']}: {row['gap']:.3f}; "
            f"{row['rate']:.1%} wrong: {alike} if alike, [{row['lower']:.3f}, {row['upper']:.3f}] at worst; "
            f"may be none from {row['sign_lost_at']:.1%} on"
        )
    return "\n".join(_lines("gaps in accuracy, if group labels are wrong", lines, "label_sensitivity.csv")) + "\n"


def error_of(text: str, matrix: pd.DataFrame | None, vocabulary: Sequence[str]) -> float | np.ndarray:
    """One attribute's label errors: a rate, or a table of P(label | true group).

    Args:
      text: the rate, or what the table is called in errors.
      matrix: rows are true groups, columns labels, both named; None for a rate.
      vocabulary: the attribute's groups. Groups without a row are labelled without error.

    Raises:
      OutcomesError: the rate is no number, or the table names groups that there are not.
    """
    if matrix is None:
        try:
            return float(text)
        except ValueError:
            raise OutcomesError(f"--label_error: {text!r} is neither a rate nor a CSV file") from None
    strange = [str(g) for g in (*matrix.index, *matrix.columns) if str(g) not in vocabulary]
    if strange:
        raise OutcomesError(f"{text}: there is no group {strange[0]!r}; there are {', '.join(vocabulary)}")
    full = pd.DataFrame(np.eye(len(vocabulary)), list(vocabulary), list(vocabulary))
    for g in matrix.index:
        full.loc[str(g)] = 0.0
    for g in matrix.index:
        for label in matrix.columns:
            full.loc[str(g), str(label)] = float(matrix.loc[g, label])
    return full.to_numpy()
