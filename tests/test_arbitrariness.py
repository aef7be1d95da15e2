"""Seeds that disagree: hand-worked votes, all pairs counted one by one, and coverage of people never seen."""

import itertools

import numpy as np
import pytest

from frown_jax.errors import OutcomesError
from frown_jax.metrics import arbitrariness as ar
from frown_jax.metrics.outcomes import Outcomes


def test_self_consistency_is_the_share_of_pairs_that_agree():
    rng = np.random.default_rng(0)
    predictions = rng.integers(0, 4, (5, 30))
    pairs = [predictions[a] == predictions[b] for a, b in itertools.combinations(range(5), 2)]
    np.testing.assert_allclose(ar.self_consistency(ar.votes(predictions, 4)), np.mean(pairs, 0))
    assert np.isnan(ar.self_consistency(ar.votes(predictions[:1], 4))).all()


def test_it_is_unbiased_for_two_new_runs():
    """Runs answer 0, 1, 2 with .6, .3, .1: two agree with .36 + .09 + .01, however many runs are looked at."""
    rng = np.random.default_rng(1)
    for runs in (2, 3, 7):
        predictions = rng.choice(3, (runs, 40_000), p=[0.6, 0.3, 0.1])
        assert ar.self_consistency(ar.votes(predictions, 3)).mean() == pytest.approx(0.46, abs=0.01)


def _by_hand():
    """Four runs, five images of two groups: all agree, 3 to 1, 2 to 2, all agree (wrong), 2 to 1 to 1."""
    answers = np.array([[0, 0, 0, 0], [1, 1, 1, 0], [0, 0, 1, 1], [2, 2, 2, 2], [1, 1, 0, 2]]).T
    truth = np.array([0, 1, 1, 0, 1])
    return Outcomes.of(truth, answers, attributes={"sex": ["f", "f", "m", "m", "m"]}, targets=range(3))


def test_a_table_by_hand():
    table = ar.consistency(_by_hand()).set_index(["attribute", "group"])
    assert table.loc[("sex", "f"), "consistency"] == pytest.approx((1 + 3 / 6) / 2)
    assert table.loc[("sex", "m"), "consistency"] == pytest.approx((2 / 6 + 1 + 1 / 6) / 3)
    assert table.loc[("", ""), "consistency"] == pytest.approx((1 + 1 / 2 + 1 / 3 + 1 + 1 / 6) / 5)
    assert table.loc[("", ""), "disagreeing"] == pytest.approx(3 / 5)
    assert table["n"].tolist() == [5, 2, 3] and set(table["seeds"]) == {4}
    assert ((table["lower"] <= table["consistency"]) & (table["consistency"] <= table["upper"])).all()


def test_abstaining_by_hand():
    table = ar.abstention(_by_hand(), kappas=(0.0, 0.5, 1.0)).set_index(["group", "kappa"])
    # Majorities: right, right, a tie of two (half), wrong, right.
    assert table.loc[("", 0.0), "accuracy"] == pytest.approx((1 + 1 + 0.5 + 0 + 1) / 5)
    assert table.loc[("", 0.5), "answered"] == pytest.approx(3 / 5)
    assert table.loc[("", 0.5), "accuracy"] == pytest.approx(2 / 3)
    assert table.loc[("m", 1.0), "answered"] == pytest.approx(1 / 3)
    assert table.loc[("m", 1.0), "accuracy"] == 0
    alone = Outcomes.of([0, 1], [[0, 1], [1, 0]], attributes={"sex": ["f", "m"]}, targets=range(2))
    nobody = ar.abstention(alone, kappas=(0.9,))
    assert nobody["answered"].tolist() == [0, 0, 0] and nobody["accuracy"].isna().all()


def test_labels_of_a_multilabel_task_are_decisions_of_their_own():
    truth = np.array([[1, 0], [0, -1]])
    answers = np.array([[[1, 0], [1, 1]], [[1, 1], [0, 1]]])
    outcomes = Outcomes.of(truth, answers)
    table = ar.consistency(outcomes)
    assert table["consistency"].tolist() == [pytest.approx((1 + 0 + 0 + 1) / 4)]
    curve = ar.abstention(outcomes, kappas=(0.0, 1.0))
    assert curve["n"].tolist() == [3, 3]  # one label is not known
    assert curve["answered"].tolist() == [1, pytest.approx(1 / 3)]
    assert curve["accuracy"].tolist() == [pytest.approx((1 + 0.5 + 0.5) / 3), 1]


def test_one_run_has_nobody_to_disagree_with():
    one = Outcomes.of([0, 1], [0, 1], attributes={"sex": ["f", "m"]})
    for f in (ar.consistency, ar.abstention):
        with pytest.raises(OutcomesError, match="takes two seeds"):
            f(one)


@pytest.mark.parametrize(("people", "frames", "seeds"), [(60, 1, 2), (25, 8, 4), (120, 1, 6)])
def test_intervals_hold_the_consistency_of_new_people(people, frames, seeds):
    """Each person is answered 1 with a chance of their own: two runs agree with E[p^2 + (1 - p)^2]."""
    rng = np.random.default_rng(2)
    truth = 1 - 2 * (0.5 * 0.7 / ((0.5 + 0.7) * (0.5 + 0.7 + 1)))  # p ~ Beta(.5, .7): E p(1 - p)
    held = []
    for _ in range(300):
        chance = rng.beta(0.5, 0.7, people).repeat(frames)
        answers = (rng.random((seeds, people * frames)) < chance).astype(int)
        row = ar.consistency(Outcomes.of(answers[0], answers, subjects=np.arange(people).repeat(frames),
                                         targets=range(2))).iloc[0]  # fmt: skip
        held.append(row["lower"] <= truth <= row["upper"])
    assert 0.92 <= np.mean(held) <= 1
