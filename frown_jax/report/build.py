"""A report of finished runs: sections made of what they stored."""

from __future__ import annotations

import itertools
import pathlib
from collections.abc import Callable, Sequence

import pandas as pd

from frown_jax.metrics.plan import TINY
from frown_jax.metrics.verdicts import GAIN, LOSS, VERDICTS
from frown_jax.report import (
    action_units,
    comparing,
    groups,
    noise,
    page,
    published,
    robustness,
    robustness_charts,
    training,
)
from frown_jax.report.comparing import title
from frown_jax.report.findings import findings, tests_made
from frown_jax.report.folder import Folder
from frown_jax.report.stored import Stored
from frown_jax.report.text import FACES_NOTE

_HEADLINE = ("accuracy", "balanced_accuracy", "macro_f1", "worst_group_accuracy", "accuracy_difference")
_FAIRNESS = ("accuracy_difference", "worst_group_accuracy", "generalized_equal_opportunity")
_GENERATED = ("faces", "face_sequences")
_FACTS = ["what", "value"]

Fill = Callable[["SectionWriter", Stored], None]


class SectionWriter:
    """Writes one section of the page, and its files.

    Attributes:
      out: the report's folder.
      name: the section's heading.
    """

    def __init__(self, out: Folder, name: str, prefix: str):
        self.out, self.name, self._prefix = out, name, prefix

    def say(self, text: str) -> None:
        self.out.say(self.name, text)

    def table(self, name: str, frame: pd.DataFrame) -> None:
        self.out.table(self.name, f"{self._prefix}-{name}", frame)

    def latex(self, name: str, frame: pd.DataFrame) -> None:
        self.out.run.write_text(f"{self._prefix}-{name}.tex", frame.to_latex(index=False, escape=True))

    def chart(self, name: str, chart: comparing.Chart, caption: str, stills: str = "") -> None:
        """A chart, with a picture for every choice of the column `stills`."""
        every = [{stills: v} for v in chart.choices[stills]] if stills else [{}]
        self.out.chart(self.name, f"{self._prefix}-{name}", chart, caption, every)


def headline(run: Stored) -> pd.DataFrame:
    """A row a method: the headline metrics with intervals, fairness ones per attribute; '*': a gain or a loss."""
    rows = {method: {"method": method} for method in run.methods}
    shown = _shown(run)
    for metric, attribute in itertools.product(_HEADLINE, ("", *run.attributes)):
        for _, row in run.summary(metric, attribute).iterrows():
            if row["group"] == "" and row["method"] in rows:
                star = " *" if (row["method"], metric, attribute) in shown else ""
                name = title(metric) + (f", {attribute}" if attribute else "")
                rows[row["method"]][name] = published.interval(row) + star
    return pd.DataFrame(rows.values())


def _shown(run: Stored) -> set[tuple[str, str, str]]:
    """Method, metric and attribute of the differences to the control that are a gain or a loss."""
    if "comparisons" not in run.tables:
        return set()
    table = run.tables["comparisons"]
    own = table[(table["group"] == "") & (table["target"] == "") & table["verdict"].isin((GAIN, LOSS))]
    return set(zip(own["method"], own["metric"], own["attribute"], strict=True))


def _headline(section: SectionWriter, run: Stored) -> None:
    if run.data.get("name") in _GENERATED:
        section.say(FACES_NOTE)
    if "draws" in run.tables:
        table = action_units.summary(run, units=False)
        table = table.assign(value=[published.interval(row) for _, row in table.iterrows()])
        wide = table[table["metric"].isin(("macro f1", "weighted f1"))]
        wide = wide.pivot_table(
            index="method", columns=["metric", "tested on"], values="value", aggfunc="first", sort=False
        )
        wide.columns = [", ".join(parts) for parts in wide.columns]
        table = wide.rename_axis("trained on").reset_index()
    else:
        table = headline(run)
    if len(table.columns) < 2:
        section.say("There is no summary: the run is not finished, or summary.csv is missing.")
        return
    section.say(
        "Means with 95 % intervals; *: a gain or a loss against the control after correction. A heading sorts by it."
    )
    section.table("headline", table)
    section.latex("headline", table)


def _differences(section: SectionWriter, run: Stored) -> None:
    if "contrasts" in run.tables and len(run.tables["contrasts"]):
        section.say("Training sets against each other, on the same test images; p-values are corrected (Holm).")
        pairs = action_units.contrasts(run)
        chart = comparing.difference_chart(pairs, "pair", "difference, mean over draws of subjects")
        section.chart("contrasts", chart, "Differences between training sets")
        return
    table = run.tables.get("comparisons")
    if table is None:
        section.say("One method: there is nothing to compare it with.")
        return
    section.say(f"The control is {run.methods[0]}. Intervals and tests are paired.")
    for line in (*findings(table), tests_made(table)):
        section.say(f"{line[0].upper()}{line[1:]}.")
    for name, fairness, caption in (
        ("performance", False, "Performance: each method minus the control"),
        ("fairness", True, "Fairness: each method minus the control"),
    ):
        own = comparing.differences(run, fairness)
        if len(own):
            count = own["verdict"].value_counts()
            said = ", ".join(f"{count[v]:,} {v}" for v in VERDICTS if v in count)
            section.say(f"{name.capitalize()}, {len(own):,} differences, most of them exploratory: {said}.")
            section.chart(f"difference-{name}", comparing.difference_chart(own), caption, "attribute")
    if len(parts := noise.sources(table)):
        section.say("More seeds remove what comes of seeds, more images what comes of images; what is left is luck.")
        chart = robustness_charts.noise_chart(parts)
        section.chart("noise", chart, "Where the noise of each difference comes from")


def _tradeoffs(section: SectionWriter, run: Stored) -> None:
    if len(run.methods) < 2 or "summary" not in run.tables or not run.attributes:
        section.say("It takes two methods and an attribute.")
        return
    if not len(run.results()):
        section.say("results.csv is missing: the seeds are not drawn.")
    table = comparing.tradeoffs(run, _FAIRNESS, tuple(run.attributes))
    caption = "Accuracy against fairness; dashed: the front that no method beats"
    section.chart("tradeoff", comparing.tradeoff_chart(table), caption, "attribute")


def _levelling(section: SectionWriter, run: Stored) -> None:
    if "levelling" not in run.tables:
        section.say("It takes two methods and an attribute.")
        return
    section.say("A gap also closes when the best group gets worse: where it did, a smaller gap is no gain.")
    chart = comparing.levelling_chart(comparing.levelling(run))
    section.chart("levelling", chart, "Worst and best group against the control's; above the diagonal the gap closes",
                  "attribute")  # fmt: skip


def _selection(section: SectionWriter, run: Stored) -> None:
    there = False
    if "ranks" in run.tables and len(table := comparing.ranks(run)):
        there = True
        section.chart("ranks", comparing.rank_chart(table), "Mean ranks, with the critical difference from the best")
    if "rank_stability" in run.tables:
        there = True
        section.say("A method whose rank depends on the rule by which models are chosen is not better, only luckier.")
        chart = comparing.stability_chart(run.tables["rank_stability"])
        section.chart("stability", chart, "Span of each method's ranks over the selection rules")
    if "choices" in run.tables:
        there = True
        chart = comparing.regret_chart(run.tables["choices"])
        section.chart("choices", chart, "What each selection rule chooses on validation data, and what that costs")
    if not there:
        section.say("It takes several methods, several seeds and validation data: there is nothing to rank.")


def _groups(section: SectionWriter, run: Stored) -> None:
    if not run.attributes:
        section.say("The data has no attributes: there are no groups to compare.")
        return
    if "draws" in run.tables:
        chart = action_units.summary_chart(action_units.summary(run, units=False))
        section.chart("tested", chart, "All Action Units together, by training set and tested group")
        chart = action_units.summary_chart(action_units.summary(run, units=True))
        section.chart("units", chart, "Each Action Unit, by training set")
        return
    if "summary" not in run.tables:
        section.say("summary.csv is missing: there are no values of groups.")
        return
    section.chart("groups", groups.value_chart(groups.values(run)), "Groups of a method beside the control's",
                  "attribute")  # fmt: skip
    note = f"dashed: fewer than {TINY} images"
    cells = groups.cells(run)
    section.chart("cells", groups.cell_chart(cells), f"Accuracy of every cell, with its images; {note}", "cells")
    recalls = groups.recalls(run)
    if len(recalls):
        chart = groups.recall_chart(recalls)
        section.chart("recall", chart, f"Which expressions fail for whom: recall, with the class's images; {note}",
                      "cells")  # fmt: skip


def _predictions(section: SectionWriter, run: Stored) -> None:
    if not run.methods or "emotion" not in run.predictions:
        section.say("There are no predictions of one class an image: no confusion, no calibration.")
        return
    confusion, calibration = groups.predicted(run)
    chart = groups.confusion_chart(confusion, run.classes)
    section.chart("confusion", chart, "What is taken for what, by group; the predictions of all members", "whose")
    chart = groups.reliability_chart(calibration)
    section.chart("reliability", chart, "Calibration by group: how often it is right when it is how sure", "attribute")


def _small_cells(section: SectionWriter, run: Stored) -> None:
    test = robustness.stored_outcomes(run)
    if test is None or not test.attributes:
        section.say("It takes predictions of one class an image, and an attribute.")
        return
    section.say(
        "A small cell's own interval is wide. The shrunken one borrows from cells of the same groups; it holds on "
        "average over cells, and is too sure of one that is unlike all others. P(worst): that no cell is worse."
    )
    chart = robustness_charts.cell_chart(robustness_charts.cell_rows(robustness.cells(test)))
    section.chart("small-cells", chart, "Accuracy of every cell, raw and borrowing strength")


def _multiverse(section: SectionWriter, run: Stored) -> None:
    test = robustness.stored_outcomes(run)
    if test is None or len(run.methods) < 2:
        section.say("It takes predictions of one class an image, and two methods.")
        return
    table = robustness.analyses(test, robustness.stored_outcomes(run, "val"))
    section.say(
        f"All {len(table):,} analyses that differ in groups, measure and seeds. They share images and seeds, so a "
        "share of them is no probability: a small one says that a finding is one of choices."
    )
    chart = robustness_charts.survival_chart(robustness_charts.survival_rows(table))
    section.chart("multiverse", chart, "In which share of its analyses each method helps", "about")
    chart = robustness_charts.curve_chart(robustness_charts.curve_rows(table))
    section.chart("multiverse-curve", chart, "Every analysis of a method, with its interval", "method")
    chart = robustness_charts.choice_chart(robustness.by_choice(table))
    section.chart("multiverse-choices", chart, "Which choice makes the finding")


def _arbitrariness(section: SectionWriter, run: Stored) -> None:
    test = robustness.stored_outcomes(run)
    if test is None or len(test.runs) == test.runs["method"].nunique():
        section.say("It takes predictions of one class an image, and two seeds of a method.")
        return
    agree, abstain = robustness.seeds_agree(test)
    section.say("Models that differ in nothing but their seed: what one of them says of a person, another may not.")
    section.chart("consistency", robustness_charts.consistency_chart(agree), "How often two seeds agree, by group",
                  "attribute")  # fmt: skip
    section.chart("abstention", robustness_charts.abstention_chart(abstain),
                  "Accuracy of the majority that answers only where seeds agree", "attribute")  # fmt: skip


def _labels(section: SectionWriter, run: Stored) -> None:
    test = robustness.stored_outcomes(run)
    table = robustness.label_errors(test) if test is not None and test.attributes else pd.DataFrame()
    if table.empty:
        section.say("It takes predictions of one class an image, and two groups to compare.")
        return
    section.say(
        "Band: what the gap may be if that share of each group's labels is wrong, whichever they are. Dashed: if "
        "errors have nothing to do with the answers. Red: where the gap may be none. Sampling error comes on top."
    )
    section.chart("label-errors", robustness_charts.label_chart(table), "A gap, if group labels are wrong")


def _training(section: SectionWriter, run: Stored) -> None:
    if run.curves.empty:
        section.say("metrics.jsonl is missing: there are no curves.")
        return
    chart = training.curve_chart(training.curves(run))
    section.chart("curves", chart, "Training and validation over epochs: medians, and all members as a band",
                  "measure")  # fmt: skip


def _studies(section: SectionWriter, run: Stored) -> None:
    for name, table in (("first", published.first(run)), ("second", published.second(run))):
        if len(table):
            section.say("Published: one run on one split, without intervals.")
            section.table(f"{name}-study", table)
            section.latex(f"{name}-study", table)
            return
    section.say(
        f"The studies used RAF-DB, CK+ and the Actor Study; this run's data is {run.data.get('name', 'not known')}: "
        "their numbers do not compare."
    )


def _explanations(section: SectionWriter, run: Stored) -> None:
    folders = sorted(p for p in (run.path / "explanations").glob("*") if (p / "index.html").is_file())
    if not folders:
        section.say(f"There are none: python -m frown_jax.explain --run={run.path}")
    for folder in folders:
        for picture in sorted(p for kind in ("gallery", "groups", "mean") for p in folder.glob(f"{kind}-*.png")):
            section.out.add(section.name, page.picture(picture, f"{folder.name}: {picture.stem}"))


def _configuration(section: SectionWriter, run: Stored) -> None:
    facts = {
        "folder": run.path,
        "data": f"{run.data.get('name', '')} {run.data.get('fingerprint', '')}",
        **run.versions,
        **{name.replace("_", " "): f"{seconds:g} s" for name, seconds in run.timing.items()},
        **_cost(run),
    }
    section.table("versions", pd.DataFrame([(k, str(v)) for k, v in facts.items()], columns=_FACTS))
    settings = pd.json_normalize(run.config.get("config", {}))
    if len(settings.columns):
        pairs = [(name, str(settings.iloc[0][name])) for name in settings.columns]
        section.table("settings", pd.DataFrame(pairs, columns=["setting", "value"]))
    for name in run.missing:
        section.say(f"{name} is missing in {run.path}: sections that need it are left out.")


def _cost(run: Stored) -> dict[str, str]:
    """What the training took, in members and device time."""
    seconds, devices = run.timing.get("training_seconds"), int(run.versions.get("devices", 1))
    if seconds is None or run.curves.empty:
        return {}
    count = run.curves["member"].nunique()
    return {
        "trained members": f"{count:,}, {len(run.curves):,} epochs together",
        "device time": f"{seconds * devices / 3600:.3g} h, {seconds * devices / count:.3g} s a member",
    }


SECTIONS: dict[str, Fill] = {
    "Headline": _headline,
    "Against the control": _differences,
    "Accuracy and fairness": _tradeoffs,
    "Levelling up or down": _levelling,
    "Ranks and selection": _selection,
    "Groups": _groups,
    "Small cells": _small_cells,
    "Confusion and calibration": _predictions,
    "Choices of analysis": _multiverse,
    "Seeds that disagree": _arbitrariness,
    "Wrong group labels": _labels,
    "Training": _training,
    "The studies": _studies,
    "Explanations": _explanations,
    "What was run": _configuration,
}


def overview(runs: Sequence[Stored]) -> pd.DataFrame:
    """A row a run: data, methods, members, the control's accuracy, wall time and device."""
    rows = []
    for run in runs:
        control = run.summary("accuracy")
        control = control[control["method"] == run.methods[0]] if run.methods else control
        rows.append(
            {
                "run": run.name,
                "data": f"{run.data.get('name', '')} {run.data.get('fingerprint', '')}".strip(),
                "methods": len(run.methods),
                "members": run.curves["member"].nunique() if len(run.curves) else "",
                "control": run.methods[0] if run.methods else "",
                "its accuracy": published.interval(control.iloc[0]) if len(control) else "",
                "training": f"{run.timing['training_seconds']:g} s" if "training_seconds" in run.timing else "",
                "device": run.versions.get("device", ""),
            }
        )
    return pd.DataFrame(rows)


def build(runs: Sequence[Stored], path: pathlib.Path, stills: bool = True) -> pathlib.Path:
    """Writes the report of some runs.

    Args:
      runs: what they stored; those of the same name are numbered.
      path: folder.
      stills: whether charts leave PNG and SVG files too.

    Returns:
      The page.
    """
    out = Folder(path, "Report of " + ", ".join(r.name for r in runs), stills)
    if len(runs) > 1:
        out.table("Runs", "runs", overview(runs))
    seen: dict[str, int] = {}
    for run in runs:
        seen[run.name] = seen.get(run.name, 0) + 1
        name = run.name if seen[run.name] == 1 else f"{run.name}-{seen[run.name]}"
        for heading, fill in SECTIONS.items():
            fill(SectionWriter(out, f"{name}: {heading}" if len(runs) > 1 else heading, name), run)
    return out.finish()
