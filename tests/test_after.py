"""What follows training, against scikit-learn, brute force and hand-worked numbers."""

import itertools

import numpy as np
import pytest
from scipy import special

from frown_jax.data.annotations import Annotations
from frown_jax.errors import MitigationError
from frown_jax.mitigations import registry
from frown_jax.posthoc import offsets, refit
from frown_jax.posthoc.adjustment import Adjustment, Outputs

N, F, K, G = 240, 6, 3, 2


def _set(seed, n=N, share=0.8):
    """Labels, an attribute that goes with them, and features that show both."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, K, n).astype(np.int32)
    race = np.where(rng.random(n) < share, labels % 2, 1 - labels % 2).astype(np.int32)
    x = rng.normal(size=(n, F)).astype(np.float32)
    x[:, 0] += labels
    x[:, 1] += 2.0 * race
    data = Annotations(("a", "b", "c"), labels, {"race": ("p", "q")}, {"race": race})
    logits = rng.normal(size=(n, K)).astype(np.float32)
    logits[np.arange(n), labels] += 1.2
    logits[:, 0] += 0.8 * race  # one group is pushed to class a
    return data, Outputs(logits, x)


TRAIN, VALIDATION = _set(0), _set(1, share=0.6)
DATA = TRAIN[0], VALIDATION[0]
SEEN = TRAIN[1], VALIDATION[1]


def _finish(text, seen=SEEN):
    found = Adjustment()
    for step in registry.adjusters(text, *DATA):
        found = step(seen, found)
    return found


@pytest.mark.parametrize(("l1", "l2"), [(0.02, 0.0), (0.1, 0.0), (0.0, 0.01), (0.0, 0.2)])
def test_last_layers_are_scikit_learns(l1, l2):
    from sklearn.linear_model import LogisticRegression

    data, seen = TRAIN
    x = (seen.penultimate - seen.penultimate.mean(0)) / seen.penultimate.std(0)
    weights = np.random.default_rng(3).integers(0, 3, N).astype(np.float32)
    own = (x[None], data.labels[None], weights[None], np.float32([l1]), np.float32([l2]))
    kernel, bias = refit.fit(*own, K, tolerance=1e-6)
    c = 1 / ((l1 or l2) * weights.sum())
    kind = {"l1_ratio": 1.0} if l1 else {"l1_ratio": 0.0}
    model = LogisticRegression(C=c, solver="saga", tol=1e-7, max_iter=20000, **kind)
    model.fit(x, data.labels, sample_weight=weights)
    np.testing.assert_allclose(special.softmax(x @ kernel[0] + bias[0], 1), model.predict_proba(x), atol=2e-3)
    np.testing.assert_array_equal(np.abs(kernel[0].T) < 1e-4, np.abs(model.coef_) < 1e-4)


def test_a_layer_on_standardised_features_is_one_on_features():
    x = VALIDATION[1].penultimate
    mean, sd = refit.scale_of(x)
    rng = np.random.default_rng(0)
    kernel, bias = rng.normal(size=(F, K)), rng.normal(size=K)
    own = refit.unscaled(kernel, bias, mean, sd)
    np.testing.assert_allclose(x @ own[0] + own[1], (x - mean) / sd @ kernel + bias, atol=1e-5)


def _accuracy_of_cells(finish, data, seen):
    right = finish.logits(seen, data).argmax(1) == data.labels
    cell = data.groups(("emotion", "race")).codes
    return np.array([right[cell == g].mean() for g in range(K * G)]), right.mean()


def test_dfr_balances_groups_and_needs_no_attributes_afterwards():
    finish = _finish("dfr(refits=5)")
    assert finish.offsets is None
    plain = _finish("crt(by=())")  # the whole training set, where race goes with the class
    test = _set(5, 3000, share=0.5)
    worst = [_accuracy_of_cells(f, *test)[0].min() for f in (plain, finish)]
    assert worst[1] > worst[0] + 0.05
    # A strong penalty leaves the bias alone.
    strong = _finish("dfr(c=0.0001, refits=2)")
    np.testing.assert_array_equal(strong.kernel, 0)
    with pytest.raises(MitigationError, match="hold out more"):
        registry.adjusters("dfr(fewest=1000)", *DATA)


def test_dfr_chooses_among_strengths_and_repeats():
    one, two, again = (_finish(f"dfr(c={c}, refits=3)") for c in ("(0.0001, 1.0)", "1.0", "(0.0001, 1.0)"))
    np.testing.assert_array_equal(one.kernel, again.kernel)
    assert (one.kernel != 0).any()
    assert two.kernel.shape == (F, K)


def test_crt_weighs_groups_alike():
    finish = _finish("crt(by='race', decay=0.01)")
    data, seen = TRAIN
    x = (seen.penultimate - seen.penultimate.mean(0)) / seen.penultimate.std(0)
    sizes = np.bincount(data.attributes["race"])
    weights = np.float32(1 / sizes[data.attributes["race"]])[None]
    kernel, bias = refit.fit(x[None], data.labels[None], weights, np.zeros(1), np.float32([0.01]), K)
    np.testing.assert_allclose(finish.logits(seen, None), x @ kernel[0] + bias[0], atol=1e-3)


def test_posthoc_adjustment_by_hand():
    prior = np.bincount(DATA[0].labels, minlength=K) / N
    finish = _finish("posthoc_logit_adjustment(tau=0.5)")
    z = VALIDATION[1].logits
    np.testing.assert_allclose(finish.logits(VALIDATION[1], None), z - 0.5 * np.log(prior), atol=1e-6)
    own = _finish("posthoc_logit_adjustment(by='race')")
    cell = np.zeros((G, K))
    np.add.at(cell, (DATA[0].attributes["race"], DATA[0].labels), 1)
    shares = (cell + 1) / (cell + 1).sum(1, keepdims=True)
    expected = z - np.log(shares[DATA[1].attributes["race"]])
    np.testing.assert_allclose(own.logits(VALIDATION[1], DATA[1]), expected, atol=1e-6)
    unknown = own.logits(VALIDATION[1], None)
    np.testing.assert_allclose(special.softmax(unknown, 1), special.softmax(z - np.log(prior), 1), atol=5e-3)
    # Bayes' rule: what was trained on one prior predicts as if trained on the uniform one.
    joint = np.random.default_rng(0).random((50, K)) + 0.1
    posterior = joint / joint.sum(1, keepdims=True) * prior
    posterior /= posterior.sum(1, keepdims=True)
    even = _finish("posthoc_logit_adjustment()").probabilities(Outputs(np.log(posterior), posterior), None)
    np.testing.assert_allclose(even, joint / joint.sum(1, keepdims=True), rtol=1e-5)


@pytest.mark.parametrize("objective", offsets.OBJECTIVES)
def test_group_offsets_keep_the_constraint_and_find_the_best_of_small_grids(objective, monkeypatch):
    data, seen = VALIDATION
    groups = data.attributes["race"]

    def measure(b, rows=slice(None)):
        right = (seen.logits + b[groups]).argmax(1)[rows] == data.labels[rows]
        by = [np.mean([right[(groups == g) & (data.labels == c)].mean() for c in range(K)]) for g in range(G)]
        return right.mean(), min(by) if objective == "worst_group" else min(by) / max(by)

    before = measure(np.zeros((G, K)))
    for most_loss in (0.0, 0.02):
        found = offsets.fit(seen.logits, data.labels, groups, G, objective, most_loss)
        after = measure(found)
        assert after[0] >= before[0] - most_loss - 1e-9
        assert after[1] > before[1] + {"worst_group": 0.02, "opportunity": 0.005}[objective]
    monkeypatch.setattr(offsets, "STEPS", 3)
    monkeypatch.setattr(offsets, "REACH", 0.8)
    grid = [np.reshape(b, (G, K)) for b in itertools.product((-0.8, 0, 0.8), repeat=G * K)]
    every = np.array([measure(b) for b in grid])
    best = every[every[:, 0] >= before[0] - 0.02, 1].max()
    found = measure(offsets.fit(seen.logits, data.labels, groups, G, objective, 0.02))[1]
    assert found >= before[1]
    assert best - 0.05 <= found <= best + 1e-9  # coordinate ascent may stop short of it


def test_images_of_no_group_keep_their_logits():
    finish = _finish("group_offsets()")
    data, seen = VALIDATION
    assert np.abs(finish.offsets[:-1]).max() > 0
    np.testing.assert_array_equal(finish.logits(seen, None), seen.logits)
    assert (finish.logits(seen, data) != seen.logits).any()


def test_inverted_images_are_mixed_in():
    a, b = VALIDATION[1], TRAIN[1]
    found = _finish("invert_test(p=0.25)").probabilities(a, None, b)
    expected = 0.75 * special.softmax(a.logits, 1) + 0.25 * special.softmax(b.logits, 1)
    np.testing.assert_allclose(found, expected, atol=1e-6)


def test_steps_follow_each_other_and_are_kept(tmp_path):
    text = "dfr(refits=2) + posthoc_logit_adjustment(by='race') + group_offsets() + invert_test(p=0.1)"
    finish = _finish(text)
    path = tmp_path / "finish.npz"
    path.write_bytes(finish.to_bytes())
    again = Adjustment.read(path)
    for seen in SEEN:
        np.testing.assert_array_equal(
            again.probabilities(seen, DATA[0], seen), finish.probabilities(seen, DATA[0], seen)
        )
    assert (again.by, again.drop, again.inverted) == (("race",), (), 0.1)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("dfr(c=0)", "dfr: c is 0.0: above 0"),
        ("dfr(by='hair')", "dfr: there is no column 'hair'"),
        ("crt(decay=-1)", "crt: decay is -1"),
        ("group_offsets(objective='best')", "group_offsets: objective is 'best': one of worst_group, opportunity"),
        ("group_offsets(most_loss=2)", "most_loss is 2"),
        ("group_offsets(by=())", r"by=\(\) has one group"),
        ("invert_test(p=2)", "invert_test: p is 2"),
        ("posthoc_logit_adjustment(tau=-1)", "tau is -1"),
    ],
)
def test_bad_settings_are_told_before_training(text, message):
    with pytest.raises(MitigationError, match=message):
        registry.adjusters(text, *DATA)


def test_two_last_layers_are_one_too_many():
    for text in ("dfr() + crt()", "domain_independent() + dfr()"):
        with pytest.raises(MitigationError, match="both bring a head"):
            registry.head_of(text)
    with pytest.raises(MitigationError, match="give both the same `by`"):
        _finish("posthoc_logit_adjustment(by='race') + group_offsets(by=('race', 'emotion'))")
