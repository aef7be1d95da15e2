"""Do 95 % intervals hold the truth 95 % of the time, and are gains of methods that are all alike rarer than 5 %?

python -m benchmarks.coverage                          every table, quick: about 15 minutes on 2 cores
python -m benchmarks.coverage --tables=cells,strata    some of them
python -m benchmarks.coverage --thorough               the tables of docs/statistics.md: about 2 hours

Simulated answers with known accuracies go through the same code as real ones. Every share is followed by its Monte
Carlo error (one standard deviation).
"""

import concurrent.futures
import dataclasses
import multiprocessing

import numpy as np
import pandas as pd
from absl import app, flags
from scipy import stats

from frown_jax import schema
from frown_jax.metrics import bootstrap, comparison, significance, variance, verdicts
from frown_jax.metrics.bootstrap import Bootstrap
from frown_jax.metrics.outcomes import Outcomes
from frown_jax.metrics.plan import Plan, grouping, groupings
from frown_jax.metrics.reference import Variances, p_value

_TABLES = flags.DEFINE_list("tables", [], "Tables to make; all of them by default.")
_THOROUGH = flags.DEFINE_bool("thorough", False, "Simulate as many data sets as docs/statistics.md shows.")
_PROCESSES = flags.DEFINE_integer("processes", 2, "Processes that simulate at once.")
METRICS = ("accuracy", "worst_group_accuracy", "best_group_accuracy", "accuracy_difference")
RACES = tuple(int(n) for n in schema.rafdb_cells("test").sum((1, 2)))  # images of the RAF-DB test set
RESAMPLES = 400


def right(rng, chance, runs, alike=0.6):
    """Who is right, bool [runs, N], of chances [runs, N] or [N]; images have a difficulty that runs share.

    Args:
      rng: of the draw.
      chance: probability of a right answer.
      runs: how many.
      alike: share of what decides about an answer that is the image's own, 0 to 1.
    """
    chance = np.broadcast_to(chance, (runs, chance.shape[-1]))
    own = rng.normal(size=chance.shape) * np.sqrt(1 - alike)
    return rng.normal(size=chance.shape[-1]) * np.sqrt(alike) + own < stats.norm.ppf(np.clip(chance, 1e-6, 1 - 1e-6))


def of_answers(correct, attributes, subjects=None, runs=None):
    """Outcomes of two classes of which the first is always true."""
    truth = np.zeros(correct.shape[1], int)
    given = np.where(correct, 0, 1)
    return Outcomes.of(truth, given, attributes=attributes, subjects=subjects, runs=runs, targets=(0, 1))


def error(share, count):
    """Monte Carlo error of a share of so many data sets."""
    return float(np.sqrt(max(share * (1 - share), 0.25 / count) / count))


def _holds(lower, upper, truth):
    return (lower <= truth + 1e-9) & (truth <= upper + 1e-9)


# Intervals of values; every run is a data set of its own


def cells(datasets, seed=0):
    """Accuracy of groups of 10 to 2,000 images, one run."""
    rng, rows, sizes = np.random.default_rng(seed), [], (10, 20, 50, 100, 500, 2000)
    for chance in (0.5, 0.8, 0.95):
        group = np.repeat(np.arange(len(sizes)), sizes)
        data = of_answers(rng.random((datasets, len(group))) < chance, {"cell": group})
        plan = Plan.of(data, [grouping(data, ("cell",), "all")], ["accuracy"])
        found = bootstrap.estimates(data, plan, Bootstrap(RESAMPLES, seed=seed))
        for i, n in enumerate(sizes):
            inside = _holds(found.lower[:, i], found.upper[:, i], chance)
            width = np.nanmean(found.upper[:, i] - found.lower[:, i])
            rows.append({"images": n, "accuracy": chance, "held": inside.sum(), "of": datasets, "width": width})
    return rows


def _years(rng):
    """300 images by race, gender and age in years: most strata are one image."""
    n = 300
    attributes = {"race": rng.choice(3, n, p=[0.1, 0.2, 0.7]), "gender": rng.integers(0, 2, n)}
    return {**attributes, "age": rng.integers(18, 70, n)}, None, np.full(n, 0.8), 0.0


def _subjects(people, frames, cells_of_people, alike):
    def made(rng):
        cell = rng.integers(0, cells_of_people, people)
        subject = np.repeat(np.arange(people), frames)
        return {"cell": cell[subject]}, subject, np.full(people * frames, 0.8), alike

    return made


STRATA = {
    "300 images, race x gender x age in years": _years,
    "27 subjects x 50 frames, 18 cells": _subjects(27, 50, 18, 0.3),
    "27 subjects x 50 frames, 1 cell": _subjects(27, 50, 1, 0.3),
    "60 subjects x 10 frames, 6 cells": _subjects(60, 10, 6, 0.3),
    "12 subjects x 20 frames, all right or wrong": _subjects(12, 20, 1, 1.0),
    "4 subjects x 10 frames, all right or wrong": _subjects(4, 10, 1, 1.0),
}


def strata(datasets, seed=0):
    """Overall accuracy of stratified images and of subjects with many frames, one run."""
    rows = []
    for name, make in STRATA.items():
        rng = np.random.default_rng(seed)
        attributes, subjects, chance, alike = make(rng)
        correct = rng.random((datasets, len(chance))) < chance
        if subjects is not None:
            people = rng.normal(size=(datasets, subjects.max() + 1))[:, subjects] * np.sqrt(alike)
            own = rng.normal(size=correct.shape) * np.sqrt(1 - alike)
            correct = people + own < stats.norm.ppf(chance)
        data = of_answers(correct, attributes, subjects)
        plan = Plan.of(data, [grouping(data)], ["accuracy"])
        found = bootstrap.estimates(data, plan, Bootstrap(RESAMPLES, seed=seed))
        inside = _holds(found.lower[:, 0], found.upper[:, 0], 0.8)
        width = np.nanmean(found.upper[:, 0] - found.lower[:, 0])
        rows.append({"design": name, "held": inside.sum(), "of": datasets, "width": width})
    return rows


GROUPS = (
    ((10, 25, 50, 100, 200), (0.8,) * 5),
    ((100,) * 5, (0.8,) * 5),
    ((500, 500), (0.8, 0.8)),
    ((500, 500), (0.82, 0.8)),
    ((500, 500), (0.9, 0.7)),
    ((800, 100, 200), (0.82, 0.8, 0.81)),
    ((800, 100, 200), (0.9, 0.7, 0.85)),
    (RACES, (0.85, 0.85, 0.85)),
    (RACES, (0.85, 0.8, 0.83)),
    ((31,) * 20, (0.85,) * 20),
)


def extremes(datasets, seed=0):
    """Worst groups, best groups and gaps of one run, with what chance alone would make of the gap."""
    rows = []
    for sizes, chances in GROUPS:
        rng = np.random.default_rng(seed)
        group = np.repeat(np.arange(len(sizes)), sizes)
        correct = rng.random((datasets, len(group))) < np.asarray(chances)[group]
        data = of_answers(correct, {"g": group})
        plan = Plan.of(data, [grouping(data, ("g",), "all")], METRICS)
        found = bootstrap.estimates(data, plan, Bootstrap(RESAMPLES, seed=seed))
        truths = {"worst_group_accuracy": min(chances), "best_group_accuracy": max(chances)}
        truths["accuracy_difference"] = max(chances) - min(chances)
        for name, truth in truths.items():
            at = int(np.flatnonzero(plan.rows["metric"] == name)[0])
            row = {"metric": name, "groups": len(sizes), "images": _short(sizes), "accuracies": _short(chances)}
            row |= {"truth": truth, "mean": found.mean[:, at].mean()}
            row |= {"by_chance": found.chance[:, at].mean(), "debiased": found.debiased[:, at].mean()}
            inside = _holds(found.lower[:, at], found.upper[:, at], truth)
            rows.append({**row, "held": inside.sum(), "of": datasets})
    return rows


def _short(values):
    some = " ".join(f"{v:g}" for v in values[:5])
    return some + (" ..." if len(values) > 5 else "")


# Methods with seeds


@dataclasses.dataclass(frozen=True)
class Grid:
    """Methods with seeds on the same images.

    Attributes:
      methods: the control is the first.
      seeds: of each method.
      moves: standard deviation over seeds of the accuracy of everybody, in points of 1.
      apart: the same of each group by itself.
      sizes: images of each group.
      accuracies: of each group, of every method but the `helped` ones.
      gains: what the helped methods add in each group.
      helped: methods, the last ones.
      uneven: the last half of the methods moves so many times as much.
    """

    methods: int = 2
    seeds: int = 4
    moves: float = 0.03
    apart: float = 0.0
    sizes: tuple[int, ...] = RACES
    accuracies: tuple[float, ...] = (0.85, 0.8, 0.83)
    gains: tuple[float, ...] = (0.0, 0.0, 0.0)
    helped: int = 0
    uneven: float = 1.0

    def outcomes(self, rng):
        """Simulated answers of one data set."""
        group = np.repeat(np.arange(len(self.sizes)), self.sizes)
        chance = np.tile(self.accuracies, (self.methods, 1))
        if self.helped:
            chance[-self.helped :] += self.gains
        scale = np.where(np.arange(self.methods) < (self.methods + 1) // 2, 1.0, self.uneven)[:, None, None]
        shape = (self.methods, self.seeds)
        moved = rng.normal(size=(*shape, 1)) * self.moves + rng.normal(size=(*shape, len(self.sizes))) * self.apart
        of_runs = np.clip(chance[:, None] + scale * moved, 0.001, 0.999).reshape(-1, len(self.sizes))
        names = [f"m{i:02d}" for i in range(self.methods)]
        runs = pd.DataFrame(
            {"method": np.repeat(names, self.seeds), "seed": np.tile(np.arange(self.seeds), self.methods)}
        )
        correct = right(rng, of_runs[:, group], len(of_runs))
        return of_answers(correct, {"g": group.astype(str)}, runs=runs)

    def truths(self, many=20_000):
        """The change of each metric of a helped method, by name, over seeds and endless images."""
        rng = np.random.default_rng(0)
        moved = rng.normal(size=(many, 1)) * self.moves + rng.normal(size=(many, len(self.sizes))) * self.apart
        base = np.asarray(self.accuracies) + moved
        helped = base + self.gains
        out = {"accuracy": float(np.average(self.gains, weights=self.sizes))}
        for name, f in (
            ("worst_group_accuracy", lambda x: x.min(1)),
            ("best_group_accuracy", lambda x: x.max(1)),
            ("accuracy_difference", lambda x: np.ptp(x, axis=1)),
        ):
            out[name] = float((f(helped) - f(base)).mean())
        return out


def compared(grid, seed):
    """The comparisons of one simulated data set."""
    data = grid.outcomes(np.random.default_rng(seed))
    plan = Plan.of(data, groupings(data, scored="all"), METRICS)
    settings = comparison.ComparisonSettings(Bootstrap(RESAMPLES, seed=seed))
    return comparison.compare(data, plan, "m00", settings)


def _values_of(table):
    return np.where(table["group"] == "", table["metric"], "accuracy of " + table["group"])


def level(grid, datasets, seed=0):
    """Per value: how often its p-value is below 5 % and how often its interval holds the truth; and false verdicts."""
    found = []
    truths = grid.truths()
    for i in range(datasets):
        table = compared(grid, seed + i)
        last = table["method"] == table["method"].iloc[-1]
        own = table[last].copy()
        own["value of"] = _values_of(own)
        truth = own["metric"].map(truths).where(own["group"] == "", own["group"].map(dict(enumerate_str(grid.gains))))
        own["holds"] = _holds(own["lower"], own["upper"], truth.astype(float))
        own["rejects"] = own["p_value"] < 0.05
        found.append(own[["value of", "holds", "rejects"]])
    return found


def enumerate_str(values):
    """('0', first), ('1', second), as groups are called."""
    return [(str(i), v) for i, v in enumerate(values)]


def families(grid, datasets, seed=0):
    """Data sets in which any method that is no different is called a gain or a loss, among primary values and all."""
    primary = anything = shown = 0
    for i in range(datasets):
        table = compared(grid, seed + i)
        helped = table["method"].isin(sorted(table["method"].unique())[len(table["method"].unique()) - grid.helped :])
        verdict = table["verdict"].isin((verdicts.GAIN, verdicts.LOSS))
        own = table["family"] == verdicts.PRIMARY
        primary += bool((verdict & own & ~helped).any())
        anything += bool((verdict & ~helped).any())
        shown += float((verdict & helped & (table["metric"] == "worst_group_accuracy")).sum()) / max(grid.helped, 1)
    return {"primary": primary, "any": anything, "shown": shown, "of": datasets}


SEEDS = (1, 2, 3, 4, 8, 16)
LEVELS = [
    *(Grid(seeds=s, moves=m) for s in SEEDS for m in (0.0, 0.03) if s > 1 or m == 0),
    *(Grid(seeds=4, moves=m) for m in (0.01, 0.05)),
    *(Grid(seeds=s, moves=0.02, apart=0.02) for s in (4, 16)),
    Grid(seeds=4, moves=0.02, sizes=(10, 100, 2000)),
    *(Grid(seeds=s, moves=0.02, gains=(0.0, 0.05, 0.0), helped=1) for s in (4, 16)),
    Grid(seeds=4, moves=0.01, gains=(-0.03, 0.02, 0.0), helped=1),
]
GRIDS = [
    *(Grid(methods=11, seeds=s, moves=v) for s in (2, 4) for v in (0.0, 0.03)),
    Grid(methods=11, seeds=4, moves=0.02, apart=0.02),
    Grid(methods=11, seeds=4, moves=0.01, uneven=4.0),
    Grid(methods=41, seeds=4, moves=0.03),
]
POWER = [
    Grid(methods=11, seeds=s, moves=v, gains=(0.0, g, 0.0), accuracies=(0.85, 0.75, 0.85), helped=5)
    for s in (4, 16)
    for v in (0.005, 0.02)
    for g in (0.03, 0.06)
]


@dataclasses.dataclass(frozen=True)
class Family:
    """A grid of methods that are all alike, by its sufficient statistics: what seeds and images do to each value.

    Attributes:
      methods: beside the control.
      seeds: of each.
      moves: standard deviation of a value over seeds.
      control: the same of the control, where it is another.
      uneven: half of the methods move so many times as much.
      images: standard deviation that the images bring to all runs of a method alike.
      both: the same to each run by itself.
      values: primary values, independent of each other.
    """

    methods: int
    seeds: int
    moves: float
    control: float | None = None
    uneven: float = 1.0
    images: float = 0.004
    both: float = 0.012
    values: int = 3

    def p_values(self, rng):
        """Of every method and value, [methods, values], as `comparison.compare` computes them."""
        moves = np.where(np.arange(self.methods + 1) < (self.methods + 1) // 2, 1, self.uneven) * self.moves
        moves[0] = moves[0] if self.control is None else self.control
        shape = (self.methods + 1, self.seeds, self.values)
        runs = rng.normal(size=shape) * np.hypot(moves, self.both)[:, None, None]
        runs += rng.normal(size=(self.methods + 1, 1, self.values)) * self.images
        difference = runs[1:] - runs[0]
        full = np.ones((self.methods, self.values))
        both = 2 * self.both**2 * full
        spread, df = variance.moderated(difference.var(1, ddof=1), (self.seeds - 1) * full, runs[0].var(0, ddof=1))
        images = 2 * self.images**2 + both / self.seeds
        v = Variances(images, spread, both, self.seeds * full, df, RESAMPLES * full)
        return p_value(difference.mean(1), v)


FAMILIES = [
    *(Family(m, s, v) for m in (10, 40) for s in (2, 3, 4, 8, 16) for v in (0.0, 0.01, 0.03, 0.05)),
    *(Family(m, s, 0.01, uneven=5.0) for m in (10, 40) for s in (3, 4, 8)),
    *(Family(m, s, 0.005, control=0.03) for m in (10, 40) for s in (3, 4, 8)),
    *(Family(m, s, 0.03, control=0.005) for m in (10, 40) for s in (3, 4, 8)),
]


def _false_in_family(job):
    family, grids_of, seed = job
    rng = np.random.default_rng(seed)
    wrong = below = 0
    for _ in range(grids_of):
        p = family.p_values(rng)
        wrong += bool((significance.holm(p.ravel()) < 0.05).any())
        below += (p < 0.05).mean()
    return family, wrong, below / grids_of


def small_audits(audits, seed=0, permutations=199):
    """Random audits of single runs with a few images: do the permutation test and the verdict's p-value agree?

    Returns:
      Audits, values, values where one p-value is at most .01 and the other at least .5, and verdicts of gain or loss
      whose permutation p-value is above 5 %.
    """
    many, total, apart, unfounded = min(audits, 100), 0, 0, 0
    for i in range(audits // many):
        rng = np.random.default_rng([seed, i])
        n, groups = int(rng.choice([20, 40, 80])), int(rng.integers(2, 5))
        frames = int(rng.choice([1, 1, 4]))
        group = np.repeat(rng.integers(0, groups, n // frames), frames)
        subjects = np.repeat(np.arange(n // frames), frames) if frames > 1 else None
        base = rng.random(n) < 0.8
        flips = rng.random((many, n)) < rng.choice([0.02, 0.1, 0.3], (many, 1))
        better = rng.random((many, 1)) < 0.5  # half of the methods only gain
        correct = np.where(better, base | flips, base ^ flips)
        runs = pd.DataFrame({"method": ["m00", *(f"a{k}" for k in range(many))], "seed": 0})
        data = of_answers(np.concatenate([base[None], correct]), {"g": group.astype(str)}, subjects, runs)
        plan = Plan.of(data, groupings(data, scored="all", fewest=1), METRICS)
        settings = comparison.ComparisonSettings(Bootstrap(RESAMPLES, seed=i), permutations=permutations)
        table = comparison.compare(data, plan, "m00", settings)
        p, q = table["p_value"].to_numpy(), table["p_permutation"].to_numpy()
        both = np.isfinite(p) & np.isfinite(q)
        total += int(both.sum())
        apart += int((both & (np.minimum(p, q) <= 0.01) & (np.maximum(p, q) >= 0.5)).sum())
        unfounded += int((table["verdict"].isin((verdicts.GAIN, verdicts.LOSS)) & (q > 0.05)).sum())
    return {"audits": audits, "values": total, "contradictions": apart, "unfounded verdicts": unfounded}


# Tables


def _shares(rows, count="held", name="coverage"):
    table = pd.DataFrame(rows)
    share = table.pop(count) / table["of"]
    table[name] = share
    table["error"] = [error(s, n) for s, n in zip(share, table.pop("of"), strict=True)]
    return table


def _level_rows(job):
    grid, datasets, seed = job
    return grid, pd.concat(level(grid, datasets, seed))


def _family_rows(job):
    grid, datasets, seed = job
    return grid, families(grid, datasets, seed)


def levels(pool, datasets):
    """Two methods: how often each interval of a difference holds the truth, and how often p < .05."""
    rows = []
    for grid, found in pool.map(_level_rows, [(g, datasets, 0) for g in LEVELS]):
        row = {"seeds": grid.seeds, "move": grid.moves, "groups": grid.apart, "images": _short(grid.sizes)}
        share = found.groupby("value of", sort=False)[["holds", "rejects"]].mean()
        row |= {"gains": _short(grid.gains), **{_BRIEF.get(v, v[12:]): s for v, s in share["holds"].items()}}
        null = share.loc[["accuracy", "accuracy_difference"], "rejects"].to_numpy()
        rows.append({**row, "p accuracy": null[0], "p gap": null[1], "error": error(0.95, datasets)})
    return pd.DataFrame(rows)


_BRIEF = {
    "accuracy": "accuracy",
    "worst_group_accuracy": "worst",
    "best_group_accuracy": "best",
    "accuracy_difference": "gap",
}


def grids(pool, datasets):
    """Many methods that are all alike: how often is any of them called a gain or a loss?"""
    rows = []
    jobs = [(g, max(datasets * 11 // g.methods, 50), 0) for g in GRIDS]
    for grid, found in pool.map(_family_rows, jobs):
        row = {"methods": grid.methods - 1, "seeds": grid.seeds, "seeds move": grid.moves, "uneven": grid.uneven}
        rows.append({**row, "primary": found["primary"], "of": found["of"], "any value": found["any"] / found["of"]})
    return _shares(rows, "primary", "false gain or loss")


def families_of(pool, datasets):
    """The same by sufficient statistics, of more designs: methods or a control that move more than the others."""
    rows = []
    jobs = [(f, max(datasets * 10 // f.methods, 50), i) for i, f in enumerate(FAMILIES)]
    for (family, wrong, below), (_, count, _) in zip(pool.map(_false_in_family, jobs), jobs, strict=True):
        row = {"methods": family.methods, "seeds": family.seeds, "seeds move": family.moves}
        row |= {"control moves": family.moves if family.control is None else family.control, "uneven": family.uneven}
        rows.append({**row, "wrong": wrong, "of": count, "p < .05": below})
    return _shares(rows, "wrong", "false gain or loss")


def power(pool, datasets):
    """Five of ten methods help the worst group: how many of them are found, and how often another is."""
    rows = []
    for grid, found in pool.map(_family_rows, [(g, datasets, 0) for g in POWER]):
        row = {"seeds": grid.seeds, "seeds move": grid.moves, "gain": max(grid.gains)}
        rows.append({**row, "found": found["shown"], "of": found["of"], "false": found["primary"] / found["of"]})
    return _shares(rows, "found", "found")


def made(pool, thorough):
    """Name, title and function of every table."""
    many, some = (4000, 400) if thorough else (1000, 100)
    return {
        "cells": ("Accuracy of groups, one run", lambda: _shares(cells(many))),
        "strata": ("Accuracy of strata and subjects, one run", lambda: _shares(strata(many))),
        "extremes": ("Worst groups, best groups and gaps, one run", lambda: _shares(extremes(many // 2))),
        "levels": ("Two methods", lambda: levels(pool, some)),
        "grids": ("Methods that are all alike", lambda: grids(pool, some)),
        "families": ("Methods that are all alike, by sufficient statistics", lambda: families_of(pool, 2 * many // 4)),
        "power": ("Five of ten methods help the worst group", lambda: power(pool, some // 2)),
        "audits": ("Small audits", lambda: pd.DataFrame([small_audits(10_000 if thorough else 1000)])),
    }


def main(_):
    context = multiprocessing.get_context("spawn")
    with concurrent.futures.ProcessPoolExecutor(_PROCESSES.value, context) as pool:
        tables = made(pool, _THOROUGH.value)
        for name in _TABLES.value or tables:
            title, make = tables[name]
            text = make().to_string(index=False, float_format="{:.3f}".format)
            print(f"{title}\n{text}\n", flush=True)


if __name__ == "__main__":
    app.run(main)
