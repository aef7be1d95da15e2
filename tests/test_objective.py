"""Losses and penalties against slow numpy versions, in value and gradient."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.test_util import check_grads
from optax.losses import softmax_cross_entropy_with_integer_labels

from frown_jax.member import losses, objective
from frown_jax.member.objective import Objective, plain
from frown_jax.member.penalties import MMD_BANDWIDTHS, PENALTIES

B, K, G, F = 24, 4, 3, 5


def _batch(seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(B, K)).astype(np.float32)
    groups = rng.integers(-1, G, B).astype(np.int32)
    valid = np.arange(B) < B - 3
    return logits, rng.integers(0, K, B).astype(np.int32), groups, valid, rng.normal(size=(B, F)).astype(np.float32)


def _softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _onehot(groups):
    return (groups[:, None] == np.arange(G)).astype(np.float32)


def _o(**changes) -> Objective:
    changes = {k: np.float32(v) if np.isscalar(v) else v for k, v in changes.items()}
    return plain(K, G).replace(group_sizes=np.array([10, 20, 30], np.float32), **changes)


def _variance(values, groups):
    """sum_a share_a (mean_a - mean)^2 over the known groups."""
    known = groups >= 0
    if not known.any():
        return 0.0
    centre = values[known].mean(0)
    return sum(
        (groups == g).sum() / known.sum() * (values[groups == g].mean(0) - centre) ** 2 for g in set(groups[known])
    )


def _slow(name, p, features, labels, groups, valid):
    p, features, labels, groups = (x[valid] for x in (p, features, labels, groups))
    if name == "demographic_parity":
        return np.mean(_variance(p, groups))
    if name == "equal_opportunity":
        return np.mean([_variance(p[labels == k, k], groups[labels == k]) for k in set(labels)])
    if name == "equalized_odds":
        return np.mean([np.mean(_variance(p[labels == k], groups[labels == k])) for k in set(labels)])
    known = groups >= 0
    p, features, labels, groups = (x[known] for x in (p, features, labels, groups))
    present = sorted(set(groups))
    pairs = [(a, b) for a in present for b in present if a < b]
    if name == "hsic":
        n = len(groups)
        d = ((features[:, None] - features) ** 2).sum(-1)
        centring = np.eye(n) - 1 / n
        same = (groups[:, None] == groups).astype(float)
        return np.trace(np.exp(-d / d.mean()) @ centring @ same @ centring) / (n - 1) ** 2
    if name == "coral":
        total = 0.0
        for a, b in pairs:
            x, y = features[groups == a], features[groups == b]
            cx, cy = (np.cov(v.T) if len(v) > 1 else np.zeros((F, F)) for v in (x, y))
            total += ((x.mean(0) - y.mean(0)) ** 2).mean() + ((cx - cy) ** 2).mean()
        return total / len(pairs)
    x = features if name == "mmd" else p[np.arange(len(p)), labels][:, None]
    d = ((x[:, None] - x) ** 2).sum(-1)
    kernel = sum(np.exp(-b * d) for b in MMD_BANDWIDTHS) if name == "mmd" else np.exp(-d / 0.1**2)
    total = 0.0
    for a, b in pairs:
        i, j = groups == a, groups == b
        total += kernel[i][:, i].mean() + kernel[j][:, j].mean() - 2 * kernel[i][:, j].mean()
    return total / len(pairs)


@pytest.mark.parametrize("name", list(PENALTIES))
@pytest.mark.parametrize("seed", [0, 1])
def test_penalties_against_numpy(name, seed):
    logits, labels, groups, valid, features = _batch(seed)
    p = _softmax(logits.astype(np.float64))
    found = PENALTIES[name](jnp.asarray(p, jnp.float32), features, labels, _onehot(groups), valid)
    np.testing.assert_allclose(
        found, _slow(name, p, features.astype(np.float64), labels, groups, valid), rtol=2e-4, atol=1e-6
    )


@pytest.mark.parametrize("name", [n for n in PENALTIES if n != "hsic"])
def test_gradients_of_penalties(name):
    logits, labels, groups, valid, features = _batch()

    def f(logits, features):
        return PENALTIES[name](jax.nn.softmax(logits), features, labels, _onehot(groups), valid)

    check_grads(f, (jnp.asarray(logits), jnp.asarray(features)), order=1, modes=["rev"], atol=2e-2, rtol=2e-2, eps=1e-2)


def test_gradient_of_hsic_holds_the_bandwidth():
    _, labels, groups, valid, features = _batch()
    inside = (groups >= 0) & valid
    d = ((features[inside][:, None] - features[inside]) ** 2).sum(-1)
    scale = d.mean()

    def fixed(x):
        n = inside.sum()
        d = ((x[inside][:, None] - x[inside]) ** 2).sum(-1)
        c = np.eye(n) - 1 / n
        same = (groups[inside][:, None] == groups[inside]).astype(np.float32)
        return jnp.trace(jnp.exp(-d / scale) @ c @ same @ c) / (n - 1) ** 2

    f = PENALTIES["hsic"]
    ours = jax.grad(lambda x: f(None, x, labels, _onehot(groups), valid))(jnp.asarray(features))
    np.testing.assert_allclose(ours, jax.grad(fixed)(jnp.asarray(features)), atol=1e-6)


@pytest.mark.parametrize("name", list(PENALTIES))
@pytest.mark.parametrize("groups", [np.full(B, -1), np.zeros(B), np.r_[np.zeros(B - 1), 2]])
def test_absent_groups_and_classes_add_nothing_and_no_nan(name, groups):
    logits, _, _, valid, features = _batch()
    groups = groups.astype(np.int32)
    labels = np.zeros(B, np.int32)

    def f(logits, features):
        return PENALTIES[name](jax.nn.softmax(logits), features, labels, _onehot(groups), valid)

    value, gradients = jax.value_and_grad(f, (0, 1))(jnp.asarray(logits), jnp.asarray(features))
    assert np.isfinite(value)
    assert all(np.isfinite(g).all() for g in gradients)
    if len(set(groups[valid])) < 2:
        assert abs(value) < 1e-6


def test_mindiff_gives_tensorflow_model_remediations_vectors():
    # Its mmd_loss_test.py, unweighted; weights of examples are not ours.
    for member, prediction, expected in (
        ([1, 0, 1, 0, 1], [0.3, 0.1, 0.86, 0.06, 0.75], 1.083264),
        ([1, 0, 1, 0, 1], [0.12, 0.7, 0.2, 0.86, 0.32], 1.464054),
    ):
        score = 1 / (1 + np.exp(-np.array(prediction)))
        p = jnp.asarray(np.stack([1 - score, score], 1), jnp.float32)
        one = np.ones(5, int)
        found = PENALTIES["mindiff"](p, p, one, jnp.asarray(np.eye(2)[member], jnp.float32), one.astype(bool))
        assert float(found) == pytest.approx(expected, abs=3e-6)


def test_shapes_of_the_loss_against_numpy():
    logits, labels, groups, _, _ = _batch()
    z, rows = logits.astype(np.float64), np.arange(B)
    true = np.log(_softmax(z))[rows, labels]
    np.testing.assert_allclose(objective.example_losses(logits, labels, groups, _o(), K), -true, rtol=1e-5)
    focal = -((1 - np.exp(true)) ** 2.5) * true
    np.testing.assert_allclose(objective.example_losses(logits, labels, groups, _o(focal=2.5), K), focal, rtol=1e-4)
    margins = np.array([0.5, 0.1, 0.2, 0.3], np.float32)
    shifted = z.copy()
    shifted[rows, labels] -= margins[labels]
    expected = -np.log(_softmax(3 * shifted))[rows, labels]
    found = objective.example_losses(logits, labels, groups, _o(margins=margins, scale=3.0), K)
    np.testing.assert_allclose(found, expected, rtol=1e-4)
    offsets = np.random.default_rng(1).normal(size=(G + 1, K)).astype(np.float32)
    expected = -np.log(_softmax(z + offsets[np.where(groups >= 0, groups, G)]))[rows, labels]
    found = objective.example_losses(logits, labels, groups, _o(offsets=offsets), K)
    np.testing.assert_allclose(found, expected, rtol=1e-4)


def test_the_focal_loss_has_a_gradient_where_the_answer_is_certain():
    logits = jnp.array([[60.0, 0, 0, 0], [0, 60.0, 0, 0]])
    labels, groups = jnp.array([0, 0]), jnp.array([-1, -1])
    for gamma in (0.5, 1.0, 2.0):
        g = jax.grad(lambda z, gamma=gamma: objective.example_losses(z, labels, groups, _o(focal=gamma), K).sum())(
            logits
        )
        assert np.isfinite(g).all()


def _pooled(o, seed=0, weights=None):
    logits, labels, groups, valid, _ = _batch(seed)
    per = np.asarray(softmax_cross_entropy_with_integer_labels(logits, labels))
    weights = np.ones(B, np.float32) if weights is None else weights
    q = np.array([0.2, 0.3, 0.5], np.float32)
    loss, after = objective.pooled(per, weights, valid, losses.PER_COUNT, _onehot(groups), q, o)
    return per, groups, valid, q, float(loss), np.asarray(after)


def test_group_dro_against_numpy():
    adjustment = np.array([0.5, 0.0, 1.0], np.float32)
    per, groups, valid, q, loss, after = _pooled(_o(dro_rate=0.7, dro_adjustment=adjustment))
    means = np.array([per[valid & (groups == g)].mean() for g in range(G)])
    raised = q * np.exp(0.7 * (means + adjustment))
    np.testing.assert_allclose(after, raised / raised.sum(), rtol=1e-5)
    assert loss == pytest.approx((after * means).sum(), rel=1e-5)
    # An absent group keeps its weight before normalising, and adds nothing.
    membership = _onehot(np.where(groups == 1, -1, groups))
    loss, after = objective.pooled(per, np.ones(B), valid, 0, membership, q, _o(dro_rate=0.7))
    raised = q * np.where(np.arange(G) == 1, 1, np.exp(0.7 * means))
    np.testing.assert_allclose(after, raised / raised.sum(), rtol=1e-5)
    assert float(loss) == pytest.approx((np.asarray(after) * means)[[0, 2]].sum(), rel=1e-5)


def test_cvar_against_numpy():
    for alpha in (0.1, 0.35, 0.999):
        per, _, valid, _, loss, _ = _pooled(_o(cvar=alpha))
        worst = np.sort(per[valid])[::-1]
        budget = alpha * valid.sum()
        part = np.clip(budget - np.arange(len(worst)), 0, 1)
        assert loss == pytest.approx((part * worst).sum() / part.sum(), rel=1e-5)


def test_a_plain_objective_is_the_weighted_mean():
    weights = np.random.default_rng(0).random(B).astype(np.float32)
    per, _, valid, q, loss, after = _pooled(_o(), weights=weights)
    assert loss == pytest.approx((per * weights)[valid].sum() / valid.sum(), rel=1e-5)
    np.testing.assert_array_equal(after, q)


def _heads(mode, seed=0):
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=(B, G * K)).astype(np.float32)
    shift = rng.random((G, K)).astype(np.float32) + 0.5
    return logits, _o(reader=plain(K, G).reader.replace(heads=np.int32(mode), prior_shift=shift)), shift


def test_heads_of_groups_against_numpy():
    _, labels, groups, _, _ = _batch()
    rows = np.arange(B)
    for mode in range(4):
        logits, o, shift = _heads(mode)
        each = logits.reshape(B, G, K).astype(np.float64)
        joint = _softmax(logits.astype(np.float64)).reshape(B, G, K)
        found = np.asarray(objective.example_losses(logits, labels, groups, o, K))
        read = _softmax(np.asarray(objective.class_logits(jnp.asarray(logits), groups, o.reader, K), np.float64))
        for i in rows:
            g, y = groups[i], labels[i]
            if mode in (objective.INDEPENDENT, objective.INDEPENDENT_KNOWN):
                z = each[i, g] if g >= 0 else each[i].sum(0)
                expected = -np.log(_softmax(z)[y])
                reading = each[i].sum(0) if mode == objective.INDEPENDENT or g < 0 else each[i, g]
                probability = _softmax(reading)
            else:
                expected = -np.log(joint[i, g, y] if g >= 0 else joint[i, :, y].sum())
                shifted = joint[i] * shift
                probability = shifted.sum(0) if mode == objective.DISCRIMINATIVE else shifted.max(0)
                probability = probability / probability.sum()
            assert found[i] == pytest.approx(expected, rel=1e-4)
            np.testing.assert_allclose(read[i], probability, rtol=1e-4)


CHANGES = {
    "focal": 1.0,
    "scale": 2.0,
    "margins": np.full(K, 0.3, np.float32),
    "offsets": np.arange((G + 1) * K, dtype=np.float32).reshape(G + 1, K),
    "dro_rate": 0.1,
    "cvar": 0.3,
    **{f"penalty {i} {n}": i for i, n in enumerate(PENALTIES)},
}


@jax.jit
def _total(o, logits, features, labels, groups, valid):
    per = objective.example_losses(logits, labels, groups, o, K)
    q = objective.first_group_weights(o)
    membership = jax.nn.one_hot(groups, G)
    loss, _ = objective.pooled(per, jnp.ones(B), valid, losses.PER_COUNT, membership, q, o)
    return loss + objective.penalty(jax.nn.softmax(logits), features, labels, membership, valid, o)


_GRADIENTS = jax.jit(jax.value_and_grad(_total, (1, 2)))


@pytest.mark.parametrize("name", list(CHANGES))
def test_every_field_changes_loss_and_gradient(name):
    logits, labels, groups, valid, features = _batch()
    value = CHANGES[name]
    if name.startswith("penalty"):
        coefficients = np.zeros(len(PENALTIES), np.float32)
        coefficients[value] = 1
        changed = _o(penalties=coefficients)
    else:
        changed = _o(**{name: np.float32(value)})
    found = [_GRADIENTS(o, logits, features, labels, groups, valid) for o in (_o(), changed)]
    (a, da), (b, db) = found
    assert abs(a - b) > 1e-6
    assert max(np.abs(x - y).max() for x, y in zip(da, db, strict=True)) > 1e-6


def test_group_dros_adjustment_raises_its_groups_weight():
    _, _, groups, valid, _ = _batch()
    o = _o(dro_rate=0.1, dro_adjustment=np.eye(G)[0])
    after = objective.pooled(jnp.ones(B), jnp.ones(B), valid, 0, _onehot(groups), jnp.ones(G) / 3, o)[1]
    assert after[0] > after[1]
