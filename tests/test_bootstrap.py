"""Resampling: what is drawn, intervals against scipy, wide coverage of what is true."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from benchmarks import coverage
from frown_jax.metrics import bootstrap, resample
from frown_jax.metrics.bootstrap import Bootstrap
from frown_jax.metrics.frame import GroupFrame
from frown_jax.metrics.outcomes import Outcomes
from frown_jax.metrics.plan import Plan, groupings
from frown_jax.metrics.variance import Resampled


def _outcomes(n=300, runs=1, subjects=None, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, n)
    predictions = np.where(rng.random((runs, n)) < 0.7, labels, (labels + 1) % 3)
    attributes = {"sex": rng.integers(0, 2, n), "race": rng.integers(0, 3, n)}
    return Outcomes.of(labels, predictions, attributes=attributes, subjects=subjects)


def test_stratified_resamples_keep_every_cell():
    o = _outcomes()
    weights = np.asarray(resample.bootstrap_weights(resample.units(o), 50))
    assert weights.shape == (300, 50)
    cell = o.attributes["sex"].codes * 3 + o.attributes["race"].codes
    for b in range(50):
        np.testing.assert_allclose(np.bincount(cell, weights[:, b]), np.bincount(cell), rtol=1e-6)
    labels = np.asarray(resample.bootstrap_weights(resample.units(o, "cells and labels"), 20))
    key = cell * 3 + o.labels
    for b in range(20):
        np.testing.assert_allclose(np.bincount(key, labels[:, b]), np.bincount(key), rtol=1e-6)
    free = np.asarray(resample.bootstrap_weights(resample.units(o, "none"), 50))
    np.testing.assert_allclose(free.sum(0), 300, rtol=1e-6)
    assert len({tuple(np.bincount(cell, free[:, b])) for b in range(50)}) > 40


def test_multiplicities_are_binomial():
    o = Outcomes.of(np.zeros(40, int), np.zeros(40, int))
    times = np.asarray(resample.bootstrap_weights(resample.units(o), 4000)) * 39 / 40
    np.testing.assert_allclose(times, times.round(), atol=1e-5)
    seen = np.bincount(times.round().astype(int).ravel(), minlength=8)[:6] / times.size
    np.testing.assert_allclose(seen, stats.binom.pmf(np.arange(6), 39, 1 / 40), atol=0.004)


def test_subjects_are_drawn_whole():
    subjects = np.repeat(np.arange(30), 10)
    o = _outcomes(subjects=subjects)
    drawn = resample.units(o)
    assert drawn.count == 30
    weights = np.asarray(resample.bootstrap_weights(drawn, 20)).reshape(30, 10, 20)
    assert (weights == weights[:, :1]).all()
    np.testing.assert_allclose(weights[:, 0].sum(0), 30, rtol=1e-6)
    with pytest.raises(ValueError, match="name no subjects"):
        resample.units(_outcomes(), by_subject=True)


def test_frames_of_one_subject_do_not_count_as_independent():
    # Ten frames a subject, all right or all wrong: the interval must be that of 60 subjects, not of 600 images.
    rng = np.random.default_rng(0)
    right = np.repeat(rng.random(60) < 0.7, 10)
    labels = rng.integers(0, 2, 600)
    o = Outcomes.of(labels, np.where(right, labels, 1 - labels), subjects=np.repeat(np.arange(60), 10))
    plan = Plan.of(o, groupings(o), ["accuracy"])
    width = {}
    for by_subject in (True, False):
        found = bootstrap.estimates(o, plan, Bootstrap(2000, by_subject=by_subject))
        width[by_subject] = float((found.upper - found.lower)[0, 0])
    assert width[True] / width[False] == pytest.approx(np.sqrt(10), rel=0.15)


def test_the_mean_of_seeds_has_the_right_spread():
    # The variance of the mean of S values is estimated without bias; what images explain is not counted again.
    values = np.array([0.1, 0.5, 0.2, 0.9])[:, None]
    still = Resampled(np.zeros((10, 1)) + v for v in values)
    found = still.variances(values, np.array([np.inf]))
    assert found.of_seeds[0] == pytest.approx(values.var(ddof=1) / 4, rel=1e-9)
    assert found.images[0] == pytest.approx(0, abs=1e-12)
    noise = np.random.default_rng(0).normal(size=(4, 200_000, 1))
    alone = Resampled(values[s] + noise[s] for s in range(4)).variances(values, np.array([np.inf]))
    assert alone.both[0] == pytest.approx(1, rel=0.02)
    assert alone.images[0] == pytest.approx(1 / 4, rel=0.02)
    common = Resampled(values[s] + noise[0] for s in range(4)).variances(values, np.array([np.inf]))
    assert common.both[0] == pytest.approx(0, abs=1e-9)
    assert common.images[0] == pytest.approx(1, rel=0.02)


def test_percentile_and_bca_match_scipy():
    rng = np.random.default_rng(1)
    right = rng.random(120) < 0.85
    o = Outcomes.of(np.zeros(120, int), np.where(right, 0, 1), targets=(0, 1))
    plan = Plan.of(o, groupings(o), ["macro_precision", "accuracy"])
    for kind, method in (("percentile", "percentile"), ("bca", "bca")):
        ours = bootstrap.estimates(o, plan, Bootstrap(9999, kind=kind, stratify="none"))
        theirs = stats.bootstrap((right.astype(float),), np.mean, n_resamples=9999, method=method, rng=rng)
        at = list(plan.rows["metric"]).index("accuracy")
        interval = ours.lower[0, at], ours.upper[0, at]
        assert interval == pytest.approx(tuple(theirs.confidence_interval), abs=0.009)
        assert ours.kind[0, at] == kind


def test_bca_of_a_skewed_statistic_matches_scipy():
    values = np.random.default_rng(0).exponential(size=40)
    rng = np.random.default_rng(1)
    draws = values[rng.integers(0, 40, (20_000, 40))].var(1)[:, None]
    left_out = np.array([np.delete(values, i).var() for i in range(40)])[:, None]
    ours = bootstrap.bca(draws, np.array([values.var()]), left_out, 0.95)[:, 0]
    theirs = stats.bootstrap((values,), np.var, n_resamples=20_000, method="bca", rng=rng).confidence_interval
    assert tuple(ours) == pytest.approx(tuple(theirs), rel=0.03)


def test_quantiles_skip_undefined_values():
    values = np.array([[1.0, np.nan], [3.0, np.nan], [np.nan, np.nan], [2.0, np.nan]])
    found = bootstrap.quantiles(values, np.array([0, 0.5, 1]))
    np.testing.assert_allclose(found[:, 0], [1, 2, 3])
    assert np.isnan(found[:, 1]).all()


def test_small_cells_have_wilsons_interval_and_certain_ones_too():
    labels = np.zeros(160, int)
    predictions = labels.copy()
    predictions[:6] = 1
    groups = np.where(np.arange(160) < 18, "small", "sure")
    frame = GroupFrame.of(labels, predictions, attributes={"g": groups}, metrics=["accuracy"], targets=(0, 1))
    table = frame.intervals.set_index("group")
    assert table.loc["small", "interval"] == "wilson"
    assert (table.loc["small", "lower"], table.loc["small", "upper"]) == pytest.approx((0.4375, 0.8372), abs=1e-4)
    # All 142 right: resampling would give [1, 1].
    assert table.loc["sure", "interval"] == "wilson"
    assert 0.96 < table.loc["sure", "lower"] < 1
    assert table.loc["", "interval"] == "percentile"


def test_pairing_one_draw_serves_all_runs():
    o = _outcomes(runs=3)
    same = Outcomes.of(o.labels, np.stack([o.predictions[0]] * 3), attributes={"sex": o.attributes["sex"].codes})
    plan = Plan.of(same, groupings(same), ["accuracy", "macro_f1"])
    weights = resample.bootstrap_weights(resample.units(same), 100)
    values = np.concatenate([v for _, v in resample.replicates(same, plan, np.arange(3)[:, None], weights)])
    np.testing.assert_array_equal(values[0], values[1])
    np.testing.assert_array_equal(values[0], values[2])


def test_methods_with_missing_seeds_average_what_they_have():
    o = _outcomes(runs=3)
    runs = pd.DataFrame({"method": ["a", "a", "b"], "seed": [0, 1, 1]})
    methods, members = bootstrap.members_of(runs)
    assert methods == ["a", "b"]
    np.testing.assert_array_equal(members, [[0, 1], [-1, 2]])
    plan = Plan.of(o, groupings(o), ["accuracy"])
    found = bootstrap.estimates(o, plan, Bootstrap(200), members)
    values = plan.values(plan.tallies(o))
    np.testing.assert_allclose(found.mean, [values[:2].mean(0), values[2]])
    assert (found.lower <= found.mean).all()
    assert (found.mean <= found.upper).all()
    with pytest.raises(ValueError, match="seed 0 twice"):
        bootstrap.members_of(pd.DataFrame({"method": ["a", "a"], "seed": [0, 0]}))


def test_intervals_repeat_and_settings_are_checked():
    o = _outcomes()
    plan = Plan.of(o, groupings(o), ["accuracy"])
    a, b = (bootstrap.estimates(o, plan, Bootstrap(100, seed=5)) for _ in range(2))
    np.testing.assert_array_equal(a.lower, b.lower)
    for bad in ({"resamples": 1}, {"level": 1.0}, {"kind": "guess"}):
        with pytest.raises(ValueError, match=str(next(iter(bad)))):
            Bootstrap(**bad)
    with pytest.raises(ValueError, match="stratify='rows'"):
        resample.units(o, "rows")


def test_undefined_resamples_are_counted():
    # One positive image in the group: a third of the resamples lack it, and recall with it.
    labels = np.array([1] + [0] * 59)
    o = Outcomes.of(labels, labels, attributes={"g": [0] * 60})
    plan = Plan.of(o, groupings(o), ["recall"])
    found = bootstrap.estimates(o, plan, Bootstrap(2000))
    at = plan.rows.query("group == '0' and target == '1'").index[0]
    assert found.undefined[0, at] == pytest.approx((59 / 60) ** 60, abs=0.03)


@pytest.mark.slow  # 1 minute; the only test of intervals on thousands of data sets
def test_intervals_cover():
    table = pd.DataFrame(coverage.cells(1500))
    table["coverage"] = table["held"] / table["of"]
    # Wilson's interval itself is a little short for small groups that are nearly always right.
    assert table["coverage"].between(0.905, 0.995).all(), table
    assert table.query("accuracy < 0.9")["coverage"].between(0.915, 0.995).all(), table
    assert table["coverage"].mean() == pytest.approx(0.95, abs=0.01)
    # Gaps between groups: never too narrow, where plain quantiles hold a gap of 0 half of the time.
    gaps = pd.DataFrame(coverage.extremes(200)).query("metric == 'accuracy_difference'")
    assert ((gaps["held"] / gaps["of"]) > 0.9).all(), gaps


@pytest.mark.slow  # 1 minute; the only test of levels on hundreds of pairs of equal methods
@pytest.mark.parametrize(("seeds", "moves"), [(1, 0.0), (4, 0.03)])
def test_tests_hold_their_level(seeds, moves):
    datasets = 200
    found = pd.concat(coverage.level(coverage.Grid(seeds=seeds, moves=moves), datasets))
    share = found.groupby("value of")["rejects"].mean()
    assert (share < 0.05 + 2.5 * np.sqrt(0.05 * 0.95 / datasets)).all(), share
