"""Every method against the control, paired: the same images, the same seeds, the same resamples."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
from scipy import stats

from frown_jax.metrics import bootstrap, catalogue, resample, significance
from frown_jax.metrics.bootstrap import Bootstrap, Progress
from frown_jax.metrics.intervals import minimum_detectable_effect
from frown_jax.metrics.outcomes import Outcomes
from frown_jax.metrics.plan import Plan
from frown_jax.metrics.statistics import Answers, answers

Array = np.ndarray
LEVEL_OF_TESTS = 0.05
_POWER = 0.8


@dataclasses.dataclass(frozen=True)
class Settings:
    """How methods are compared.

    Attributes:
      bootstrap: of the intervals and of p_bootstrap.
      permutations: of p_permutation; 0 leaves it out (it costs four times the bootstrap).
    """

    bootstrap: Bootstrap = dataclasses.field(default_factory=Bootstrap)
    permutations: int = 0


def compare(
    outcomes: Outcomes, plan: Plan, control: str, settings: Settings = Settings(), progress: Progress | None = None
) -> pd.DataFrame:
    """Every value of every method against the control's.

    Args:
      outcomes: runs with methods and seeds.
      plan: Q values; those whose better end is not known are left out of the verdicts.
      control: its method's name.
      settings: how.
      progress: is told how far it is.

    Returns:
      A row for each method but the control and each value: method, the columns of plan.rows, n (images),
      seeds (that both have), control, value, difference (method - control, mean over the common seeds),
      lower, upper (of the difference; basic bootstrap interval, replicates centred on their mean), p_bootstrap
      (share of replicates as far from their mean as the difference from 0) and
      p_bootstrap_holm (corrected over the methods),
      p_permutation and p_permutation_holm (images' answers exchanged; NaN if not asked for), p_seeds (sign flips over
      seeds), p_wilcoxon, p_levene, cohens_d (over seeds), detectable (smallest difference that this test would
      find 4 times in 5), verdict ('gain', 'loss' or 'not shown', by p_bootstrap_holm at 5 %).

    Raises:
      ValueError: the control is not there, or there is nothing to compare it with.
    """
    methods, members = bootstrap.members_of(outcomes.runs)
    if control not in methods:
        raise ValueError(f"there is no method {control!r}; there are {', '.join(map(str, methods))}")
    if len(methods) < 2:
        raise ValueError(f"{control!r} is the only method: there is nothing to compare it with")
    base = methods.index(control)
    others = [i for i in range(len(methods)) if i != base]
    tallies = plan.tallies(outcomes)
    values, n = plan.values(tallies), plan.n(tallies)[0]
    chosen = settings.bootstrap
    drawn = resample.units(outcomes, chosen.stratify, chosen.by_subject)
    weights = resample.bootstrap_weights(drawn, chosen.resamples, chosen.seed)
    # A pair of seeds counts only where both methods have it.
    common = np.stack([np.where(members[base] >= 0, members[i], -1) for i in others])
    control_of = np.stack([np.where(members[i] >= 0, members[base], -1) for i in others])
    shared = bool((control_of == control_of[0]).all())
    seeds = bootstrap.seed_weights(common, chosen)
    if shared:
        against = resample.replicates(outcomes, plan, control_of[:1], weights, seeds[:1])
    else:
        against = resample.replicates(outcomes, plan, control_of, weights, seeds)
    reference = next(against)[1] if shared else None
    frames = []
    for part, replicate in resample.replicates(outcomes, plan, common, weights, seeds):
        other = np.broadcast_to(reference, replicate.shape) if reference is not None else next(against)[1]
        for i in range(part.start, part.stop):
            d = replicate[i - part.start] - other[i - part.start]
            frames.append(_one(plan, values, members[others[i]], members[base], d, n, chosen))
            frames[-1].insert(0, "method", methods[others[i]])
            if settings.permutations:
                frames[-1]["p_permutation"] = permutation(
                    outcomes, plan, common[i], control_of[i], settings.permutations, drawn, chosen.seed
                )
        if progress:
            progress(part.stop, len(others))
    table = pd.concat(frames, ignore_index=True)
    _detectable(table, outcomes, plan, members, methods, base)
    keys = list(plan.rows.columns)
    for test in ("p_bootstrap", "p_permutation"):
        table[f"{test}_holm"] = table.groupby(keys, sort=False)[test].transform(
            lambda p: significance.holm(p.to_numpy())
        )
    table["verdict"] = _verdicts(table)
    return table


def _one(
    plan: Plan, values: Array, method: Array, control: Array, d: Array, n: Array, settings: Bootstrap
) -> pd.DataFrame:
    """One method's rows, from its replicates of the difference [B, Q]."""
    pairs = (method >= 0) & (control >= 0)
    a, b = values[method[pairs]], values[control[pairs]]
    both = np.isnan(a) | np.isnan(b)
    a, b = np.where(both, np.nan, a), np.where(both, np.nan, b)
    seeds = (~both).sum(0)
    mean_a, mean_b = (np.where(seeds > 0, np.nansum(x, 0) / np.maximum(seeds, 1), np.nan) for x in (a, b))
    defined = (~np.isnan(d)).sum(0)
    # Centred: ranges over groups grow under resampling, so that their replicates do not lie around the estimate.
    d = d - np.where(defined > 0, np.nansum(d, 0) / np.maximum(defined, 1), np.nan)
    low, high = bootstrap.percentile(d, settings.level)
    enough = (defined > len(d) / 2) & (seeds > 0)
    out = plan.rows.copy()
    out["n"] = n.astype(np.int64)
    out["seeds"] = seeds
    out["control"], out["value"], out["difference"] = mean_b, mean_a, mean_a - mean_b
    difference = mean_a - mean_b
    out["lower"], out["upper"] = (np.where(enough, difference - x, np.nan) for x in (high, low))
    beyond = (np.abs(d) >= np.abs(difference) - 1e-7).sum(0)
    out["p_bootstrap"] = np.where(enough, (beyond + 1) / (defined + 1), np.nan)
    out["p_permutation"] = np.nan
    tests = [
        (
            significance.paired_permutation(x - y),
            significance.wilcoxon(x, y),
            significance.levene(x, y),
            significance.cohens_d(x, y),
        )
        if len(a) > 1
        else (np.nan,) * 4
        for x, y in zip(a.T, b.T, strict=True)
    ]
    for i, column in enumerate(("p_seeds", "p_wilcoxon", "p_levene", "cohens_d")):
        out[column] = [t[i] for t in tests]
    spread = np.sqrt(np.nansum(d**2, 0) / np.maximum(defined - 1, 1))
    quantile = stats.norm.ppf(1 - LEVEL_OF_TESTS / 2) + stats.norm.ppf(_POWER)
    out["detectable"] = np.where(enough, quantile * spread, np.nan)
    return out


def _detectable(
    table: pd.DataFrame, outcomes: Outcomes, plan: Plan, members: Array, methods: list[str], base: int
) -> None:
    """For accuracies of single runs: exact McNemar power in place of the normal one, which fails in small cells."""
    if outcomes.multilabel or members.shape[1] > 1:
        return
    right = outcomes.predictions == outcomes.labels
    inside = {(g.label, name): g.codes == k for g in plan.groupings for k, name in enumerate(g.names)}
    for at in np.flatnonzero(table["metric"] == "accuracy"):
        method, attribute, group = (str(table[c].iloc[at]) for c in ("method", "attribute", "group"))
        chosen = inside[attribute, group]
        a, b = right[members[methods.index(method), 0]][chosen], right[members[base, 0]][chosen]
        if len(a):
            table.loc[at, "detectable"] = minimum_detectable_effect(len(a), float(b.mean()), float((a == b).mean()))


def _verdicts(table: pd.DataFrame) -> list[str]:
    out = []
    for metric, difference, p in zip(table["metric"], table["difference"], table["p_bootstrap_holm"], strict=True):
        better = catalogue.metric(metric).better
        if better == "neither" or np.isnan(p):
            out.append("")
        elif p >= LEVEL_OF_TESTS or difference == 0:
            out.append("not shown")
        else:
            out.append("gain" if (difference > 0) == (better == "higher") else "loss")
    return out


def permutation(
    outcomes: Outcomes,
    plan: Plan,
    method: Array,
    control: Array,
    permutations: int,
    drawn: resample.Units,
    seed: int = 0,
) -> Array:
    """Two-sided p-values of a paired permutation test, [Q]: under the null the two methods' answers are exchangeable.

    For each permutation a random half of the images (or subjects) swaps the two methods' answers, for all seeds
    alike. Statistics are linear in weights, so the swapped runs are the two runs' answers together, weighted 0 or 1.

    Args:
      outcomes: runs.
      plan: Q values.
      method, control: int [S], positions of paired runs, -1 for none.
      permutations: P; the observed arrangement counts as one more, so that p is at least 1 / (P + 1).
      drawn: what swaps together.
      seed: of the draw.
    """
    pairs = (method >= 0) & (control >= 0)
    a, b = method[pairs], control[pairs]
    p = outcomes.probabilities
    both: Answers = answers(
        np.concatenate([outcomes.labels] * 2),
        np.concatenate([outcomes.predictions[a], outcomes.predictions[b]], 1),
        None if p is None or not plan.needs_scores else np.concatenate([p[a], p[b]], 1),
    )
    doubled = dataclasses.replace(
        plan, groupings=tuple(dataclasses.replace(g, codes=np.concatenate([g.codes] * 2)) for g in plan.groupings)
    )
    swap = np.random.default_rng(seed).random((drawn.count, permutations)) < 0.5
    swap = np.concatenate([np.zeros((drawn.count, 1), bool), swap], 1)[drawn.of_image]
    mine = np.concatenate([~swap, swap]).astype(np.float32)
    weights = np.concatenate([mine, 1 - mine], 1)
    runs = np.arange(int(pairs.sum()), dtype=np.int32)[None]
    (_, values), *_ = resample.replicates_of(both, doubled, runs, weights)
    difference = values[0, : permutations + 1] - values[0, permutations + 1 :]
    seen = np.abs(difference[0])
    # Undefined arrangements count as extreme; equal ones must, whatever the rounding.
    extreme = ~(np.abs(difference[1:]) < seen - 1e-6)
    return np.where(np.isnan(seen), np.nan, (extreme.sum(0) + 1) / (permutations + 1))


def levelling_down(table: pd.DataFrame) -> pd.DataFrame:
    """How a gap in accuracy closed: did the worst group rise, or the best one fall?

    Args:
      table: of `compare`, with worst_group_accuracy, best_group_accuracy and accuracy_difference.

    Returns:
      A row for each method and attribute: method, attribute, gap, worst, best (changes against the control, with
      _lower and _upper), and reading: 'levelled down' if the gap closed and the best group's fall is more of it than
      the worst one's rise, 'levelled up' if it closed otherwise, 'widened'. A reading whose gap's interval holds 0 is
      followed by ' (within noise)'.
    """
    parts = {}
    for short, name in (
        ("gap", "accuracy_difference"),
        ("worst", "worst_group_accuracy"),
        ("best", "best_group_accuracy"),
    ):
        chosen = table[table["metric"] == name].set_index(["method", "attribute"])
        parts[short] = chosen["difference"]
        parts[f"{short}_lower"], parts[f"{short}_upper"] = chosen["lower"], chosen["upper"]
    out = pd.DataFrame(parts).dropna(subset=["gap"]).reset_index()
    closed = out["gap"] < 0
    reading = np.where(closed, np.where(-out["best"] > out["worst"], "levelled down", "levelled up"), "widened")
    reading = np.where(out["gap"] == 0, "unchanged", reading)
    noise = (out["gap"] != 0) & ~((out["gap_upper"] < 0) | (out["gap_lower"] > 0))
    out["reading"] = [f"{r} (within noise)" if n else r for r, n in zip(reading, noise, strict=True)]
    return out
