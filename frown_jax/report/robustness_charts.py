"""Charts of how far findings hold."""

from __future__ import annotations

import altair as alt
import pandas as pd

from frown_jax.metrics.multiverse import VERDICTS
from frown_jax.report.chart import Chart, choices, chosen, parameters, source, told
from frown_jax.report.noise import SOURCES
from frown_jax.report.style import GAIN, LOSS, METHOD, PALETTE

_STEP = 19  # pixels of a line of text
_COLOURS = [GAIN, LOSS, PALETTE[2], "#9a9a9a"]
_SOURCES = list(SOURCES.values())
_ZERO = alt.InlineData(values=[{"zero": 0}])


def _verdict() -> alt.Color:
    return alt.Color("verdict:N", scale=alt.Scale(domain=list(VERDICTS), range=_COLOURS), title=None)


def _shares_chart(
    table: pd.DataFrame, options: dict[str, tuple[str, ...]], line: str, sort: list[str] | None, title: str
) -> Chart:
    """The verdicts' shares as a stacked bar for each value of the column `line`."""
    drawing = (
        alt.Chart(source())
        .transform_filter(chosen(*options))
        .mark_bar()
        .encode(
            x=alt.X("share:Q", stack="zero", scale=alt.Scale(domain=[0, 1]), axis=alt.Axis(format=".0%"),
                    title=title),
            y=alt.Y(f"{line}:N", sort=sort, title=None, axis=alt.Axis(labelLimit=330)),
            color=_verdict(),
            order=alt.Order("place:Q"),
            tooltip=told({line: "", "verdict": "", "share": ".0%", "n": ","}, n="analyses"),
        )
        .add_params(*parameters(options))
        .properties(height=alt.Step(_STEP))
    )  # fmt: skip
    return Chart(drawing, table, options)


def survival_chart(table: pd.DataFrame) -> Chart:
    """In which share of its analyses each method reaches which verdict, a bar a method.

    Args:
      table: about, method, verdict, share, n; a row for each verdict.
    """
    options = choices(table, "about")
    sort = list(dict.fromkeys(table["method"]))
    return _shares_chart(table, options, "method", sort, "share of the analyses")


def survival_rows(table: pd.DataFrame) -> pd.DataFrame:
    """What `survival_chart` draws.

    Args:
      table: of robustness.analyses.
    """
    rows = []
    for (about, method), own in table.groupby(["about", "method"], sort=False):
        shares = own["verdict"].value_counts(normalize=True)
        rows += [
            {"about": about, "method": method, "verdict": v, "share": float(shares.get(v, 0.0)), "n": len(own),
             "place": i}
            for i, v in enumerate(VERDICTS)
        ]  # fmt: skip
    return _claims_first(pd.DataFrame(rows))


def _claims_first(table: pd.DataFrame) -> pd.DataFrame:
    """Worst groups, then gaps, then everybody: what a reader sees first is about groups."""
    place = {"worst group": 0, "gap": 1, "everybody": 2}
    return table.sort_values("about", key=lambda s: s.map(lambda x: place[x.split(",")[0]]), kind="stable",
                             ignore_index=True)  # fmt: skip


def curve_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Analyses in the order of their differences, within a method and what they are about.

    Args:
      table: of robustness.analyses.
    """
    own = table.sort_values("difference", kind="stable")
    own = own.assign(rank=own.groupby(["about", "method"]).cumcount() + 1)
    own = own.sort_index()
    columns = ["about", "method", "rank", "difference", "lower", "upper", "verdict", "groups", "measure", "seeds"]
    columns += [c for c in ("control", "threshold") if table[c].nunique() > 1]
    return _claims_first(own[columns])


def curve_chart(table: pd.DataFrame) -> Chart:
    """The specification curve of a method: every analysis with its interval, in order of its difference.

    Args:
      table: of `curve_rows`.
    """
    options = choices(table, "about", "method")
    base = alt.Chart(source()).transform_filter(chosen(*options))
    x = alt.X("rank:Q", title="analyses, in order of their difference", axis=alt.Axis(tickMinStep=1),
              scale=alt.Scale(zero=False, nice=False, padding=8))  # fmt: skip
    rest = {c: "" for c in ("verdict", "groups", "measure", "seeds", "control", "threshold") if c in table}
    tooltip = told({"method": "", "difference": "+.3f", "lower": "+.3f", "upper": "+.3f", **rest})
    span = base.mark_rule(strokeWidth=1).encode(
        x=x, y=alt.Y("lower:Q", title="method minus control; above 0 is better"), y2="upper:Q", color=_verdict()
    )
    shape = alt.Shape(
        "verdict:N",
        scale=alt.Scale(domain=list(VERDICTS), range=["triangle-up", "triangle-down", "diamond", "circle"]),
        title=None,
    )
    dots = base.mark_point(size=34, filled=True, opacity=1).encode(
        x=x, y="difference:Q", color=_verdict(), shape=shape, tooltip=tooltip
    )
    zero = alt.Chart(_ZERO).mark_rule(color="#333333").encode(y="zero:Q")
    return Chart(alt.layer(zero, span, dots).add_params(*parameters(options)).properties(height=280), table, options)


def choice_chart(table: pd.DataFrame) -> Chart:
    """Which choice makes the finding: the verdicts of the analyses that share one choice, a bar a choice.

    Args:
      table: of robustness.by_choice.
    """
    table = _claims_first(table.assign(place=[VERDICTS.index(v) for v in table["verdict"]]))
    options = choices(table, "about", "method")
    return _shares_chart(table, options, "choice", None, "share of the analyses with this choice")


def cell_rows(table: pd.DataFrame) -> pd.DataFrame:
    """Raw and shrunken values below each other, cells with images only, the worst first.

    Args:
      table: of robustness.cells.
    """
    own = table[table["n"] > 0]
    own = own.assign(label=[f"{g} (n = {n:,})" for g, n in zip(own["group"], own["n"], strict=True)])
    keep = ["method", "label", "n", "n_effective", "p_worst"]
    parts = [
        own[[*keep, *columns]].set_axis([*keep, "value", "lower", "upper"], axis=1).assign(kind=kind)
        for kind, columns in (("raw", ["raw", "raw_lower", "raw_upper"]), ("shrunken", ["shrunken", "lower", "upper"]))
    ]
    out = pd.concat(parts, ignore_index=True)
    order = {m: i for i, m in enumerate(dict.fromkeys(own["method"]))}
    place = own.sort_values("shrunken").groupby("method")["label"].agg(list)
    ranks = {(m, label): i for m, labels in place.items() for i, label in enumerate(labels)}
    key = [order[m] * len(own) + ranks[m, label] for m, label in zip(out["method"], out["label"], strict=True)]
    out = out.assign(key=key).sort_values(["key", "kind"], kind="stable", ignore_index=True).drop(columns="key")
    return out.rename(columns={"n_effective": "n effective", "p_worst": "P(worst)"})


def cell_chart(table: pd.DataFrame) -> Chart:
    """Every cell's raw accuracy and what it is after borrowing strength, with intervals.

    Args:
      table: of `cell_rows`.
    """
    options = choices(table, "method")
    base = alt.Chart(source()).transform_filter(chosen(*options))
    y = alt.Y("label:N", sort=None, title=None, axis=alt.Axis(labelLimit=330))
    offset = alt.YOffset("kind:N", sort=["raw", "shrunken"])
    scale = alt.Scale(domain=["raw", "shrunken"], range=["#9a9a9a", METHOD])
    colour = alt.Color("kind:N", scale=scale, title=None)
    shapes = alt.Scale(domain=["raw", "shrunken"], range=["circle", "diamond"])
    numbers = {"value": ".3f", "lower": ".3f", "upper": ".3f", "n": ",", "n effective": ",.1f", "P(worst)": ".3f"}
    spans = base.mark_rule(strokeWidth=1.6).encode(
        x=alt.X("lower:Q", title="accuracy, 95 % interval", scale=alt.Scale(domain=[0, 1])),
        x2="upper:Q",
        y=y,
        yOffset=offset,
        color=colour,
    )
    dots = base.mark_point(filled=True, size=45, opacity=1).encode(
        x="value:Q", y=y, yOffset=offset, color=colour, shape=alt.Shape("kind:N", scale=shapes, title=None),
        tooltip=told({"label": "", "kind": "", **numbers}, label="cell"),
    )  # fmt: skip
    step = alt.Step(26, **{"for": "position"})
    return Chart(alt.layer(spans, dots).add_params(*parameters(options)).properties(height=step), table, options)


def consistency_chart(table: pd.DataFrame) -> Chart:
    """The chance that two seeds agree about an image, by group, with its interval.

    Args:
      table: of robustness.seeds_agree.
    """
    table = table[table["n"] > 0]
    table = table.assign(label=[f"{g} (n = {n:,})" for g, n in zip(table["group"], table["n"], strict=True)])
    columns = ["attribute", "method", "label", "consistency", "lower", "upper", "disagreeing", "n", "subjects", "seeds"]
    table = table[columns].reset_index(drop=True)
    options = choices(table, "attribute", "method")
    base = alt.Chart(source()).transform_filter(chosen(*options))
    y = alt.Y("label:N", sort=None, title=None)
    tooltip = told({"label": "", "consistency": ".3f", "lower": ".3f", "upper": ".3f", "disagreeing": ".1%",
                    "n": ",", "subjects": ",", "seeds": "d"}, label="group")  # fmt: skip
    bars = base.mark_bar(color=PALETTE[4], size=13).encode(
        x=alt.X("consistency:Q", scale=alt.Scale(domain=[0, 1]), title="self-consistency"), y=y, tooltip=tooltip
    )
    spans = base.mark_rule(color="#222222", strokeWidth=1.4).encode(x="lower:Q", x2="upper:Q", y=y, tooltip=tooltip)
    drawing = alt.layer(bars, spans).add_params(*parameters(options)).properties(height=alt.Step(24))
    return Chart(drawing, table, options)


def abstention_chart(table: pd.DataFrame) -> Chart:
    """Accuracy of the majority against how many it answers, as the demanded consistency rises; a line a group.

    Args:
      table: of robustness.seeds_agree.
    """
    table = table[table["accuracy"].notna()].reset_index(drop=True)
    options = choices(table, "attribute", "method")
    base = alt.Chart(source()).transform_filter(chosen(*options))
    x = alt.X("answered:Q", scale=alt.Scale(domain=[0, 1], reverse=True), axis=alt.Axis(format=".0%"),
              title="share that is answered")  # fmt: skip
    y = alt.Y("accuracy:Q", scale=alt.Scale(zero=False), title="accuracy of what is answered")
    colour = alt.Color("group:N", sort=None, title=None, scale=alt.Scale(range=[*PALETTE[:6], *PALETTE[7:]]))
    lines = base.mark_line(strokeWidth=1.6).encode(x=x, y=y, color=colour, order="kappa:Q")
    dots = base.mark_point(filled=True, size=45, opacity=1).encode(
        x=x, y=y, color=colour, shape=alt.Shape("group:N", sort=None, legend=None),
        tooltip=told({"group": "", "kappa": ".2f", "answered": ".1%", "accuracy": ".3f", "n": ","},
                     kappa="consistency of at least"),
    )  # fmt: skip
    return Chart(alt.layer(lines, dots).add_params(*parameters(options)).properties(height=300), table, options)


def label_chart(table: pd.DataFrame) -> Chart:
    """A gap against the rate of wrong group labels: as it is, if errors are alike, and the bounds at worst.

    Args:
      table: of robustness.label_errors.
    """
    columns = ["pair", "method", "rate", "gap", "alike", "lower", "upper", "n", "n_other", "sign_lost_at"]
    table = table[columns].rename(columns={"n_other": "n of the other", "sign_lost_at": "none from"})
    options = choices(table, "pair", "method")
    base = alt.Chart(source()).transform_filter(chosen(*options))
    x = alt.X("rate:Q", axis=alt.Axis(format=".0%"), title="wrong labels among those of a group")
    tooltip = told({"rate": ".1%", "gap": "+.3f", "alike": "+.3f", "lower": "+.3f", "upper": "+.3f", "n": ",",
                    "n of the other": ",", "none from": ".1%"}, lower="at worst from")  # fmt: skip
    band = base.mark_area(opacity=0.22, color=METHOD).encode(
        x=x, y=alt.Y("lower:Q", title="gap in accuracy"), y2="upper:Q", tooltip=tooltip
    )
    now = base.mark_line(color="#333333", strokeWidth=1.4).encode(x=x, y="gap:Q")
    alike = base.mark_line(color=METHOD, strokeDash=[5, 3], strokeWidth=1.8).encode(x=x, y="alike:Q")
    dots = base.mark_point(color=METHOD, filled=True, size=36, opacity=1).encode(x=x, y="alike:Q", tooltip=tooltip)
    zero = alt.Chart(_ZERO).mark_rule(color="#333333").encode(y="zero:Q")
    lost = (
        base.transform_filter("datum.rate === 0 && datum['none from'] <= 0.1")
        .mark_rule(color=LOSS, strokeDash=[2, 2], strokeWidth=1.6)
        .encode(x="none from:Q")
    )
    drawing = alt.layer(band, zero, now, alike, dots, lost).add_params(*parameters(options)).properties(height=260)
    return Chart(drawing, table, options)


def noise_chart(table: pd.DataFrame) -> Chart:
    """Each method's bar is as long as the variance of its difference, and divided by what that comes of.

    Args:
      table: of `noise.sources`.
    """
    options = choices(table, "value")
    drawing = (
        alt.Chart(source())
        .transform_filter(chosen(*options))
        .mark_bar(size=11)
        .encode(
            x=alt.X("variance:Q", title="variance of the difference from the control", axis=alt.Axis(format=".1e")),
            y=alt.Y("method:N", sort=list(dict.fromkeys(table["method"])), title=None),
            color=alt.Color(
                "source:N",
                scale=alt.Scale(domain=_SOURCES, range=[PALETTE[0], PALETTE[1], PALETTE[4]]),
                title="comes of",
            ),
            order=alt.Order("rank:Q"),
            tooltip=[
                alt.Tooltip("method:N"),
                alt.Tooltip("source:N"),
                alt.Tooltip("share:Q", format=".0%"),
                alt.Tooltip("sd:Q", format=".4f", title="standard deviation"),
                alt.Tooltip("seeds:Q"),
                alt.Tooltip("n:Q", format=",", title="images"),
            ],
        )
        .transform_calculate(rank=f"indexof({_SOURCES}, datum.source)")
        .add_params(*parameters(options))
        .properties(height=alt.Step(_STEP))
    )
    return Chart(drawing, table, options)
