"""Small cells: the posterior against brute-force quadrature and numpyro, and what must hold of any shrinkage."""

import json

import numpy as np
import pytest
from scipy import special, stats

from frown_jax.errors import OutcomesError
from frown_jax.metrics import small_cells
from frown_jax.metrics.intervals import wilson
from frown_jax.metrics.outcomes import Outcomes
from tests import numpyro_oracle


def test_three_cells_equal_brute_force_quadrature():
    """One attribute: the posterior by a sum over a grid of intercepts and spreads, each cell by its own sum over u."""
    n, k = np.array([300.0, 25, 4]), np.array([240.0, 14, 4])
    intercept, spread = np.linspace(-4, 6, 161), np.exp(np.linspace(-7, 2, 121))
    eta = np.linspace(-7, 9, 1601)
    like = stats.binom.pmf(k[:, None], n[:, None], special.expit(eta))  # [C, eta]
    weight, first, below = [], [], []
    cut = np.array([0.8, 0.6, 0.75])  # P(accuracy < cut)
    for sd in spread:
        # A spread finer than the grid of eta is a cell at the intercept.
        prior = stats.norm.pdf(eta, intercept[:, None], max(sd, 0.008))
        prior /= prior.sum(1, keepdims=True)
        mass = prior @ like.T  # [intercepts, C]
        total = mass.prod(1) * stats.norm.pdf(intercept, 0, 2.5) * stats.halfnorm.pdf(sd) * sd
        weight.append(total)
        mass = np.maximum(mass, 1e-300)  # far from the data both are 0
        first.append(prior @ (like * special.expit(eta)).T / mass)
        below.append(prior @ (like * (special.expit(eta) < cut[:, None])).T / mass)
    weight = np.array(weight) / np.sum(weight)
    mean, share = (np.einsum("si,sic->c", weight, np.array(x)) for x in (first, below))
    median = spread[np.searchsorted(weight.sum(1).cumsum(), 0.5)]
    found = small_cells.posterior(n, k, np.arange(3)[:, None], draws=20_000)
    np.testing.assert_allclose(found.accuracy.mean(0), mean, atol=0.005)
    np.testing.assert_allclose((found.accuracy < cut).mean(0), share, atol=0.015)
    assert np.median(found.spread) == pytest.approx(median, rel=0.08)
    assert found.efficiency > 0.1


@pytest.mark.parametrize("name", numpyro_oracle.CASES)
def test_it_is_numpyros_posterior(name):
    sizes, n, k = numpyro_oracle.CASES[name]
    golden = json.loads(numpyro_oracle.GOLDEN.read_text())[name]
    found = small_cells.posterior(n, k, numpyro_oracle.levels_of(sizes), draws=6000)
    ours = numpyro_oracle.facts(found.accuracy)
    for fact, tolerance in (("mean", 0.01), ("lower", 0.025), ("upper", 0.025), ("worst", 0.02)):
        np.testing.assert_allclose(ours[fact], golden[fact], atol=tolerance, err_msg=fact)


@pytest.mark.slow  # 1 minute: the golden numbers themselves
def test_the_golden_numbers_are_numpyros():
    pytest.importorskip("numpyro")
    golden = json.loads(numpyro_oracle.GOLDEN.read_text())
    for name, case in numpyro_oracle.CASES.items():
        again = numpyro_oracle.facts(numpyro_oracle.sampled(*case, draws=5000, seed=1))
        for fact in ("mean", "lower", "upper", "worst"):
            np.testing.assert_allclose(again[fact], golden[name][fact], atol=0.03, err_msg=fact)


def test_a_large_cell_keeps_its_value_and_a_small_one_borrows():
    levels = numpyro_oracle.levels_of((2, 2))
    n, k = np.array([5000, 4000, 3000, 3]), np.array([4500, 3200, 2700, 0])
    found = small_cells.posterior(n, k, levels)
    mean = found.accuracy.mean(0)
    np.testing.assert_allclose(mean[:3], k[:3] / n[:3], atol=0.01)
    assert 0.15 < mean[3] < 0.75  # none of 3 right, beside 90 and 80 %
    low, high = np.quantile(found.accuracy, [0.025, 0.975], axis=0)
    raw = np.array(wilson(k, n))
    assert ((high - low)[:3] < 1.1 * (raw[1] - raw[0])[:3]).all()


def test_contrasts_treat_all_groups_alike():
    levels = numpyro_oracle.levels_of((3, 4))
    x = small_cells.design(levels)
    assert x.shape == (12, 1 + 2 + 3)
    np.testing.assert_allclose(x[:, 1:].sum(0), 0, atol=1e-12)
    own = x[::4, 1:3]  # the three groups of the first attribute
    np.testing.assert_allclose(own @ own.T, np.eye(3) - 1 / 3, atol=1e-12)
    assert small_cells.design(levels[:, :1]).shape == (12, 1)


def test_impossible_counts_are_refused():
    with pytest.raises(OutcomesError, match="no cell has an image"):
        small_cells.posterior([0, 0], [0, 0], [[0], [1]])
    with pytest.raises(OutcomesError, match="between 0 and the number"):
        small_cells.posterior([3, 4], [1, 5], [[0], [1]])
    with pytest.raises(OutcomesError, match="no attribute"):
        small_cells.estimates(Outcomes.of([0, 1], [0, 1]))


def test_effective_images_by_hand():
    """Two cells; in the first four people of ten frames each, all right or all wrong: four answers."""
    person = np.r_[np.arange(4).repeat(10), 10 + np.arange(4).repeat(10)]
    right = np.r_[np.repeat([1, 1, 0, 0], 10), np.repeat([1, 0, 1, 0], 10)][None].astype(float)
    cell = np.arange(2).repeat(40)
    n, effective, mean = small_cells.effective_counts(right, cell, 3, person)
    assert n.tolist() == [40, 40, 0]
    np.testing.assert_allclose(effective, [4, 4, 0])
    np.testing.assert_allclose(mean, [0.5, 0.5, np.nan])
    # As many images of as many people are worth themselves.
    assert small_cells.effective_counts(right, cell, 2)[1].tolist() == [40, 40]
    # Frames that say nothing about each other are worth nearly themselves, but no more than the people there are.
    loose = np.random.default_rng(0).random((1, 4000)) < 0.7
    worth = small_cells.effective_counts(loose, np.zeros(4000, int), 1, np.arange(1000).repeat(4))[1]
    assert 900 < worth[0] <= 1000


def test_runs_that_differ_are_worth_fewer_images():
    rng = np.random.default_rng(1)
    ease = rng.random(2000)
    alike = np.stack([ease < 0.7] * 4).astype(float)
    apart = np.stack([ease < x for x in (0.6, 0.66, 0.74, 0.8)]).astype(float)
    cell = np.zeros(2000, int)
    same, less = (small_cells.effective_counts(r, cell, 1)[1][0] for r in (alike, apart))
    assert same == 2000
    # Variance over seeds, by hand: (.01 + .0016) 2 / 3 / 4 = .0019 beside .21 / 2000, and t with 3 degrees.
    assert less == pytest.approx(0.21 / (0.00194 + 0.000105) / (stats.t.ppf(0.975, 3.4) / 1.96) ** 2, rel=0.2)


def _outcomes():
    rng = np.random.default_rng(2)
    n = 400
    sex, race = rng.choice(["f", "m"], n), rng.choice(["a", "b", "c"], n, p=[0.7, 0.25, 0.05])
    truth = rng.integers(0, 3, n)
    chance = np.where(race == "c", 0.2, 0.8)
    predictions = np.stack([np.where(rng.random(n) < chance, truth, (truth + 1) % 3) for _ in range(2)])
    people = {"sex": sex, "race": race}
    return Outcomes.of(truth, predictions, attributes=people, targets=range(3)), truth, predictions, people


def test_the_table_of_a_method():
    outcomes, truth, predictions, people = _outcomes()
    table = small_cells.estimates(outcomes, draws=1000)
    assert table["group"].tolist() == [f"{s} x {r}" for s in "fm" for r in "abc"]
    row = table.set_index("group").loc["f x b"]
    inside = (people["sex"] == "f") & (people["race"] == "b")
    assert row["n"] == inside.sum()
    assert row["raw"] == pytest.approx((predictions == truth)[:, inside].mean())
    assert row["lower"] < row["shrunken"] < row["upper"] and row["raw_lower"] < row["raw"] < row["raw_upper"]
    assert (table["n_effective"] <= table["n"]).all()
    assert table["p_worst"].sum() == pytest.approx(1)
    assert table.set_index("group").loc[["f x c", "m x c"], "p_worst"].sum() > 0.95
    again = small_cells.estimates(outcomes, draws=1000)
    assert again.equals(table)
    single = small_cells.estimates(outcomes, ("race",), draws=500)
    assert single["group"].tolist() == ["a", "b", "c"] and single["attribute"].unique().tolist() == ["race"]


def test_intervals_hold_cells_drawn_from_the_model():
    """Cells whose accuracies follow the model: 95 % intervals hold about 95 % of them, the empty ones too."""
    rng = np.random.default_rng(0)
    sizes = (3, 2, 3)
    levels = numpyro_oracle.levels_of(sizes)
    held = []
    for _ in range(12):
        eta = 0.9 + sum(rng.normal(0, 0.5, g)[levels[:, a]] for a, g in enumerate(sizes))
        truth = special.expit(eta + rng.normal(0, 0.4, len(levels)))
        n = rng.choice([0, 2, 8, 40, 200], len(levels))
        found = small_cells.posterior(n, rng.binomial(n, truth), levels, draws=400)
        low, high = np.quantile(found.accuracy, [0.025, 0.975], axis=0)
        held.append((low <= truth) & (truth <= high))
    assert np.mean(held) > 0.9


def test_what_seeds_move_together_widens_all_cells_alike():
    rng = np.random.default_rng(3)
    right = (rng.random((4, 3000)) < np.array([0.6, 0.66, 0.74, 0.8])[:, None]).astype(float)
    shared = small_cells.shared_variance(right)
    # The variance of four means whose spread is 0.088, over 4; images' own chance is taken off.
    assert shared == pytest.approx(right.mean(1).var(ddof=1) / 4, rel=0.05)
    assert small_cells.shared_variance(right[:1]) == 0
    cells = np.arange(3000) % 3
    own = small_cells.effective_counts(right, cells, 3, shared=False)[1]
    assert (own > 5 * small_cells.effective_counts(right, cells, 3)[1]).all()
    draws = special.expit(rng.normal(0.8, 0.05, (4000, 3)))
    moved = small_cells.moved_together(draws, shared, 4, rng)
    assert moved.std() > 3 * draws.std()
    assert np.corrcoef(moved.T)[0, 1] > 0.9  # all of them, together
    assert small_cells.moved_together(draws, 0.0, 1, rng) is draws
