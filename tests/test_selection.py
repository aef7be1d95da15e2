"""Selection rules on candidates small enough to choose by hand."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from frown_jax.metrics import selection


def _table(rows):
    """{candidate: (accuracy, auroc, worst class, accuracy of group x, of group y, F)}"""
    out = []
    for name, (accuracy, auroc, worst_class, x, y, f) in rows.items():
        values = {
            ("accuracy", "", ""): accuracy,
            ("auroc", "", ""): auroc,
            ("worst_class_recall", "", ""): worst_class,
            ("accuracy", "sex", "x"): x,
            ("accuracy", "sex", "y"): y,
            ("generalized_equal_opportunity", "sex", ""): f,
        }
        out += [(name, *key, "", value) for key, value in values.items()]
    return pd.DataFrame(out, columns=["candidate", "metric", "attribute", "group", "target", "value"])


CANDIDATES = {
    "accurate": (0.90, 0.90, 0.30, 0.95, 0.70, 0.70),
    "ranking": (0.85, 0.95, 0.40, 0.85, 0.78, 0.80),
    "fair": (0.80, 0.85, 0.50, 0.80, 0.79, 0.99),
    "levelled": (0.50, 0.60, 0.10, 0.50, 0.50, 1.00),
}


def test_every_rule_chooses_what_it_says():
    table = selection.select(_table(CANDIDATES), _table(CANDIDATES), "sex", floor=0.06).set_index("rule")
    expected = {
        "overall accuracy": "accurate",
        "macro AUROC": "ranking",
        "worst group": "fair",
        "worst class": "fair",
        "Pareto, then worst group": "fair",
        "max F above accuracy floor": "ranking",  # 'fair' and 'levelled' are more than 0.06 below the best
    }
    for rule, name in expected.items():
        assert table.loc[rule, "chosen"] == name, rule
    # Distances: each group's accuracy over the best candidate's, from (1, 1).
    distance = {name: np.hypot(v[3] / 0.95 - 1, v[4] / 0.79 - 1) for name, v in CANDIDATES.items()}
    assert table.loc["distance to optimum", "chosen"] == min(distance, key=distance.get)
    assert table.loc["overall accuracy", "regret"] == pytest.approx(0.09)
    assert table.index[-1] == selection.ORACLE
    assert table.loc[selection.ORACLE, "chosen"] == "fair"


def test_the_oracle_alone_sees_the_test_set():
    test = _table({**CANDIDATES, "accurate": (0.9, 0.9, 0.3, 0.95, 0.94, 0.7)})
    table = selection.select(_table(CANDIDATES), test, "sex").set_index("rule")
    assert table.loc["worst group", "chosen"] == "fair"
    assert table.loc[selection.ORACLE, "chosen"] == "accurate"
    assert table.loc["worst group", "regret"] == pytest.approx(0.94 - 0.79)
    alone = selection.select(_table(CANDIDATES), None, "sex")
    assert selection.ORACLE not in set(alone["rule"])
    assert "test_accuracy" not in alone


def test_pareto_against_all_pairs():
    values = np.random.default_rng(0).integers(0, 5, (40, 3)).astype(float)
    for i, found in enumerate(selection.pareto(values)):
        beaten = any((v >= values[i]).all() and (v > values[i]).any() for v in values)
        assert found == (not beaten)


def test_stability_matches_scipy():
    scores = pd.DataFrame(np.random.default_rng(0).random((8, 3)), columns=["a", "b", "c"])
    found = selection.stability(scores)
    assert found.kendall_tau.loc["a", "b"] == pytest.approx(stats.kendalltau(scores["a"], scores["b"]).statistic)
    friedman = stats.friedmanchisquare(*scores.T.rank(axis=1).to_numpy().T).statistic
    assert found.kendall_w == pytest.approx(friedman / (3 * 7))
    same = selection.stability(pd.DataFrame({"a": [1, 2, 3], "b": [4, 5, 6], "c": [np.nan, 1, 2]}))
    assert same.kendall_w == pytest.approx(1)
    assert list(same.ranks.columns) == ["a", "b"]


def test_seeds_are_averaged_and_what_is_missing_is_said():
    two = pd.concat([_table(CANDIDATES), _table({k: tuple(x - 0.1 for x in v) for k, v in CANDIDATES.items()})])
    c = selection.candidates(two, "sex")
    assert c.overall[0] == pytest.approx(0.85)
    no_auroc = _table(CANDIDATES).query("metric != 'auroc'")
    chosen = selection.select(no_auroc, None, "sex").set_index("rule")["chosen"]
    assert chosen["macro AUROC"] == ""
    assert chosen["worst group"] == "fair"
    with pytest.raises(ValueError, match="no accuracy by 'age'"):
        selection.candidates(two, "age")
    with pytest.raises(ValueError, match="no accuracy of everybody"):
        selection.candidates(two.query("metric != 'accuracy'"), "sex")
