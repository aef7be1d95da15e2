"""The whole analysis of a table of predictions: values, intervals, comparisons, levelling down, selection."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pandas as pd

from frown_jax.metrics import (
    bootstrap,
    catalogue,
    comparison,
    results_table,
    selection,
    significance,
    verdicts,
)
from frown_jax.metrics.bootstrap import Bootstrap
from frown_jax.metrics.levelling import PARTS, levelling_down
from frown_jax.metrics.looks import Looks, compared, revised, settle
from frown_jax.metrics.outcomes import Outcomes
from frown_jax.metrics.plan import MAX_CROSSED, ROW_COLUMNS, TINY, Plan, groupings

Progress = Callable[[str, int, int], None]  # what is being done, how far, of how much


@dataclasses.dataclass(frozen=True)
class AnalysisSettings:
    """What an analysis does.

    Attributes:
      control: method that the others are compared with; '' takes the first.
      metrics: of the summary; () for all that the predictions allow.
      headline: metrics that are compared between methods.
      crossed: attributes in the largest intersection.
      scored: groups that fairness measures compare, see plan.grouping.
      fewest: intersections compare groups of at least so many images; no gain or loss rests on a group of fewer.
      bootstrap: of intervals.
      permutations: of the permutation tests; 0 leaves them out.
      margin: differences up to this count as practically equal.
      primary: values that verdicts are about, see verdicts.families.
      floor: of the selection rule with an accuracy floor.
      looks: of a run that adds seeds until its answer is known; verdicts on primary values are corrected for them.
    """

    control: str = ""
    metrics: tuple[str, ...] = ()
    headline: tuple[str, ...] = catalogue.HEADLINE
    crossed: int = MAX_CROSSED
    scored: str | Mapping[str, Sequence[str]] = "studies"
    fewest: int = TINY
    bootstrap: Bootstrap = dataclasses.field(default_factory=Bootstrap)
    permutations: int = 0
    margin: float = verdicts.MARGIN
    primary: tuple[str, ...] = catalogue.PRIMARY
    floor: float = selection.DEFAULT_FLOOR
    looks: Looks | None = None


@dataclasses.dataclass(frozen=True)
class Analysis:
    """Tables; those that there is nothing for are None.

    Attributes:
      control: the method compared with.
      results: every value of every run.
      summary: every value of every method: n, seeds, mean, sd, min, max, lower, upper, interval, undefined, sd_images,
        sd_seeds, note; and for gaps by_chance and by_chance_high (mean and 95 % quantile of the gap that equal groups
        of these sizes would show) and debiased.
      comparisons: of comparison.compare.
      sequential: of looks.settle, where there are looks.
      levelling: of levelling.levelling_down.
      ranks: Friedman over seeds for each headline metric: metric, attribute, seeds, statistic, p_value,
        critical_difference (Nemenyi), and mean_rank_<method>.
      choices: of selection.select.
      rank_stability: per attribute, Kendall's W and each candidate's best and worst rank over the rules.
    """

    control: str
    results: pd.DataFrame
    summary: pd.DataFrame
    comparisons: pd.DataFrame | None = None
    sequential: pd.DataFrame | None = None
    levelling: pd.DataFrame | None = None
    ranks: pd.DataFrame | None = None
    choices: pd.DataFrame | None = None
    rank_stability: pd.DataFrame | None = None

    def tables(self) -> dict[str, pd.DataFrame]:
        """The tables that exist, by name."""
        found = {f.name: getattr(self, f.name) for f in dataclasses.fields(self) if f.name != "control"}
        return {name: frame for name, frame in found.items() if frame is not None and len(frame)}


def analyse(
    test: Outcomes,
    validation: Outcomes | None = None,
    settings: AnalysisSettings = AnalysisSettings(),
    progress: Progress | None = None,
) -> Analysis:
    """Analyses predictions.

    Args:
      test: what is reported.
      validation: what methods are selected on; None leaves selection out.
      settings: what is done.
      progress: is told how far it is.

    Raises:
      OutcomesError, ValueError: settings that do not fit the outcomes.
    """

    def report(what: str) -> bootstrap.Progress | None:
        return None if progress is None else lambda done, of: progress(what, done, of)

    divisions = groupings(test, None, settings.crossed, settings.scored, settings.fewest)
    plan = (
        Plan.of(test, divisions, settings.metrics) if settings.metrics else results_table.default_plan(test, divisions)
    )
    tallies = plan.tallies(test)
    results = results_table.values(test, plan, tallies)
    methods, members = bootstrap.members_of(test.runs)
    control = settings.control or methods[0]
    if control not in methods:
        raise ValueError(f"there is no method {control!r}; there are {', '.join(map(str, methods))}")
    found = bootstrap.estimates(test, plan, settings.bootstrap, members, report("intervals"), tallies)
    summary = _summary(results, found, methods)
    if len(methods) < 2:
        return Analysis(control, results, summary)
    scored = test.probabilities is not None
    wanted = dict.fromkeys((*settings.headline, *(text.split(":")[0] for text in settings.primary)))
    headline = [m for m in wanted if scored or not catalogue.metric(m).scored]
    short = Plan.of(test, divisions, headline)
    how = comparison.ComparisonSettings(
        settings.bootstrap, settings.permutations, settings.margin, settings.primary, settings.fewest
    )
    comparisons = comparison.compare(test, short, control, how, report("comparisons"))
    settled = None
    if settings.looks is not None:
        settled = seen_so_far(test, control, settings)
        comparisons = revised(comparisons, settled)
    levelling = levelling_down(comparisons) if set(PARTS.values()) <= set(headline) and test.attributes else None
    choices = stability = None
    if validation is not None and test.attributes:
        choices, stability = _selection(test, validation, results, settings)
    return Analysis(
        control, results, summary, comparisons, settled, levelling, _ranks(results, headline), choices, stability
    )


def seen_so_far(test: Outcomes, control: str, settings: AnalysisSettings) -> pd.DataFrame:
    """The primary comparisons of all looks so far, see `looks.settle`."""
    assert settings.looks is not None
    how = comparison.ComparisonSettings(
        settings.bootstrap, margin=settings.margin, primary=settings.primary, fewest=settings.fewest
    )
    divisions = groupings(test, None, 1, settings.scored, settings.fewest)
    tables = compared(test, control, settings.looks, divisions, how)
    return settle(tables, settings.looks.counts[-1], settings.margin, settings.bootstrap.level, settings.fewest)


def _summary(results: pd.DataFrame, found: bootstrap.Estimates, methods: list[str]) -> pd.DataFrame:
    spread = results_table.over_seeds(results.assign(split="")).drop(columns="split")
    frames = []
    for i, method in enumerate(methods):
        frame = found.rows.copy()
        frame.insert(0, "method", method)
        frame["lower"], frame["upper"] = found.lower[i], found.upper[i]
        frame["interval"], frame["undefined"] = found.kind[i], found.undefined[i]
        frame["sd_images"], frame["sd_seeds"] = found.sd_images[i], found.sd_seeds[i]
        frame["by_chance"], frame["by_chance_high"] = found.chance[i], found.chance_high[i]
        frame["debiased"] = found.debiased[i]
        frames.append(frame)
    keys = ["method", *ROW_COLUMNS]
    notes = results.drop_duplicates(keys)[[*keys, "note"]]
    return spread.merge(pd.concat(frames, ignore_index=True), on=keys, how="left").merge(notes, on=keys, how="left")


def _ranks(results: pd.DataFrame, headline: Sequence[str]) -> pd.DataFrame:
    """Friedman's test with seeds as blocks, for each headline value that is not of one group."""
    out = []
    chosen = results[results["metric"].isin(headline) & (results["group"] == "") & (results["target"] == "")]
    for (metric, attribute), part in chosen.groupby(["metric", "attribute"], sort=False):
        wide = part.pivot(index="seed", columns="method", values="value").reindex(
            columns=list(dict.fromkeys(part["method"]))
        )
        better = catalogue.metric(str(metric)).better
        test = significance.friedman(wide.to_numpy(), higher_is_better=better == "higher")
        out.append(
            {
                "metric": metric,
                "attribute": attribute,
                "seeds": int(wide.notna().all(axis=1).sum()),
                "statistic": test.statistic,
                "p_value": test.p_value,
                "critical_difference": test.critical_difference,
                **{f"mean_rank_{m}": r for m, r in zip(wide.columns, test.mean_ranks, strict=True)},
            }
        )
    return pd.DataFrame(out)


def _selection(
    test: Outcomes, validation: Outcomes, results: pd.DataFrame, settings: AnalysisSettings
) -> tuple[pd.DataFrame, pd.DataFrame]:
    single = groupings(validation, None, 1, settings.scored, settings.fewest)
    names = ["accuracy", "worst_class_recall", "generalized_equal_opportunity"]
    names += ["auroc"] if validation.probabilities is not None else []
    before = results_table.values(validation, Plan.of(validation, single, names)).rename(
        columns={"method": "candidate"}
    )
    after = results.rename(columns={"method": "candidate"})
    choices, stable = [], []
    for attribute in validation.attributes:
        if attribute not in test.attributes:
            continue
        division = next(g for g in single if g.attributes == (attribute,))
        groups = tuple(np.array(division.names, object)[division.scored])
        choices.append(selection.select(before, after, attribute, groups, settings.floor))
        found = selection.stability(selection.scores(selection.candidates(before, attribute, groups), settings.floor))
        stable += [
            {
                "attribute": attribute,
                "candidate": name,
                "best_rank": row.min(),
                "worst_rank": row.max(),
                "kendall_w": found.kendall_w,
            }
            for name, row in found.ranks.iterrows()
        ]
    return pd.concat(choices, ignore_index=True), pd.DataFrame(stable)
