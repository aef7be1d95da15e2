"""Methods against a control."""

import numpy as np
import pandas as pd
import pytest

from frown_jax.metrics import comparison, levelling, resample
from frown_jax.metrics.bootstrap import Bootstrap
from frown_jax.metrics.outcomes import Outcomes
from frown_jax.metrics.permutation import permutation
from frown_jax.metrics.plan import Plan, grouping, groupings


def _methods(accuracies, seeds=6, n=400, seed=0):
    """{method: (accuracy in group 0, in group 1)}; images of one difficulty for all."""
    rng = np.random.default_rng(seed)
    labels, group, ease = rng.integers(0, 3, n), rng.integers(0, 2, n), rng.random(n)
    rows, predictions = [], []
    for method, wanted in accuracies.items():
        for s in range(seeds):
            noisy = np.clip(ease + rng.normal(0, 0.05, n), 0, 1)
            predictions.append(np.where(noisy < np.array(wanted)[group], labels, (labels + 1) % 3))
            rows.append((method, s))
    runs = pd.DataFrame(rows, columns=["method", "seed"])
    return Outcomes.of(labels, np.array(predictions), attributes={"g": group}, runs=runs)


METRICS = ("accuracy", "worst_group_accuracy", "best_group_accuracy", "midrange_accuracy", "accuracy_difference")


def _compare(outcomes, **more):
    plan = Plan.of(outcomes, groupings(outcomes), METRICS)
    return comparison.compare(outcomes, plan, "base", comparison.ComparisonSettings(Bootstrap(600), **more))


def test_gains_and_losses_are_told_from_noise():
    o = _methods({"base": (0.8, 0.6), "better": (0.9, 0.8), "worse": (0.6, 0.6), "same": (0.8, 0.6)}, n=2000)
    table = _compare(o, permutations=199)
    overall = table[(table["metric"] == "accuracy") & (table["attribute"] == "")].set_index("method")
    assert dict(overall["verdict"]) == {"better": "gain", "worse": "loss", "same": "practically equal"}
    assert overall.loc["better", "difference"] == pytest.approx(
        overall.loc["better", "value"] - overall.loc["better", "control"]
    )
    assert (overall["lower"] <= overall["difference"]).all()
    assert (overall["difference"] <= overall["upper"]).all()
    assert overall.loc["better", "p_permutation"] == pytest.approx(1 / 200)
    assert overall.loc["better", "p_seeds"] == pytest.approx(2 / 2**6)
    assert (table["p_corrected"].dropna() >= table["p_value"].dropna()).all()
    assert (table["seeds"] == 6).all()
    levels = levelling.levelling_down(table).set_index("method")
    assert levels.loc["worse", "reading"] == "levelled down"
    assert levels.loc["better", "reading"].startswith("levelled up")
    assert levels.loc["worse", "gap"] == pytest.approx(
        levels.loc["worse", "best"] - levels.loc["worse", "worst"], abs=0.02
    )


def test_permutation_against_all_arrangements():
    # Six images: all 64 arrangements can be gone through by hand.
    labels = np.zeros(6, int)
    a, b = np.array([0, 0, 0, 0, 0, 1]), np.array([1, 1, 1, 0, 1, 0])
    o = Outcomes.of(labels, np.stack([a, b]), targets=(0, 1), runs=pd.DataFrame({"method": ["a", "b"], "seed": [0, 0]}))
    plan = Plan.of(o, [grouping(o)], ["accuracy"])
    d = (a == 0).astype(int) - (b == 0).astype(int)
    flips = 1 - 2 * ((np.arange(64)[:, None] >> np.arange(6)) & 1)
    exact = (abs(flips @ d) >= abs(d.sum())).mean()
    p = permutation(o, plan, np.array([0]), np.array([1]), 4000, resample.units(o))
    assert p[0] == pytest.approx(exact, abs=0.02)


def test_permutation_swaps_probabilities_too():
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 80)
    p = rng.dirichlet(np.ones(3), (2, 80))
    p[0] += 0.3 * np.eye(3)[labels]
    p /= p.sum(-1, keepdims=True)
    o = Outcomes.of(labels, None, p, runs=pd.DataFrame({"method": ["a", "b"], "seed": [0, 0]}))
    plan = Plan.of(o, [grouping(o)], ["auroc", "log_loss", "ece"])
    found = permutation(o, plan, np.array([0]), np.array([1]), 300, resample.units(o), seed=3)
    swap = np.random.default_rng(3).random((80, 300)) < 0.5
    mine = plan.values(plan.tallies(o))
    seen, hits = abs(mine[0] - mine[1]), np.ones(3)
    for k in range(300):
        one = np.where(swap[:, k][None, :, None], p[::-1], p)
        values = Plan.of(o, [grouping(o)], ["auroc", "log_loss", "ece"])
        d = values.values(values.tallies(Outcomes.of(labels, None, one)))
        hits += abs(d[0] - d[1]) >= seen - 1e-6
    np.testing.assert_allclose(found, hits / 301, atol=0.011)


def test_one_run_each_has_no_tests_over_seeds_and_exact_detectable_differences():
    o = _methods({"base": (0.8, 0.6), "other": (0.85, 0.6)}, seeds=1, n=40)
    table = _compare(o)
    assert table["p_seeds"].isna().all()
    cell = table[(table["metric"] == "accuracy") & (table["group"] == "0")].iloc[0]
    assert cell["detectable"] > 3 / 40


def test_what_cannot_be_compared_is_said():
    o = _methods({"base": (0.8, 0.6)}, seeds=1)
    plan = Plan.of(o, groupings(o), METRICS)
    with pytest.raises(ValueError, match="only method"):
        comparison.compare(o, plan, "base")
    with pytest.raises(ValueError, match="there is no method 'control'"):
        comparison.compare(o, plan, "control")


def test_methods_are_compared_on_the_seeds_that_both_have():
    o = _methods({"base": (0.8, 0.6), "a": (0.8, 0.6), "b": (0.8, 0.6)}, seeds=3)
    kept = o.select(np.array([0, 1, 2, 3, 5, 6, 7, 8]))  # 'a' lacks seed 1
    table = _compare(kept)
    seeds = table.groupby("method")["seeds"].first()
    assert dict(seeds) == {"a": 2, "b": 3}
    plan = Plan.of(o, groupings(o), METRICS)
    values = plan.values(plan.tallies(o))[:, 0]
    row = table[(table["method"] == "a") & (table["metric"] == "accuracy") & (table["group"] == "")].iloc[0]
    assert row["control"] == pytest.approx(values[[0, 2]].mean())
    assert row["value"] == pytest.approx(values[[3, 5]].mean())
