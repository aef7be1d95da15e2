"""Values that others published or that other libraries give."""

import pathlib

import numpy as np
import pandas as pd
import pytest

from frown_jax.metrics import classification, fairness, significance
from frown_jax.metrics.outcomes import Outcomes
from frown_jax.metrics.plan import Plan, grouping
from frown_jax.metrics.statistics import Statistics

GOLDEN = pathlib.Path(__file__).parent / "golden"

# Qian et al. 2021 ("Are My Deep Learning Systems Fair?"), stat_tests.csv of lin-tan/fairness-variance: mean of the
# baseline and of the technique, Cohen's d (no sign), p of Levene's test.
PUBLISHED = {
    ("S-RS", "DP"): (0.029675, 0.028106, 2.13, 0.80222),
    ("S-RS", "EOTP"): (0.125462, 0.119000, 2.08, 0.99553),
    ("S-RS", "BA"): (0.073860, 0.070274, 1.97, 0.81305),
    ("S-UC", "DP"): (0.029675, 0.041358, 6.38, 0.00097),
    ("S-UC", "EOTP"): (0.125462, 0.176019, 6.13, 0.00039),
    ("S-UC", "BA"): (0.073860, 0.102531, 6.03, 0.00143),
    ("S-GR", "DP"): (0.029675, 0.034764, 1.35, 0.00124),
    ("S-GR", "EOTP"): (0.125462, 0.148700, 1.60, 0.00022),
    ("S-GR", "BA"): (0.073860, 0.086649, 1.38, 0.00049),
    ("S-DI2", "DP"): (0.029675, 0.002048, 47.69, 0.01410),
    ("S-DI2", "EOTP"): (0.125462, 0.010038, 47.02, 0.00024),
    ("S-DI2", "BA"): (0.073860, 0.005113, 48.32, 0.01305),
}


def _published_runs():
    table = pd.read_csv(GOLDEN / "qian_cifar10s.csv")
    return {(t, m): np.array(v.split(), float) for t, m, v in table.itertuples(index=False)}


@pytest.mark.parametrize(("technique", "metric"), list(PUBLISHED))
def test_published_effect_sizes_and_variances(technique, metric):
    runs = _published_runs()
    control, method = runs["S-Base", metric], runs[technique, metric]
    base, mean, d, p = PUBLISHED[technique, metric]
    # The published means of BA were made from rounded files: their last digit differs.
    tolerance = 1e-5 if metric == "BA" else 5.1e-7
    assert control.mean() == pytest.approx(base, abs=tolerance)
    assert method.mean() == pytest.approx(mean, abs=tolerance)
    assert abs(significance.cohens_d(method, control)) == pytest.approx(d, abs=0.00501)
    assert significance.levene(method, control) == pytest.approx(p, abs=5.1e-6 if metric != "BA" else 5e-4)


def _qian_counts():
    """Their unit test: two groups, two classes."""
    cells = {
        0: {0: {"tp": 3, "fp": 2, "tn": 5, "fn": 1}, 1: {"tp": 5, "fp": 1, "tn": 3, "fn": 2}},
        1: {0: {"tp": 5, "fp": 1, "tn": 2, "fn": 1}, 1: {"tp": 2, "fp": 1, "tn": 5, "fn": 1}},
    }
    hit = np.array([[cells[g][k]["tp"] for k in (0, 1)] for g in (0, 1)], float)
    positive = hit + [[cells[g][k]["fn"] for k in (0, 1)] for g in (0, 1)]
    predicted = hit + [[cells[g][k]["fp"] for k in (0, 1)] for g in (0, 1)]
    known = np.array([[sum(cells[g][k].values()) for k in (0, 1)] for g in (0, 1)], float)
    return Statistics(False, known[:, 0], known, positive, predicted, hit)


def test_qian_unit_vectors():
    s = _qian_counts()
    expected = {
        fairness.demographic_parity_difference: [0.212121212, 0.212121212],
        fairness.statistical_parity_subgroup_fairness: [0.105, 0.105],
        fairness.false_positive_subgroup_fairness: [0.01, 0.02],
        fairness.false_positive_rate_difference: [0.047619048, 0.083333333],
        fairness.equal_opportunity_difference: [0.083333333, 0.047619048],
        fairness.bias_amplification: [0.054545455, 0.033333333],
    }
    for metric, values in expected.items():
        np.testing.assert_allclose(metric(s), values, atol=1e-9, err_msg=metric.__name__)
    # Their disparate impact is 1 - ratio.
    np.testing.assert_allclose(1 - fairness.demographic_parity_ratio(s), [0.318181818, 0.388888889], atol=1e-9)
    assert classification.mean_of_defined(fairness.bias_amplification(s)) == pytest.approx(0.043939394, abs=1e-9)


def _aif360(predictions):
    labels = np.array([1, 0, 0, 1, 0, 0, 1, 0, 1, 1])
    groups = np.array([0, 0, 1, 1, 1, 1, 2, 2, 2, 2])
    outcomes = Outcomes.of(labels, predictions, attributes={"feat": groups}, targets=(0, 1))
    both = [grouping(outcomes), grouping(outcomes, ("feat",))]
    return Plan.of(outcomes, both, ["accuracy"]).tallies(outcomes)


def test_aif360_entropy_indices():
    # tests/test_classification_metric.py of AIF360: expected values and the closed form that it states.
    everybody, by_group = _aif360(np.array([1, 0, 0, 0, 1, 1, 1, 0, 1, 0]))
    assert classification.generalized_entropy_index(everybody)[0, 0, 1] == pytest.approx(0.2)
    assert classification.theil_index(everybody)[0, 0, 1] == pytest.approx(4 * np.log(2) / 10)
    benefits = np.array([1, 1, 1.25, 1.25, 1.25, 1.25, 0.75, 0.75, 0.75, 0.75])
    assert fairness.between_group_entropy_index(by_group)[0, 1] == pytest.approx((benefits**2 - 1).sum() / 20)
    other, _ = _aif360(np.array([0, 1, 1, 0, 0, 0, 0, 1, 1, 1]))
    assert classification.generalized_entropy_index(other)[0, 0, 1] == pytest.approx(0.3)


# fairlearn's own test data (test/unit/metrics/data_for_test.py, MIT), and what fairlearn 0.15.0 says of it.
_TRUE = "10111011000111011001110000111111010100101001110001111001110110111111111"
_PRED = "01110001111001110110110000111111010100101011011011011111000011111111111"
_WEIGHTS = "12312123111233121112322121313141213233414131112331211123112321223232341"


def _fairlearn(run_length, weights=None):
    y_true, y_pred, w = (np.array(list(s), int) for s in (_TRUE, _PRED, _WEIGHTS))
    groups = np.arange(len(y_true)) // run_length % 2
    outcomes = Outcomes.of(y_true, y_pred, attributes={"g": groups}, targets=(0, 1))
    plan = Plan.of(outcomes, [grouping(outcomes), grouping(outcomes, ("g",))], ["accuracy"])
    return plan.tallies(outcomes, w if weights else None)


def test_fairlearn_golden_values():
    everybody, by_group = _fairlearn(2)
    one = {
        fairness.demographic_parity_difference: 0.07460317460317456,
        fairness.demographic_parity_ratio: 0.8912037037037037,
        fairness.equalized_odds_difference: 0.10079051383399218,
        fairness.average_odds_difference: 0.05039525691699609,
        fairness.equalized_odds_ratio: 0.8712121212121211,
        fairness.equal_opportunity_difference: 0.10079051383399218,
    }
    for metric, value in one.items():
        assert metric(by_group)[0, 1] == pytest.approx(value, abs=1e-12), metric.__name__
    rates = classification.selection_rate(by_group)[..., 1]
    overall = classification.selection_rate(everybody)[..., 0, 1]
    assert fairness.difference_to_overall(rates, overall)[0] == pytest.approx(0.037826961770623724, abs=1e-12)
    _, weighted = _fairlearn(2, weights=True)
    assert fairness.demographic_parity_difference(weighted)[0, 1] == pytest.approx(0.02383913764510781, abs=1e-12)
    assert fairness.equalized_odds_difference(weighted)[0, 1] == pytest.approx(0.01976284584980237, abs=1e-12)
    _, threes = _fairlearn(3)
    assert fairness.equalized_odds_difference(threes)[0, 1] == pytest.approx(0.23076923076923078, abs=1e-12)
    assert fairness.equalized_odds_ratio(threes)[0, 1] == pytest.approx(0.625, abs=1e-12)
