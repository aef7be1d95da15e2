import numpy as np
import pandas as pd
import pytest

from frown_jax import schema
from frown_jax.metrics import classification, fairness, table


def _random(n=400, k=7, seed=0):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, k, n)
    probabilities = rng.dirichlet(np.ones(k), n) + np.eye(k)[labels] * 0.2
    return labels, probabilities / probabilities.sum(1, keepdims=True)


def test_performance_matches_scikit_learn():
    sk = pytest.importorskip("sklearn.metrics")
    labels, probabilities = _random()
    predicted = probabilities.argmax(1)
    matrix = classification.confusion(labels, predicted, 7)
    np.testing.assert_array_equal(matrix, sk.confusion_matrix(labels, predicted))
    expected = {
        "macro_f1": sk.f1_score(labels, predicted, average="macro"),
        "weighted_f1": sk.f1_score(labels, predicted, average="weighted"),
        "balanced_accuracy": sk.balanced_accuracy_score(labels, predicted),
    }
    for name, value in expected.items():
        assert getattr(classification, name)(matrix) == pytest.approx(value, rel=1e-9)
    assert classification.accuracy(labels, predicted) == pytest.approx(sk.accuracy_score(labels, predicted))
    assert classification.auroc(labels, probabilities) == pytest.approx(
        sk.roc_auc_score(labels, probabilities, multi_class="ovr")
    )
    assert classification.log_loss(labels, probabilities) == pytest.approx(sk.log_loss(labels, probabilities))


def test_undefined_is_nan_never_zero():
    empty = np.zeros(0, int)
    matrix = classification.confusion(empty, empty, 3)
    for value in (
        classification.accuracy(empty, empty),
        classification.macro_f1(matrix),
        classification.weighted_f1(matrix),
        classification.balanced_accuracy(matrix),
        classification.auroc(empty, np.zeros((0, 3))),
        classification.log_loss(empty, np.zeros((0, 3))),
        fairness.statistical_parity_gap(empty, empty, 3, 2),
        fairness.generalized_equal_opportunity(empty, empty, empty, 3, 2),
    ):
        assert np.isnan(value)


def test_fairness_by_hand():
    # Group 0: class 0 recall 1/2, class 1 recall 1. Group 1: recalls 1 and 1/4.
    labels = np.array([0, 0, 1, 1, 0, 1, 1, 1, 1])
    predicted = np.array([0, 1, 1, 1, 0, 1, 0, 0, 0])
    groups = np.array([0, 0, 0, 0, 1, 1, 1, 1, 1])
    assert fairness.generalized_equal_opportunity(labels, predicted, groups, 2, 2) == pytest.approx(1.25 / 1.5)
    # P(predict 1): group 0 3/4, group 1 1/5.
    assert fairness.statistical_parity_gap(predicted, groups, 2, 2) == pytest.approx(0.55)
    # Rows outside every group are not scored; a class that one group lacks is left out of both sums.
    dropped = np.where(np.arange(9) < 2, -1, groups)
    assert fairness.generalized_equal_opportunity(labels, predicted, dropped, 2, 2) == pytest.approx(0.25)


def test_fairness_is_invariant_to_relabelling_groups():
    labels, probabilities = _random()
    predicted, groups = probabilities.argmax(1), np.random.default_rng(1).integers(0, 3, 400)
    one = fairness.generalized_equal_opportunity(labels, predicted, groups, 7, 3)
    other = fairness.generalized_equal_opportunity(labels, predicted, (groups + 1) % 3, 7, 3)
    assert one == pytest.approx(other)
    assert 0 <= one <= 1


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
    out = table.results(frame, schema.ATTRIBUTES)
    assert tuple(out.columns) == table.COLUMNS
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


def test_the_studies_filters_apply_to_the_scored_attribute_only():
    frame = _predictions()
    out = table.results(frame, schema.ATTRIBUTES)
    scored = out[out["metric"] == "statistical_parity_gap"].set_index("attribute")["n"]
    assert scored["gender"] == (frame["gender"] != "Unsure").sum()
    assert scored["age"] == frame["age"].isin(["4-19", "20-39", "40-69"]).sum()
    assert scored["race"] == 299


def test_spread_over_seeds():
    both = pd.concat([table.results(_predictions(seed=s), {}).assign(member=s) for s in (0, 1)])
    spread = table.over_seeds(both).set_index("metric").loc["accuracy"]
    values = both[both["metric"] == "accuracy"]["value"]
    assert spread["mean"] == pytest.approx(values.mean())
    assert spread["sd"] == pytest.approx(values.std(ddof=1))
    assert (spread["min"], spread["max"], spread["seeds"]) == (values.min(), values.max(), 2)
