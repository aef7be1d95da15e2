"""Looks at growing data: published bounds, and simulated paths that know nothing of the recursion."""

import numpy as np
import pytest
from scipy import stats

from frown_jax.metrics import sequential
from frown_jax.metrics.significance import holm


def test_bounds_of_two_looks_are_the_published_ones():
    """O'Brien and Fleming's spending function, two-sided 5 %, at half and all of the information.

    Jennison & Turnbull 2000, section 7.2: the first bound follows from the function alone.
    """
    first, last = sequential.bounds(0.05, np.array([0.5, 1.0]))
    spent = 2 * stats.norm.sf(stats.norm.isf(0.025) / np.sqrt(0.5))
    assert first == pytest.approx(stats.norm.isf(spent / 2), abs=2e-3)
    # The last bound by quadrature over the first look's score.
    z = np.linspace(-first, first, 20_001)

    def crosses(c):
        mean, sd = z * np.sqrt(0.5), np.sqrt(0.5)
        beyond = stats.norm.sf((c - mean) / sd) + stats.norm.cdf((-c - mean) / sd)
        return np.trapezoid(stats.norm.pdf(z) * beyond, z)

    assert crosses(last) == pytest.approx(0.05 - spent, abs=2e-4)


@pytest.mark.parametrize("information", [(0.25, 0.5, 1.0), (0.9, 0.95, 1.0), (0.5, 0.502, 1.0)])
def test_looking_often_keeps_the_error(information):
    time = np.array(information)
    rng = np.random.default_rng(0)
    steps = rng.standard_normal((200_000, len(time))) * np.sqrt(np.diff(time, prepend=0))
    scores = np.abs(np.cumsum(steps, 1) / np.sqrt(time))
    crossed = (scores > sequential.bounds(0.05, time)).any(1).mean()
    assert crossed == pytest.approx(0.05, abs=0.002)
    assert (scores > 1.96).any(1).mean() > crossed  # what looking without correction would do


def test_a_sequential_p_is_the_error_whose_bound_is_just_reached():
    time = np.array([0.25, 0.5, 1.0])
    for alpha in (0.2, 0.05, 0.01, 0.001):
        for look, bound in enumerate(sequential.bounds(alpha, time)):
            p = np.full(3, 0.9)
            p[look] = 2 * stats.norm.sf(bound)
            found = sequential.sequential_p(p, time)
            assert found[look] == pytest.approx(alpha, rel=0.03)
            assert (np.diff(found) <= 0).all()


def test_one_look_is_an_ordinary_test_and_nothing_is_no_evidence():
    assert sequential.sequential_p(np.array([0.012]), np.array([1.0]))[0] == pytest.approx(0.012)
    assert sequential.sequential_p(np.array([np.nan, 0.03]), np.array([0.5, 1.0]))[0] == pytest.approx(1)
    with pytest.raises(ValueError, match="rise"):
        sequential.sequential_p(np.array([0.1, 0.1]), np.array([0.5, 0.4]))


def test_holm_over_sequential_p_values_keeps_the_familywise_error():
    """Ten hypotheses without an effect, three looks: at least one false finding in at most 5 % of the families."""
    time, rng, families = np.array([0.25, 0.5, 1.0]), np.random.default_rng(1), 300
    wrong = 0
    for _ in range(families):
        steps = rng.standard_normal((10, 3)) * np.sqrt(np.diff(time, prepend=0))
        p = 2 * stats.norm.sf(np.abs(np.cumsum(steps, 1) / np.sqrt(time)))
        near = p.min(1) < 0.01  # others are far from Holm's 0.05 / 10
        found = np.array([sequential.sequential_p(row, time)[-1] if n else 1.0 for row, n in zip(p, near, strict=True)])
        wrong += holm(found).min() <= 0.05
    assert wrong / families <= 0.05 + 3 * np.sqrt(0.05 * 0.95 / families)
