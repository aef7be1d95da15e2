"""A multiverse: each analysis against the product's own plan of it, verdicts that hold, thresholds by hand."""

import numpy as np
import pandas as pd
import pytest

from frown_jax.errors import OutcomesError
from frown_jax.metrics import multiverse as mv
from frown_jax.metrics.outcomes import Outcomes
from frown_jax.metrics.plan import Plan, grouping

QUICK = mv.MultiverseSettings(fewest=(0, 30), resamples=50)


def _outcomes(seed=0, n=900, gain=0.25, seeds=4):
    """Three methods: `fair` lifts group c by `gain`, `same` is the control with other seeds."""
    rng = np.random.default_rng(seed)
    race = rng.choice(["a", "b", "c"], n, p=[0.6, 0.3, 0.1])
    truth, ease = rng.integers(0, 3, n), rng.random(n)
    runs, predictions = [], []
    for method in ("plain", "fair", "same"):
        for s in range(seeds):
            chance = np.where(race == "c", 0.4 + gain * (method == "fair"), 0.8)
            predictions.append(np.where(ease + rng.normal(0, 0.05, n) < chance, truth, (truth + 1) % 3))
            runs.append((method, s))
    frame = pd.DataFrame(runs, columns=["method", "seed"])
    return Outcomes.of(truth, np.stack(predictions), attributes={"race": race}, targets=range(3), runs=frame)


@pytest.fixture(scope="module")
def planted():
    test, validation = _outcomes(), _outcomes(1, 400)
    return test, validation, mv.multiverse(test, validation, QUICK)


def test_an_analysis_is_what_the_plan_says(planted):
    test, _, table = planted
    names = {
        ("worst group", "accuracy"): "worst_group_accuracy",
        ("gap", "accuracy"): "accuracy_difference",
        ("gap", "largest gap in recall"): "equal_opportunity_difference_max",
        ("gap", "equalized odds"): "equalized_odds_difference_mean",
    }
    plan = Plan.of(test, [grouping(test, ("race",), "all")], list(names.values()))
    values = plan.values(plan.tallies(test))
    for (claim, measure), metric in names.items():
        row = table[(table["method"] == "fair") & (table["claim"] == claim) & (table["measure"] == measure)]
        column = int(np.flatnonzero((plan.rows["metric"] == metric) & (plan.rows["target"] == ""))[0])
        sign = 1 if claim == "worst group" else -1
        for seeds, part in (("all", slice(None)), ("first half", slice(0, 2)), ("second half", slice(2, 4))):
            got = row[(row["seeds"] == seeds) & (row["groups"] == "all groups")]["difference"]
            ours, theirs = values[4:8][part, column].mean(), values[:4][part, column].mean()
            assert got.tolist() == [pytest.approx(sign * (ours - theirs))]


def test_a_planted_gain_survives_and_none_is_invented(planted):
    _, _, table = planted
    of = mv.survival(table).set_index(["method", "claim"])
    assert of.loc[("fair", "worst group"), "gain"] > 0.8 and of.loc[("fair", "gap"), "gain"] > 0.5
    assert of.loc[("same", "worst group"), "gain"] < 0.2 and of.loc[("same", "gap"), "gain"] < 0.2
    shares = of[["gain", "loss", "practically_equal", "cannot_tell"]].sum(axis=1)
    np.testing.assert_allclose(shares, 1)
    assert set(table["seeds"]) == {
        "all", "first half", "second half", "best on validation by accuracy", "best on validation by worst group"
    }  # fmt: skip
    assert (of["lowest"] <= of["median"]).all() and (of["median"] <= of["highest"]).all()


def test_equal_methods_are_rarely_told_apart():
    """Twenty data sets of two equal methods, all seeds, all groups: gains and losses in about 5 %."""
    told = []
    for i in range(20):
        data = _outcomes(10 + i, n=200, seeds=3)
        chosen = (data.runs["method"] != "fair").to_numpy()
        table = mv.multiverse(data.select(chosen), settings=mv.MultiverseSettings(fewest=(0,), resamples=40))
        own = table[(table["seeds"] == "all") & (table["measure"] == "accuracy")]
        told.append(own["verdict"].isin(("gain", "loss")).mean())
    assert np.mean(told) < 0.11


def test_the_best_seed_is_the_one_of_validation(planted):
    test, validation, table = planted
    right = (validation.predictions == validation.labels).mean(1).reshape(3, 4)
    best = right.argmax(1) + np.array([0, 4, 8])
    accuracy = (test.predictions == test.labels).mean(1)
    row = table[
        (table["method"] == "fair")
        & (table["claim"] == "everybody")
        & (table["measure"] == "accuracy")
        & (table["seeds"] == "best on validation by accuracy")
    ]
    assert row["difference"].tolist() == [pytest.approx(accuracy[best[1]] - accuracy[best[0]])]


def test_few_people_tell_nothing():
    """Five images of a group, all of which one method gets right and the other wrong, are no gain."""
    truth = np.zeros(60, int)
    other = np.r_[np.zeros(55, int), np.ones(5, int)]
    race = np.r_[np.repeat("a", 55), np.repeat("b", 5)]
    runs = pd.DataFrame({"method": ["plain", "fair"], "seed": 0})
    data = Outcomes.of(truth, [other, truth], attributes={"race": race}, targets=range(2), runs=runs)
    table = mv.multiverse(data, settings=QUICK)
    assert table["difference"].max() == 1
    assert not table["verdict"].isin(("gain", "loss")).any()


def test_several_controls_are_several_analyses():
    table = mv.multiverse(_outcomes(n=200), settings=mv.MultiverseSettings(("plain", "same"), (0,), resamples=10))
    assert set(table[table["method"] == "fair"]["control"]) == {"plain", "same"}
    assert set(table[table["method"] == "same"]["control"]) == {"plain"}
    with pytest.raises(OutcomesError, match="no method 'other'"):
        mv.multiverse(_outcomes(n=50), settings=mv.MultiverseSettings(("other",)))


def test_frames_of_one_person_are_drawn_together():
    rng = np.random.default_rng(3)
    n, frames = 40, 10
    truth = np.zeros(n * frames, int)
    predictions = (rng.random((2, n)) < 0.5).astype(int).repeat(frames, 1)
    runs = pd.DataFrame({"method": ["a", "b"], "seed": 0})
    widths = []
    for subjects in (np.arange(n).repeat(frames), None):
        data = Outcomes.of(truth, predictions, targets=range(2), runs=runs, subjects=subjects)
        row = mv.multiverse(data, settings=mv.MultiverseSettings(resamples=200)).iloc[0]
        widths.append(row["upper"] - row["lower"])
    assert widths[0] / widths[1] == pytest.approx(np.sqrt(frames), rel=0.2)


def test_thresholds_are_chosen_on_validation():
    rng = np.random.default_rng(4)
    labels = (rng.random((300, 2)) < 0.3).astype(int)
    labels[:20, 0] = -1
    p = np.clip(0.3 * labels + rng.random((4, 300, 2)) * 0.4, 0, 1)
    runs = pd.DataFrame({"method": ["a", "a", "b", "b"], "seed": [0, 1, 0, 1]})
    both = [Outcomes.of(labels[s], None, p[:, s], {"sex": np.tile(["f", "m"], 150)[s]}, runs=runs)
            for s in (slice(0, 150), slice(150, 300))]  # fmt: skip
    table = mv.multiverse(both[0], both[1], mv.MultiverseSettings(fewest=(0,), resamples=10))
    assert set(table["threshold"]) == {"as stored", "0.5", "best F1 on validation", "as many as in validation"}
    row = table[(table["claim"] == "everybody") & (table["measure"] == "macro F1") & (table["seeds"] == "all")]

    def f1(truth, score, cut):
        known = truth >= 0
        hit = ((score >= cut) & (truth == 1))[known].sum()
        return 2 * hit / ((score >= cut)[known].sum() + (truth == 1).sum())

    values = []
    for r in range(4):
        of_labels = []
        for t in range(2):
            known = both[1].labels[:, t] >= 0
            cuts = np.unique(p[r, 150:, t][known])
            cut = cuts[np.argmax([f1(both[1].labels[:, t], p[r, 150:, t], c) for c in cuts])]
            of_labels.append(f1(both[0].labels[:, t], p[r, :150, t], cut))
        values.append(np.mean(of_labels))
    got = row[row["threshold"] == "best F1 on validation"]["difference"]
    assert got.tolist() == [pytest.approx(np.mean(values[2:]) - np.mean(values[:2]))]
