"""Tests and intervals against scipy, published numbers and enumeration."""

import doctest
import itertools

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from frown_jax.metrics import intervals, significance


@pytest.mark.parametrize("module", [intervals, significance])
def test_docstring_examples(module):
    assert doctest.testmod(module).failed == 0


def test_wilson_equals_scipys_in_every_cell_up_to_thirty():
    for n in (1, 2, 18, 30):
        for k in range(n + 1):
            expected = stats.binomtest(k, n).proportion_ci(method="wilson")
            np.testing.assert_allclose(intervals.wilson(k, n), (expected.low, expected.high), atol=1e-12)


def test_wilson_of_an_empty_cell_is_undefined_and_bad_counts_are_refused():
    low, high = intervals.wilson(np.array([0, 3]), np.array([0, 3]))
    assert np.isnan(low[0]) and np.isnan(high[0]) and high[1] == 1
    with pytest.raises(ValueError, match="between 0 and count"):
        intervals.wilson(4, 3)


@pytest.mark.parametrize(("count", "accuracy"), [(18, 0.67), (100, 0.8), (2351, 0.85)])
def test_the_minimum_detectable_effect_is_found_four_times_in_five(count, accuracy):
    """scipy's exact test on simulated pairs with that effect; nine images in ten agree."""
    effect = intervals.minimum_detectable_effect(count, accuracy, agreement=0.9)
    assert effect >= 1 / count
    discordant = max(0.1, effect)
    gained = (discordant + effect) / 2
    draws = np.random.default_rng(0).multinomial(count, [gained, discordant - gained, 1 - discordant], 4000)
    p = [stats.binomtest(int(b), int(b + c)).pvalue if b + c else 1.0 for b, c, _ in draws]
    assert np.mean(np.array(p) <= 0.05) == pytest.approx(0.8, abs=0.02)


def test_the_studys_gain_of_one_image_could_not_have_been_seen():
    """12 of 18 against 13 of 18 is 0.056; with 18 images less than a third of them cannot be told from chance."""
    assert intervals.minimum_detectable_effect(18, 12 / 18) > 1 / 3
    assert np.isnan(intervals.minimum_detectable_effect(0, 0.5))
    assert np.isnan(intervals.minimum_detectable_effect(4, 0.5))  # four images can show nothing


def test_holm_by_hand_and_order():
    p = np.array([0.04, 0.01, np.nan, 0.03, 0.5])
    np.testing.assert_allclose(significance.holm(p), [0.09, 0.04, np.nan, 0.09, 0.5])
    assert significance.holm(np.array([])).size == 0


def test_enumerated_permutation_equals_every_flip():
    d = np.array([0.3, -0.1, 0.2, 0.25, 0.05, -0.02])
    flips = np.array(list(itertools.product((1, -1), repeat=6))) @ d
    expected = (np.abs(flips) >= abs(d.sum()) - 1e-12).mean()
    assert significance.paired_permutation(d) == pytest.approx(expected)
    drawn = significance.paired_permutation(np.tile(d, 4), resamples=4000)
    exact = stats.permutation_test(
        (np.tile(d, 4),), np.sum, permutation_type="samples", n_resamples=40_000, rng=np.random.default_rng(1)
    ).pvalue
    assert drawn == pytest.approx(exact, abs=0.02)
    assert np.isnan(significance.paired_permutation(np.array([np.nan])))
    assert significance.paired_permutation(np.zeros(5)) == 1


def test_permutation_keeps_its_level_under_the_null():
    rng = np.random.default_rng(0)
    p = [significance.paired_permutation(rng.standard_t(3, 8)) for _ in range(4000)]
    rate = np.mean(np.array(p) <= 0.05)
    assert 0.035 < rate < 0.06


def test_friedman_equals_the_published_example():
    """Ten blocks of three groups, a published worked example: 13.35135, p 0.00126122."""
    groups = [
        [4, 6, 3, 4, 3, 2, 2, 7, 6, 5],
        [5, 6, 8, 7, 7, 8, 4, 6, 4, 5],
        [2, 2, 5, 3, 2, 2, 1, 4, 3, 2],
    ]
    found = significance.friedman(np.array(groups).T)
    assert found.statistic == pytest.approx(13.35135, abs=5e-6)
    assert found.p_value == pytest.approx(0.00126122, abs=5e-9)
    assert found.mean_ranks.argmin() == 1


@pytest.mark.parametrize(("methods", "q"), [(2, 1.960), (3, 2.344), (5, 2.728), (11, 3.219), (20, 3.544)])
def test_nemenyis_critical_difference_uses_demsars_constants(methods, q):
    found = significance.friedman(np.random.default_rng(0).normal(size=(16, methods)))
    assert found.critical_difference == pytest.approx(q * np.sqrt(methods * (methods + 1) / 96), rel=3e-4)


def test_degenerate_input_is_nan():
    assert np.isnan(significance.friedman(np.ones((4, 3))).statistic)
    assert np.isnan(significance.friedman(np.full((4, 3), np.nan)).p_value)
    assert np.isnan(significance.cohens_d(np.ones(3), np.ones(3)))
    assert np.isnan(significance.levene(np.ones(3), np.ones(3)))
    assert np.isnan(significance.levene(np.array([1.0, 2.0]), np.array([3.0, 3.5])))  # of two, no spread can be judged
    assert np.isnan(significance.wilcoxon(np.ones(3), np.ones(3)))


def test_effect_and_variance_tests_equal_scipys():
    rng = np.random.default_rng(2)
    a, b = rng.normal(2, 1, 16), rng.normal(1.5, 3, 16)
    assert significance.wilcoxon(a, b) == pytest.approx(stats.wilcoxon(a, b).pvalue)
    assert significance.levene(a, b) == pytest.approx(stats.levene(a / a.mean(), b / b.mean()).pvalue)
    # d and the two-sample t statistic are the same up to the sample size.
    t = stats.ttest_ind(a, b).statistic
    assert significance.cohens_d(a, b) == pytest.approx(t * np.sqrt(2 / 16))


def test_against_control_pairs_by_seed_whatever_the_order():
    rng = np.random.default_rng(3)
    seeds = np.arange(8)
    base = rng.normal(0.8, 0.02, 8)
    table = pd.DataFrame(
        {
            "method": ["erm"] * 8 + ["good"] * 8 + ["same"] * 7,
            "seed": [*seeds, *seeds[::-1], *seeds[:7]],
            "value": [*base, *(base[::-1] + 0.03), *base[:7]],
        }
    )
    out = significance.against_control(table, "erm").set_index("method")
    assert out.loc["good", "difference"] == pytest.approx(0.03)
    assert out.loc["good", "p_permutation"] == pytest.approx(2 / 2**8)
    assert out.loc["good", "p_permutation_holm"] == pytest.approx(4 / 2**8)
    assert bool(out.loc["good", "gain"])
    assert out.loc["same", "seeds"] == 7
    assert out.loc["same", "p_permutation"] == 1
    assert np.isnan(out.loc["same", "p_wilcoxon"])


def test_against_control_says_what_is_wrong():
    table = pd.DataFrame({"method": ["a", "a"], "seed": [1, 1], "value": [0.1, 0.2]})
    with pytest.raises(ValueError, match="seed 1 twice"):
        significance.against_control(table, "a")
    with pytest.raises(ValueError, match="no method 'erm'; there are a"):
        significance.against_control(table.drop_duplicates("seed"), "erm")
    with pytest.raises(ValueError, match="no column 'value'"):
        significance.against_control(table.drop(columns="value"), "a")


@pytest.mark.parametrize(
    "pair", [([0.4] * 4, [0.5] * 4), ([0.3, 0.3, 0.5, 0.5], [0.4] * 4), ([0.3, 0.3, 0.5, 0.5], [0.6, 0.6, 0.2, 0.2])]
)
def test_levene_says_nothing_where_all_values_lie_equally_far_from_their_median(pair):
    assert np.isnan(significance.levene(*map(np.array, pair)))
