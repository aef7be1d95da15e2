"""What must hold of every metric on any input, the degenerate ones too."""

import jax.numpy as jnp
import numpy as np
import pytest

from frown_jax.metrics import resample
from frown_jax.metrics.catalogue import METRICS
from frown_jax.metrics.outcomes import Attribute, Outcomes
from frown_jax.metrics.plan import Plan, groupings

hypothesis = pytest.importorskip("hypothesis")
st = pytest.importorskip("hypothesis.strategies")

K, M = 3, 3


@st.composite
def cases(draw):
    """Labels, probabilities and groups; often with one class, one group, all right or all wrong."""
    n = draw(st.integers(1, 40))
    numbers = st.integers(0, 2**31 - 1)
    rng = np.random.default_rng(draw(numbers))
    labels = rng.integers(0, draw(st.integers(1, K)), n)
    groups = rng.integers(-1 if draw(st.booleans()) else 0, draw(st.integers(1, M)), n)
    p = rng.dirichlet(np.ones(K), n).round(draw(st.integers(1, 3))) + 1e-3
    kind = draw(st.sampled_from(("any", "right", "wrong")))
    if kind != "any":
        p += 9 * np.eye(K)[labels if kind == "right" else (labels + 1) % K]
    return labels, p / p.sum(1, keepdims=True), groups


def _outcomes(labels, p, groups, vocabulary=("a", "b", "c")):
    attribute = Attribute(np.asarray(groups, np.int32), vocabulary)
    return Outcomes.of(labels, None, p, {"g": attribute}, targets=range(K))


def _values(outcomes, metrics=None, weights=None):
    plan = Plan.of(outcomes, groupings(outcomes, scored="all", fewest=1), metrics)
    values = plan.values(plan.tallies(outcomes, weights))[0]
    return dict(zip(plan.rows.itertuples(index=False, name=None), values, strict=True))


def _same(a, b):
    assert a.keys() == b.keys()
    for key in a:
        np.testing.assert_allclose(a[key], b[key], atol=1e-9, err_msg=str(key))


few = hypothesis.settings(max_examples=40, deadline=None)


@few
@hypothesis.given(cases())
def test_ranges_and_nan_only_where_nothing_is(case):
    outcomes = _outcomes(*case)
    plan = Plan.of(outcomes, groupings(outcomes, scored="all", fewest=1))
    tallies = plan.tallies(outcomes)
    values, n = plan.values(tallies)[0], plan.n(tallies)[0]
    for row, value, count in zip(plan.rows.itertuples(index=False), values, n, strict=True):
        metric = METRICS[row.metric]
        if np.isnan(value):
            continue
        assert count > 0, row
        assert metric.low - 1e-9 <= value <= metric.high + 1e-9, row
    everybody = dict(zip(plan.rows.itertuples(index=False, name=None), values, strict=True))
    assert np.isfinite(everybody["accuracy", "", "", ""])


@few
@hypothesis.given(cases(), st.permutations(range(M)))
def test_renaming_groups_changes_no_comparison(case, order):
    labels, p, groups = case
    renamed = np.where(groups >= 0, np.array(order)[groups], -1)
    a, b = _values(_outcomes(labels, p, groups)), _values(_outcomes(labels, p, renamed))
    compared = {k for k in a if METRICS[k[0]].of_attribute}
    _same({k: a[k] for k in compared}, {k: b[k] for k in compared})
    for g in range(M):
        assert a["accuracy", "g", "abc"[g], ""] == pytest.approx(b["accuracy", "g", "abc"[order[g]], ""], nan_ok=True)


@few
@hypothesis.given(cases(), st.permutations(range(K)))
def test_renaming_classes_changes_nothing_that_averages_over_them(case, order):
    labels, p, groups = case
    other = np.empty_like(p)
    other[:, order] = p
    # The first of equally probable classes is predicted: ties would not be renamed alike.
    best = np.sort(p, 1)
    hypothesis.assume((best[:, -1] - best[:, -2] > 1e-9).all())
    a, b = _values(_outcomes(labels, p, groups)), _values(_outcomes(np.array(order)[labels], other, groups))
    plain = {k for k in a if not k[3]}
    _same({k: a[k] for k in plain}, {k: b[k] for k in plain})


@few
@hypothesis.given(cases())
def test_every_image_twice_changes_nothing(case):
    labels, p, groups = case
    twice = _outcomes(np.tile(labels, 2), np.tile(p, (2, 1)), np.tile(groups, 2))
    once = _values(_outcomes(*case))
    _same(once, _values(twice))
    _same(once, _values(_outcomes(*case), weights=np.full(len(labels), 2.0)))


@few
@hypothesis.given(cases(), st.randoms(use_true_random=False))
def test_order_of_images_changes_nothing(case, random):
    order = list(range(len(case[0])))
    random.shuffle(order)
    _same(_values(_outcomes(*case)), _values(_outcomes(*(x[order] for x in case))))


@few
@hypothesis.given(cases())
def test_all_right_and_all_wrong(case):
    labels, _, groups = case
    right = _values(_outcomes(labels, np.eye(K)[labels], groups))
    assert right["accuracy", "", "", ""] == right["macro_f1", "", "", ""] == 1
    assert right["ece", "", "", ""] == right["brier", "", "", ""] == 0
    for name in ("accuracy_difference", "equal_opportunity_difference_max", "equalized_odds_difference_max"):
        assert right[name, "g", "", ""] in (0, pytest.approx(np.nan, nan_ok=True))
    assert right["generalized_equal_opportunity", "g", "", ""] in (1, pytest.approx(np.nan, nan_ok=True))
    wrong = _values(_outcomes(labels, np.eye(K)[(labels + 1) % K], groups))
    assert wrong["accuracy", "", "", ""] == wrong["macro_f1", "", "", ""] == 0
    assert wrong["ece", "", "", ""] == 1
    assert wrong["brier", "", "", ""] == 2


# Shapes are few here: each is a compilation.
@hypothesis.settings(max_examples=25, deadline=None)
@hypothesis.given(st.integers(0, 10_000))
def test_the_device_counts_as_numpy_does(seed):
    rng = np.random.default_rng(seed)
    n = 30
    labels = rng.integers(0, rng.integers(1, K + 1), n)
    p = rng.dirichlet(np.ones(K), n).round(1) + 1e-3
    outcomes = _outcomes(labels, p / p.sum(1, keepdims=True), rng.integers(-1, M, n))
    plan = Plan.of(outcomes, groupings(outcomes, scored="all", fewest=1))
    weights = np.concatenate([np.ones((n, 1)), rng.integers(0, 3, (n, 3))], 1).astype(np.float32)
    ((_, found),) = resample.replicates(outcomes, plan, np.zeros((1, 1), int), jnp.asarray(weights))
    for b in range(4):
        expected = plan.values(plan.tallies(outcomes, weights[:, b].astype(float)))[0]
        np.testing.assert_allclose(found[0, b], expected, rtol=2e-4, atol=2e-5)


def test_missing_labels_enter_nothing():
    rng = np.random.default_rng(0)
    truth, p = rng.integers(0, 2, (60, 3)).astype(float), rng.random((60, 3))
    truth[rng.random((60, 3)) < 0.3] = np.nan
    groups = rng.integers(0, 2, 60)
    a = Outcomes.of(truth, None, p, {"g": groups})
    scrambled = np.where(np.isnan(truth), rng.random((60, 3)), p)  # answers where nothing is known
    b = Outcomes.of(truth, None, scrambled, {"g": groups})
    plan = Plan.of(a, groupings(a))
    np.testing.assert_allclose(plan.values(plan.tallies(a)), plan.values(plan.tallies(b)))
    weights = rng.integers(0, 3, (60, 4)).astype(np.float32)
    ((_, found),) = resample.replicates(a, plan, np.zeros((1, 1), int), jnp.asarray(weights))
    for i in range(4):
        expected = plan.values(plan.tallies(a, weights[:, i].astype(float)))[0]
        np.testing.assert_allclose(found[0, i], expected, rtol=2e-4, atol=2e-5)
