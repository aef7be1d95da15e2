"""Wrong group labels: the algebra against simulated labels, the bounds against linear programs and trial."""

import itertools

import numpy as np
import pytest
from scipy import optimize

from frown_jax.errors import OutcomesError
from frown_jax.metrics import label_sensitivity as ls
from frown_jax.metrics.outcomes import Outcomes


def test_known_errors_are_undone():
    """Labels made wrong by a matrix: inversion gives back the true groups that nobody saw."""
    rng = np.random.default_rng(0)
    matrix = np.array([[0.9, 0.06, 0.04], [0.1, 0.8, 0.1], [0.0, 0.15, 0.85]])
    n = 400_000
    true = rng.choice(3, n, p=[0.6, 0.1, 0.3])
    right = rng.random(n) < np.array([0.8, 0.6, 0.7])[true]
    label = (rng.random(n)[:, None] > matrix.cumsum(1)[true]).sum(1)
    sizes, sums = np.bincount(label, minlength=3), np.bincount(label, weights=right, minlength=3)
    found = ls.corrected(sizes, sums, matrix)
    assert found.feasible
    np.testing.assert_allclose(found.shares, [0.6, 0.1, 0.3], atol=0.004)
    np.testing.assert_allclose(found.means, [0.8, 0.6, 0.7], atol=0.012)
    # The labels as they are would have said less of a gap.
    assert (sums / sizes)[0] - (sums / sizes)[1] < 0.15


def test_two_groups_by_hand():
    """40 of 100 women's and 30 of 100 men's answers right; 10 % of the labels wrong: 0.1 / (1 - 2 x 0.1) is the gap."""
    found = ls.corrected([100, 100], [40, 30], ls.uniform(2, 0.1))
    np.testing.assert_allclose(found.means, [0.4125, 0.2875])
    np.testing.assert_allclose(found.shares, [0.5, 0.5])
    # At worst 10 of each group moved: men's 10 right ones are women, women's 10 wrong ones are men.
    low, high = ls.bounds([40, 30], [60, 70], 0.1, 0, 1)
    assert high == pytest.approx(50 / 100 - 20 / 100)
    assert low == pytest.approx(30 / 100 - 40 / 100)
    # 5 % there and back: 35 and 35.
    assert ls.sign_lost_at([40, 30], [60, 70], 0, 1) == pytest.approx(0.05, abs=1e-9)
    assert ls.sign_lost_at_alike([100, 100], [40, 30], 0, 1) == np.inf


def test_more_errors_than_the_data_can_have_had_are_not_feasible():
    assert not ls.corrected([95, 5], [50, 1], ls.uniform(2, 0.1)).feasible  # 10 of the 100 would be labelled so alone
    assert not ls.corrected([50, 50], [50, 0], ls.uniform(2, 0.1)).feasible  # means beyond 0 and 1


@pytest.mark.parametrize("seed", range(4))
def test_bounds_are_what_a_linear_program_reaches(seed):
    """For given sizes of the two groups the gap is linear in the moved images; sizes are tried on a fine grid."""
    rng = np.random.default_rng(seed)
    groups = 2 + seed % 3
    right, wrong = rng.integers(1, 12, groups).astype(float), rng.integers(1, 12, groups).astype(float)
    rate = rng.choice([0.1, 0.25, 0.4])
    got = ls.largest_gap(right, wrong, rate, 0, 1)
    # x[label, true, kind]: images of a label and a kind that truly belong to a group.
    shape = (groups, groups, 2)
    equal, totals = [], []
    for g, kind in itertools.product(range(groups), range(2)):
        x = np.zeros(shape)
        x[g, :, kind] = 1
        equal.append(x.ravel())
        totals.append((right, wrong)[kind][g])
    moved = []
    for g in range(groups):
        x = np.zeros(shape)
        x[g] = 1
        x[g, g] = 0
        moved.append(x.ravel())
    size_a, size_b, hits_a, hits_b = (np.zeros(shape) for _ in range(4))
    size_a[:, 0], size_b[:, 1], hits_a[:, 0, 0], hits_b[:, 1, 0] = 1, 1, 1, 1
    n, best = right + wrong, -1.0
    grids = []
    for g in (0, 1):
        most = n[g] + rate * (n.sum() - n[g])
        grids.append(np.linspace((1 - rate) * n[g], most, 11))
    for a, b in itertools.product(*grids):
        done = optimize.linprog(
            -(hits_a / a - hits_b / b).ravel(),
            A_ub=np.array(moved),
            b_ub=rate * n,
            A_eq=np.array([*equal, size_a.ravel(), size_b.ravel()]),
            b_eq=[*totals, a, b],
        )
        best = max(best, -done.fun) if done.status == 0 else best
    assert best <= got + 1e-7  # nothing beats the bound
    assert got - best < 0.04  # and some division comes near it


def test_no_tried_relabelling_leaves_the_bounds():
    rng = np.random.default_rng(1)
    right, wrong, rate = np.array([30, 8, 15]), np.array([10, 12, 9]), 0.2
    label = np.repeat(np.arange(3), right + wrong)
    value = np.concatenate([np.r_[np.ones(r), np.zeros(w)] for r, w in zip(right, wrong, strict=True)])
    low, high = ls.bounds(right, wrong, rate, 0, 1)
    seen = []
    for _ in range(500):
        true = label.copy()
        bias = rng.normal(0, 3, (3, 2))
        for g in range(3):
            own = np.flatnonzero(label == g)
            k = rng.integers(0, int(rate * len(own)) + 1)
            keys = rng.gumbel(size=len(own)) + bias[g][value[own].astype(int)]
            chosen = own[np.argsort(-keys)[:k]]
            true[chosen] = rng.choice([t for t in range(3) if t != g], k)
        seen.append(value[true == 0].mean() - value[true == 1].mean())
    assert low - 1e-12 <= min(seen) and max(seen) <= high + 1e-12


def test_bounds_of_a_known_matrix_are_a_linear_program():
    matrix = np.array([[0.85, 0.1, 0.05], [0.2, 0.7, 0.1], [0.05, 0.1, 0.85]])
    right, wrong = np.array([50.0, 20, 30]), np.array([20.0, 15, 40])
    shares = np.linalg.solve(matrix.T, right + wrong)
    totals = shares[:, None] * matrix  # [true, label]
    low, high = ls.bounds_of_matrix(right, wrong, matrix, 0, 2)
    ends = []
    for sign in (1, -1):
        x = np.zeros((3, 3))
        x[0], x[2] = 1 / shares[0], -1 / shares[2]
        labels = np.stack([np.where(np.arange(3) == a, 1.0, 0.0)[None].repeat(3, 0).ravel() for a in range(3)])
        done = optimize.linprog(
            -sign * x.ravel(), A_eq=labels, b_eq=right, bounds=[(0, t) for t in totals.ravel()]
        )  # fmt: skip
        assert done.status == 0
        ends.append(-sign * done.fun)
    assert (high, low) == pytest.approx(tuple(ends), abs=1e-8)
    found = ls.corrected(right + wrong, right, matrix)
    assert low <= found.means[0] - found.means[2] <= high


@pytest.mark.parametrize("seed", range(4))
def test_the_sign_is_lost_where_the_bounds_say(seed):
    rng = np.random.default_rng(seed)
    right, wrong = rng.integers(5, 60, 3).astype(float), rng.integers(5, 60, 3).astype(float)
    mean = right / (right + wrong)
    a, b = int(mean.argmax()), int(mean.argmin())
    rate = ls.sign_lost_at(right, wrong, a, b)
    assert ls.bounds(right, wrong, rate + 1e-6, a, b)[0] <= 1e-6
    assert ls.bounds(right, wrong, rate - 1e-4, a, b)[0] > 0
    assert ls.sign_lost_at(right, wrong, b, a) == pytest.approx(rate)


def test_errors_that_are_alike_can_turn_the_sign_of_three_groups():
    """Group 2 is small and so mostly others' images: its own accuracy is further from theirs than it looks."""
    sizes, sums = np.array([1000.0, 200, 40]), np.array([900.0, 120, 25])
    rate = ls.sign_lost_at_alike(sizes, sums, 1, 2)
    assert 0 < rate < 0.1
    before, after = (ls.corrected(sizes, sums, ls.uniform(3, r)).means for r in (rate - 0.004, rate + 0.004))
    assert before[2] > before[1] and after[2] < after[1]
    at = ls.corrected(sizes, sums, ls.uniform(3, rate)).means
    assert at[1] == pytest.approx(at[2], abs=1e-9)


def _outcomes(runs=1):
    rng = np.random.default_rng(3)
    n = 240
    truth, race = rng.integers(0, 3, n), rng.choice(["a", "b", "c"], n, p=[0.6, 0.3, 0.1])
    predictions = np.where(rng.random((runs, n)) < np.where(race == "a", 0.9, 0.6), truth, (truth + 1) % 3)
    return Outcomes.of(truth, predictions, attributes={"race": race}, targets=range(3)), truth, race, predictions


def test_the_table_says_what_the_functions_say():
    outcomes, truth, race, predictions = _outcomes(runs=2)
    table = ls.sensitivity(outcomes, {"race": 0.05}, scored="all")
    assert len(table) == 3
    row = table[(table["group"] == "a") & (table["other"] == "c")].iloc[0]
    right = (predictions == truth).mean(0)
    gap = right[race == "a"].mean() - right[race == "c"].mean()
    assert row["gap"] == pytest.approx(gap) and row["n"] == (race == "a").sum() and row["rate"] == 0.05
    assert row["lower"] < gap < row["upper"]
    sums = np.array([right[race == g].sum() for g in "abc"])
    sizes = np.array([(race == g).sum() for g in "abc"])
    assert (row["lower"], row["upper"]) == pytest.approx(ls.bounds(sums, sizes - sums, 0.05, 0, 2))
    means = ls.corrected(sizes, sums, ls.uniform(3, 0.05)).means
    assert row["alike"] == pytest.approx(means[0] - means[2])
    matrix = ls.sensitivity(outcomes, {"race": ls.uniform(3, 0.05)}, scored="all")
    other = matrix[(matrix["group"] == "a") & (matrix["other"] == "c")].iloc[0]
    assert other["rate"] == pytest.approx(0.05) and other["alike"] == pytest.approx(row["alike"])
    assert other["lower"] <= other["alike"] <= other["upper"]
    every = ls.sensitivity(outcomes)
    assert every["rate"].unique().tolist() == list(ls.RATES)


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (1.2, "at least 0 and below 1"),
        (np.eye(2), "3 groups need 3 x 3"),
        (np.full((3, 3), 0.5), "row 0: .* not probabilities that sum to 1"),
        (np.full((3, 3), 1 / 3), "no inverse"),
    ],
)
def test_what_is_no_error_rate_is_refused(error, said):
    with pytest.raises(OutcomesError, match=said):
        ls.sensitivity(_outcomes()[0], {"race": error})
