"""Metrics against scikit-learn, fairlearn, and obvious versions."""

import numpy as np
import pandas as pd
import pytest

from frown_jax import schema
from frown_jax.metrics import fairness, results_table
from frown_jax.metrics.catalogue import METRICS
from frown_jax.metrics.frame import GroupFrame
from frown_jax.metrics.outcomes import Outcomes
from frown_jax.metrics.plan import Plan, grouping, groupings

sk = pytest.importorskip("sklearn.metrics")


def _random(n=400, k=7, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    # Rounded: ties.
    probabilities = rng.dirichlet(np.ones(k), n).round(2) + np.eye(k)[labels] * 0.2 + 0.001
    return labels, probabilities / probabilities.sum(1, keepdims=True)


def _values(outcomes, by=None, metrics=None):
    """{(metric, group, target): value} on one grouping."""
    plan = Plan.of(outcomes, [grouping(outcomes, by or (), "all")], metrics)
    rows = plan.rows[["metric", "group", "target"]].itertuples(index=False, name=None)
    return dict(zip(rows, plan.values(plan.tallies(outcomes))[0], strict=True))


def _ece(labels, probabilities, predicted):
    confidence = probabilities[np.arange(len(labels)), predicted]
    total = 0.0
    for b in range(15):
        chosen = (confidence > b / 15) & (confidence <= (b + 1) / 15)
        if chosen.any():
            total += abs((predicted == labels)[chosen].mean() - confidence[chosen].mean()) * chosen.mean()
    return total


def test_performance_matches_scikit_learn():
    labels, p = _random()
    predicted = p.argmax(1)
    found = _values(Outcomes.of(labels, None, p))
    onehot = np.eye(7)[labels]
    expected = {
        "accuracy": sk.accuracy_score(labels, predicted),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, predicted),
        "macro_f1": sk.f1_score(labels, predicted, average="macro"),
        "weighted_f1": sk.f1_score(labels, predicted, average="weighted"),
        "macro_precision": sk.precision_score(labels, predicted, average="macro"),
        "macro_recall": sk.recall_score(labels, predicted, average="macro"),
        "worst_class_recall": sk.recall_score(labels, predicted, average=None).min(),
        "auroc": sk.roc_auc_score(labels, p, multi_class="ovr"),
        "log_loss": sk.log_loss(labels, p),
        "brier": ((p - onehot) ** 2).sum(1).mean(),
        "ece": _ece(labels, p, predicted),
    }
    for name, value in expected.items():
        assert found[name, "", ""] == pytest.approx(value, abs=1e-9), name
    per_class = {
        "recall": sk.recall_score(labels, predicted, average=None),
        "precision": sk.precision_score(labels, predicted, average=None),
        "f1": sk.f1_score(labels, predicted, average=None),
        "selection_rate": np.bincount(predicted, minlength=7) / 400,
        "target_auroc": [sk.roc_auc_score(labels == k, p[:, k]) for k in range(7)],
    }
    for name, values in per_class.items():
        for k in range(7):
            assert found[name, "", str(k)] == pytest.approx(values[k], abs=1e-9), (name, k)


def test_performance_of_groups_is_that_of_their_images():
    labels, p = _random(500)
    groups = np.random.default_rng(1).integers(0, 3, 500)
    found = _values(Outcomes.of(labels, None, p, {"g": groups}), ("g",))
    for g in range(3):
        part = _values(Outcomes.of(labels[groups == g], None, p[groups == g], targets=range(7)))
        for (metric, _, target), value in part.items():
            if not METRICS[metric].of_attribute:
                assert found[metric, str(g), target] == pytest.approx(value, abs=1e-9, nan_ok=True), metric


def test_multilabel_matches_scikit_learn_with_missing_labels_masked():
    rng = np.random.default_rng(0)
    truth = (rng.random((300, 4)) < [0.5, 0.3, 0.1, 0.02]).astype(float)
    p = np.clip(truth * 0.3 + rng.random((300, 4)) * 0.7, 0, 1).round(2)
    truth[rng.random((300, 4)) < 0.2] = np.nan
    predicted = (p >= 0.5).astype(int)
    found = _values(Outcomes.of(truth, None, p, targets=["AU1", "AU2", "AU4", "AU9"]))
    support, f1s = [], []
    for k, name in enumerate(("AU1", "AU2", "AU4", "AU9")):
        known = ~np.isnan(truth[:, k])
        y, yhat, score = truth[known, k].astype(int), predicted[known, k], p[known, k]
        support.append(y.sum())
        f1s.append(sk.f1_score(y, yhat))
        expected = {
            "f1": f1s[-1],
            "recall": sk.recall_score(y, yhat),
            "precision": sk.precision_score(y, yhat),
            "target_auroc": sk.roc_auc_score(y, score),
            "false_positive_rate": yhat[y == 0].mean(),
        }
        for metric, value in expected.items():
            assert found[metric, "", name] == pytest.approx(value, abs=1e-9), metric
    assert found["macro_f1", "", ""] == pytest.approx(np.mean(f1s))
    assert found["weighted_f1", "", ""] == pytest.approx(np.average(f1s, weights=support))
    known = ~np.isnan(truth)
    assert found["accuracy", "", ""] == pytest.approx(
        np.mean([(truth == predicted)[known[:, k], k].mean() for k in range(4)])
    )
    of_truth = np.where(truth == 1, p, 1 - p)[known]
    assert found["log_loss", "", ""] == pytest.approx(-np.log(np.clip(of_truth, 1e-12, 1)).mean())
    assert found["brier", "", ""] == pytest.approx(((1 - of_truth) ** 2).mean())


@pytest.mark.parametrize("k", [2, 4])
@pytest.mark.parametrize("groups", [2, 3])
def test_fairness_matches_fairlearn_one_class_against_the_rest(k, groups):
    fl = pytest.importorskip("fairlearn.metrics")
    for seed in range(3):
        labels, p = _random(300, k, seed)
        predicted = p.argmax(1)
        group = np.random.default_rng(seed + 100).integers(0, groups, 300)
        found = _values(Outcomes.of(labels, None, p, {"g": group}), ("g",))
        for t in range(k):
            args = {"y_true": labels == t, "y_pred": predicted == t, "sensitive_features": group}
            expected = {
                "demographic_parity_difference": fl.demographic_parity_difference(**args),
                "demographic_parity_ratio": fl.demographic_parity_ratio(**args),
                "equal_opportunity_difference": fl.equal_opportunity_difference(**args),
                "equal_opportunity_ratio": fl.equal_opportunity_ratio(**args),
                "equalized_odds_difference": fl.equalized_odds_difference(**args),
                "equalized_odds_ratio": fl.equalized_odds_ratio(**args),
                "average_odds_difference": fl.equalized_odds_difference(**args, agg="mean"),
            }
            for name, value in expected.items():
                assert found[name, "", str(t)] == pytest.approx(value, abs=1e-9), name
        # The lifts to one number.
        each = [found["equal_opportunity_difference", "", str(t)] for t in range(k)]
        assert found["equal_opportunity_difference_max", "", ""] == pytest.approx(max(each))
        assert found["equal_opportunity_difference_mean", "", ""] == pytest.approx(np.mean(each))
        ratios = [found["demographic_parity_ratio", "", str(t)] for t in range(k)]
        assert found["demographic_parity_ratio_min", "", ""] == pytest.approx(min(ratios))
        assert found["statistical_parity_gap", "", ""] == found["demographic_parity_difference_max", "", ""]


def test_group_frame_matches_metric_frame():
    fl = pytest.importorskip("fairlearn.metrics")
    labels, p = _random(300, 3)
    predicted = p.argmax(1)
    rng = np.random.default_rng(2)
    attributes = {"race": np.array(["a", "b", "c"])[rng.integers(0, 3, 300)], "sex": rng.integers(0, 2, 300)}
    ours = GroupFrame.of(labels, predicted, attributes=attributes, metrics=["accuracy", "macro_f1"])
    theirs = fl.MetricFrame(
        metrics={
            "accuracy": sk.accuracy_score,
            "macro_f1": lambda t, q: sk.f1_score(t, q, average="macro", labels=[0, 1, 2]),
            "n": fl.count,
        },
        y_true=labels,
        y_pred=predicted,
        sensitive_features=pd.DataFrame(attributes),
    )
    names = ["accuracy", "macro_f1"]
    pairs = [
        (ours.overall, theirs.overall[names]),
        (ours.by_group.to_numpy(), theirs.by_group[names].to_numpy()),
        (ours.group_min(), theirs.group_min()[names]),
        (ours.group_max(), theirs.group_max()[names]),
        (ours.difference(), theirs.difference()[names]),
        (ours.difference("to_overall"), theirs.difference(method="to_overall")[names]),
        (ours.ratio(), theirs.ratio()[names]),
        (ours.ratio("to_overall"), theirs.ratio(method="to_overall")[names]),
        (ours.n["accuracy"].to_numpy(), theirs.by_group["n"].to_numpy()),
    ]
    for mine, their in pairs:
        np.testing.assert_allclose(np.asarray(mine, float), np.asarray(their, float), atol=1e-9)
    assert ours.by_group.index.names == ["race", "sex"]
    with pytest.raises(ValueError, match="between_groups, to_overall"):
        ours.difference("sideways")
    with pytest.raises(ValueError, match="compares groups"):
        GroupFrame.of(labels, predicted, attributes=attributes, metrics=["statistical_parity_gap"])


def test_frame_of_many_runs_is_the_frames_of_each():
    labels, _ = _random(200, 3)
    rng = np.random.default_rng(0)
    predictions = rng.integers(0, 3, (4, 200))
    runs = pd.DataFrame({"method": ["a", "a", "b", "b"], "seed": [0, 1, 0, 1]})
    attributes = {"g": rng.integers(0, 2, 200)}
    metrics = ["accuracy", "recall"]
    all_runs = GroupFrame.of(labels, predictions, attributes=attributes, metrics=metrics, runs=runs)
    for i, key in enumerate([("a", 0), ("a", 1), ("b", 0), ("b", 1)]):
        one = GroupFrame.of(labels, predictions[i], attributes=attributes, metrics=metrics)
        pd.testing.assert_frame_equal(all_runs.by_group.loc[key], one.by_group)
        pd.testing.assert_series_equal(all_runs.difference().loc[key], one.difference(), check_names=False)
    assert list(all_runs.intervals.columns[:2]) == ["method", "seed"]


def test_the_studies_fairness_by_hand():
    # Group 0: class 0 recall 1/2, class 1 recall 1. Group 1: recalls 1 and 1/4.
    labels = np.array([0, 0, 1, 1, 0, 1, 1, 1, 1])
    predicted = np.array([0, 1, 1, 1, 0, 1, 0, 0, 0])
    groups = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1])
    found = _values(Outcomes.of(labels, predicted, attributes={"g": groups}), ("g",))
    assert found["generalized_equal_opportunity", "", ""] == pytest.approx(1.25 / 1.5)
    # P(predict 1): group 0 3/4, group 1 1/5.
    assert found["statistical_parity_gap", "", ""] == pytest.approx(0.55)
    assert found["worst_group_recall", "", ""] == pytest.approx(0.25)
    assert found["worst_group_accuracy", "", ""] == pytest.approx(0.4)
    assert found["best_group_accuracy", "", ""] == pytest.approx(0.75)
    assert found["accuracy_difference", "", ""] == pytest.approx(0.35)
    assert found["adjusted_accuracy", "", ""] == pytest.approx(0.575)
    assert found["accuracy_ratio", "", ""] == pytest.approx(0.4 / 0.75)
    # A class that one group lacks is left out of both sums.
    dropped = np.where(np.arange(9) < 2, None, groups)
    found = _values(Outcomes.of(labels, predicted, attributes={"g": dropped}), ("g",))
    assert found["generalized_equal_opportunity", "", ""] == pytest.approx(0.25)


def test_undefined_is_nan_with_n_0_and_a_name():
    labels = np.array([0, 0, 1, 1, 0])
    groups = ["a", "a", "a", "a", "b"]
    outcomes = Outcomes.of(labels, labels, attributes={"g": groups}, targets=(0, 1, 2))
    wide = Outcomes(**{**vars(outcomes), "attributes": {"g": _with_empty(outcomes)}})
    out = results_table.values(wide).set_index(["metric", "attribute", "group", "target"])
    row = out.loc["accuracy", "g", "c", ""]
    assert np.isnan(row["value"])
    assert (row["n"], row["note"]) == (0, "empty_group")
    row = out.loc["recall", "g", "b", "1"]
    assert np.isnan(row["value"])
    assert (row["n"], row["note"]) == (0, "absent_class")
    assert np.isnan(out.loc[("recall", "", "", "2"), "value"])
    assert out.loc[("accuracy", "g", "b", ""), "note"] == "tiny_group"
    assert out.loc[("balanced_accuracy", "g", "b", ""), "note"] == "tiny_group;absent_class"
    assert "empty_group" in out.loc[("accuracy_difference", "g", "", ""), "note"]
    # One group has class 1: nothing to compare.
    assert np.isnan(out.loc[("equal_opportunity_difference", "g", "", "1"), "value"])
    single = Outcomes.of(labels, labels, attributes={"g": ["a"] * 5})
    out = results_table.values(single).set_index(["metric", "attribute", "group", "target"])
    assert np.isnan(out.loc[("accuracy_difference", "g", "", ""), "value"])
    assert "single_group" in out.loc[("accuracy_difference", "g", "", ""), "note"]


def _with_empty(outcomes):
    a = outcomes.attributes["g"]
    return type(a)(a.codes, (*a.vocabulary, "c"))


def test_ratio_to_overall_and_lifts_ignore_undefined():
    values = np.array([[0.5, np.nan, 1.0]])
    assert fairness.difference(values)[0] == 0.5
    assert fairness.min_max_ratio(values)[0] == 0.5
    assert np.isnan(fairness.difference(np.array([[np.nan, 0.3]]))[0])
    assert fairness.ratio_to_overall(values, np.array([0.8]))[0] == pytest.approx(0.625)


# The results table


def _predictions(n=300, seed=0):
    labels, probabilities = _random(n, seed=seed)
    rng = np.random.default_rng(9)
    names = np.array(schema.EMOTIONS)
    frame = pd.DataFrame(
        {
            "member": 0,
            "method": "m",
            "seed": seed,
            "split": "test",
            "id": np.arange(n).astype(str),
            "emotion": names[labels],
            "prediction": names[probabilities.argmax(1)],
            **{f"p_{c}": probabilities[:, k] for k, c in enumerate(schema.EMOTIONS)},
            **{a: np.array(v)[rng.integers(0, len(v), n)] for a, v in schema.ATTRIBUTES.items()},
        }
    )
    frame.loc[0, "race"] = None
    return frame


def test_results_agree_with_pandas_group_by():
    frame = _predictions()
    out = results_table.results(frame, schema.ATTRIBUTES)
    assert tuple(out.columns) == results_table.COLUMNS
    correct = frame["emotion"] == frame["prediction"]
    by = out[out["metric"] == "accuracy"].set_index(["attribute", "group"])
    assert by.loc[("", ""), "n"] == 300
    for keys in (["race"], ["gender", "age"], ["race", "gender", "age"]):
        expected = correct.groupby([frame[k] for k in keys]).agg(["mean", "size"])
        for group, row in expected.iterrows():
            name = group if isinstance(group, str) else " x ".join(group)
            found = by.loc[(" x ".join(keys), name)]
            assert found["n"] == row["size"]
            assert found["value"] == pytest.approx(row["mean"])
    # A person of unknown race is in no race group, yet in the total.
    assert by.loc["race"]["n"].sum() == 299
    cells = by.loc["race x gender x age"]
    assert len(cells) == 45
    assert cells[cells["n"] == 0]["value"].isna().all()


def test_cells_sum_to_marginals():
    rng = np.random.default_rng(0)
    attributes = {a: np.array(v)[rng.integers(0, len(v), 500)] for a, v in schema.ATTRIBUTES.items()}
    outcomes = Outcomes.of(rng.integers(0, 7, 500), rng.integers(0, 7, 500), attributes=attributes)
    plan = Plan.of(outcomes, groupings(outcomes), ["accuracy"])
    everybody, *of_attributes, _, _, _, cells = plan.tallies(outcomes)
    shape = [len(v) for v in schema.ATTRIBUTES.values()]
    for field in ("positive", "predicted", "hit"):
        cube = getattr(cells, field)[0].reshape(*shape, 7)
        np.testing.assert_array_equal(cube.sum((0, 1, 2)), getattr(everybody, field)[0, 0])
        for axis, tally in enumerate(of_attributes):
            others = tuple(i for i in range(3) if i != axis)
            np.testing.assert_array_equal(cube.sum(others), getattr(tally, field)[0])


def test_the_studies_filters_apply_to_the_scored_attribute_only():
    frame = _predictions()
    out = results_table.results(frame, schema.ATTRIBUTES)
    scored = out[out["metric"] == "statistical_parity_gap"].set_index("attribute")["n"]
    assert scored["gender"] == (frame["gender"] != "Unsure").sum()
    assert scored["age"] == frame["age"].isin(["4-19", "20-39", "40-69"]).sum()
    assert scored["race"] == 299
    # By name, or by hand; and an attribute called gender with other groups compares all of them.
    outcomes = Outcomes.of(frame["emotion"], frame["prediction"], attributes={"gender": frame["gender"].str.upper()})
    assert grouping(outcomes, ("gender",), "studies").scored.all()
    assert grouping(outcomes, ("gender",), {"gender": ("MALE", "UNSURE")}).scored.sum() == 2
    with pytest.raises(ValueError, match="has no group 'Male'"):
        grouping(outcomes, ("gender",), {"gender": ("Male",)})


def test_spread_over_seeds():
    both = pd.concat([results_table.results(_predictions(seed=s), {}).assign(member=s) for s in (0, 1)])
    spread = results_table.over_seeds(both).set_index("metric").loc["accuracy"]
    values = both[both["metric"] == "accuracy"]["value"]
    assert spread["mean"] == pytest.approx(values.mean())
    assert spread["sd"] == pytest.approx(values.std(ddof=1))
    assert (spread["min"], spread["max"], spread["seeds"]) == (values.min(), values.max(), 2)
