"""Do 95 % intervals hold the truth 95 % of the time, and do tests of no difference find one 5 % of the time?

python -m benchmarks.coverage                 the tables of docs/statistics.md, about 10 minutes on 2 cores
python -m benchmarks.coverage --datasets=500

Simulated answers with known accuracies go through the same code as real ones. The Monte Carlo error of a coverage of
0.95 over 2,000 data sets is 0.005 (one standard deviation).
"""

import functools

import numpy as np
import pandas as pd
from absl import app, flags

from frown_jax.metrics import bootstrap, comparison
from frown_jax.metrics.bootstrap import Bootstrap
from frown_jax.metrics.outcomes import Outcomes
from frown_jax.metrics.plan import Plan, groupings

_DATASETS = flags.DEFINE_integer("datasets", 2000, "Simulated data sets per row.")
_RESAMPLES = flags.DEFINE_integer("resamples", 1000, "Of each bootstrap.")
SIZES = (20, 100, 1000)
CLASSES = 2


def _answers(rng, truth, accuracy, runs):
    """Answers that are right with a probability per image."""
    right = rng.random((runs, len(truth))) < accuracy
    return np.where(right, truth, 1 - truth)


def outcomes(rng, sizes, accuracies, datasets):
    """Each run is one simulated data set: the labels stay, who is right is drawn anew."""
    group = np.repeat(np.arange(len(sizes)), sizes)
    truth = rng.permutation(np.arange(len(group)) % CLASSES)
    predictions = _answers(rng, truth, np.asarray(accuracies)[group], datasets)
    names = np.array([f"n{n}-{i}" for i, n in enumerate(sizes)], object)
    return Outcomes.of(truth, predictions, attributes={"cell": names[group]}, targets=range(CLASSES)), names


def cells(datasets, kind="percentile", accuracies=(0.6, 0.8, 0.9), resamples=1000, seed=0):
    """Coverage of the accuracy of cells of 20, 100 and 1,000 images."""
    rows = []
    for accuracy in accuracies:
        data, names = outcomes(np.random.default_rng(seed), SIZES, [accuracy] * len(SIZES), datasets)
        plan = Plan.of(data, groupings(data), ["accuracy"])
        found = bootstrap.estimates(data, plan, Bootstrap(resamples, kind=kind))
        inside = (found.lower <= accuracy) & (accuracy <= found.upper)
        for name, n in zip(names, SIZES, strict=True):
            at = int(np.flatnonzero(plan.rows["group"] == name)[0])
            rows.append(
                {
                    "n": n,
                    "accuracy": accuracy,
                    "interval": found.kind[0, at],
                    "coverage": float(inside[:, at].mean()),
                    "width": float((found.upper - found.lower)[:, at].mean()),
                }
            )
    return pd.DataFrame(rows)


def gaps(datasets, kind="percentile", resamples=1000, seed=0):
    """Coverage of the largest difference between groups, which is never negative and so overestimated when small."""
    rows = []
    for sizes, accuracies in (
        ((500, 500), (0.9, 0.7)),
        ((500, 500), (0.82, 0.8)),
        ((500, 500), (0.8, 0.8)),
        ((800, 100, 200), (0.9, 0.7, 0.85)),
        ((800, 100, 200), (0.82, 0.8, 0.81)),
    ):
        data, _ = outcomes(np.random.default_rng(seed), sizes, accuracies, datasets)
        plan = Plan.of(data, groupings(data), ["accuracy", "accuracy_difference", "worst_group_accuracy"])
        found = bootstrap.estimates(data, plan, Bootstrap(resamples, kind=kind))
        truths = {"accuracy_difference": max(accuracies) - min(accuracies), "worst_group_accuracy": min(accuracies)}
        for name, truth in truths.items():
            at = int(np.flatnonzero(plan.rows["metric"] == name)[0])
            inside = (found.lower[:, at] - 1e-9 <= truth) & (truth <= found.upper[:, at] + 1e-9)
            rows.append(
                {
                    "metric": name,
                    "sizes": sizes,
                    "accuracies": accuracies,
                    "truth": truth,
                    "mean_estimate": float(found.mean[:, at].mean()),
                    "coverage": float(inside.mean()),
                }
            )
    return pd.DataFrame(rows)


def _pair(rng, group, seeds, spread):
    """Two methods of one kind: images have a difficulty that both share, and every training seed moves all of it.

    Groups move apart from seed to seed, as training does: `spread` is the standard deviation, in units of difficulty.
    """
    n, groups = len(group), int(group.max()) + 1
    ease = rng.normal(1.0, 1.0, n)
    shift = rng.normal(0, spread, (2, seeds, 1)) + rng.normal(0, spread, (2, seeds, groups))[..., group]
    return (ease + shift + rng.normal(0, 0.7, (2, seeds, n)) > 0).reshape(2 * seeds, n)


def level(datasets, seeds, spread=0.1, sizes=(700, 200, 100), resamples=500, permutations=0):
    """How often tests of two equal methods reject at 5 %, and how often intervals of the difference hold 0."""
    group = np.repeat(np.arange(len(sizes)), sizes)
    truth = np.arange(len(group)) % CLASSES
    runs = pd.DataFrame({"method": np.repeat(["a", "b"], seeds), "seed": np.tile(np.arange(seeds), 2)})
    names = ["accuracy", "macro_f1", "worst_group_accuracy", "accuracy_difference", "generalized_equal_opportunity"]
    found = []
    for i in range(datasets):
        right = _pair(np.random.default_rng(i), group, seeds, spread)
        data = Outcomes.of(truth, np.where(right, truth, 1 - truth), attributes={"g": group}, runs=runs)
        plan = Plan.of(data, groupings(data), names)
        settings = comparison.Settings(Bootstrap(resamples, seed=i), permutations)
        table = comparison.compare(data, plan, "a", settings)
        table = table[(table["group"] == "") | (table["group"] == "2")]
        table["holds"] = (table["lower"] <= 0) & (table["upper"] >= 0)
        found.append(table)
    found = pd.concat(found)
    found["value of"] = found["metric"] + np.where(found["group"] == "2", ", n=100", "")
    tests = {"p_bootstrap": "bootstrap", "p_permutation": "permutation", "p_seeds": "sign flips over seeds"}
    rejected = found[list(tests)].lt(0.05).where(found[list(tests)].notna())
    out = rejected.rename(columns=tests).assign(**{"interval holds 0": found["holds"]})
    return out.astype(float).groupby(found["value of"], sort=False).mean().assign(seeds=seeds).reset_index()


def report(datasets, resamples):
    """Everything as text tables."""
    wide = functools.partial(pd.DataFrame.to_string, index=False, float_format="{:.3f}".format)
    for kind in ("percentile", "bca"):
        yield f"Coverage of cells, {kind}", wide(cells(datasets, kind, resamples=resamples))
        yield f"Coverage of gaps and worst groups, {kind}", wide(gaps(datasets, kind, resamples))
    few = max(datasets // 4, 1)
    for seeds, spread, permutations in ((1, 0.0, 499), (1, 0.1, 499), (4, 0.1, 0), (16, 0.1, 0)):
        title = f"Level, {seeds} seeds that differ by {spread:g}, {few} data sets"
        yield title, wide(level(few, seeds, spread, permutations=permutations))


def main(_):
    for title, table in report(_DATASETS.value, _RESAMPLES.value):
        print(f"{title}\n{table}\n", flush=True)


if __name__ == "__main__":
    app.run(main)
