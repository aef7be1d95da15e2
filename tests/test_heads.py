"""Adversaries and attributes as inputs, against slow numpy versions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from frown_jax.member import heads

B, K, G, F, D = 20, 3, 4, 6, 5


def _softmax(z):
    e = np.exp(z - z.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def _batch(seed=0):
    rng = np.random.default_rng(seed)
    groups = rng.integers(-1, G, B)
    membership = (groups[:, None] == np.arange(G)).astype(np.float32)
    features = rng.normal(size=(B, F)).astype(np.float32)
    return features, rng.integers(0, K, B), groups, membership, np.arange(B) < B - 2


def _params():
    return jax.tree.map(np.asarray, heads.initial(jax.random.key(0), heads.ADVERSARY, F, K, G, D))


def _adversary(kind, strength=0.7, conditional=0.0):
    return heads.Adversary(np.int32(kind), np.float32(strength), np.float32(conditional))


def _log_p(params, features, labels, conditional):
    p = jax.tree.map(lambda x: x[0], params[heads.ADVERSARY])
    out = (features @ p["kernel"] + p["bias"]).reshape(B, K, G)
    return np.log(_softmax(out[np.arange(B), labels if conditional else 0]))


@pytest.mark.parametrize("conditional", [0.0, 1.0])
def test_adversaries_against_numpy(conditional):
    features, labels, groups, membership, valid = _batch()
    params = _params()
    known = valid & (groups >= 0)
    log_p = _log_p(params, features, labels, conditional)
    cross = -log_p[known, groups[known]].mean()
    uniform = -log_p[known].mean()
    miss = 1 - np.exp(log_p[np.arange(B), np.maximum(groups, 0)])
    cells = [miss[known & (groups == g) & (labels == k)] for g in range(G) for k in range(K)]
    laftr = np.mean([c.mean() for c in cells if len(c)])
    expected = {
        heads.NO_ADVERSARY: 0.0,
        heads.CONFUSION: cross + 0.7 * uniform,
        heads.REVERSAL: cross - 0.7 * cross,
        heads.LAFTR: laftr - 0.7 * laftr,
    }
    for kind, value in expected.items():
        a = _adversary(kind, conditional=conditional)
        found = heads.adversary_loss(params, features, labels, membership[None], valid, a)
        assert float(found) == pytest.approx(value, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize("kind", [heads.CONFUSION, heads.REVERSAL, heads.LAFTR])
def test_each_side_sees_its_own_objective(kind):
    features, labels, _, membership, valid = _batch()
    params = _params()

    def total(params, features, strength):
        a = _adversary(kind, strength)
        return heads.adversary_loss(params, features, labels, membership[None], valid, a)

    grad = jax.grad(total, (0, 1))
    own, none = grad(params, jnp.asarray(features), 0.0)
    # Without a pull the features feel nothing, and the adversary trains all the same.
    assert np.abs(none).max() == 0
    assert np.abs(own[heads.ADVERSARY]["kernel"]).max() > 1e-4
    pulled, pull = grad(params, jnp.asarray(features), 0.5)
    np.testing.assert_allclose(pulled[heads.ADVERSARY]["kernel"], own[heads.ADVERSARY]["kernel"], atol=1e-7)
    _, twice = grad(params, jnp.asarray(features), 1.0)
    np.testing.assert_allclose(twice, 2 * pull, atol=1e-7)
    # A step of the features along their gradient does what the method says.
    moved = features - 0.5 * np.asarray(twice)
    before, after = (_log_p(params, x, labels, 0)[valid] for x in (features, moved))
    if kind == heads.CONFUSION:
        assert -after.mean() < -before.mean()
    else:
        known = membership[valid].sum(-1) > 0
        truth = membership[valid].argmax(-1)
        rows = np.arange(len(truth))
        assert (after[rows, truth][known].mean()) < before[rows, truth][known].mean()


def test_a_batch_without_known_groups_adds_nothing():
    features, labels, _, membership, valid = _batch()
    for kind in range(4):
        value, g = jax.value_and_grad(
            lambda x, kind=kind: heads.adversary_loss(
                _params(), x, labels, np.zeros_like(membership)[None], valid, _adversary(kind)
            )
        )(jnp.asarray(features))
        assert float(value) == 0
        assert np.isfinite(g).all()


def test_attribute_aware_is_a_linear_layer_before_the_head():
    rng = np.random.default_rng(0)
    params = jax.tree.map(np.asarray, heads.initial(jax.random.key(0), heads.AWARE, F, K, G, D))
    params |= {"fc": {"kernel": rng.normal(size=(F, K)), "bias": rng.normal(size=K)}}
    features, table = rng.normal(size=(B, F)), rng.normal(size=(G, D))
    groups, shares = rng.integers(-1, G, B), np.array([0.5, 0.3, 0.2, 0.0])
    u, fc = params[heads.AWARE], params["fc"]

    def slow(x, inputs):
        return (x + inputs @ u["kernel"] + u["bias"]) @ fc["kernel"] + fc["bias"]

    plain = features @ fc["kernel"] + fc["bias"]
    told = table[np.maximum(groups, 0)]
    np.testing.assert_allclose(heads.aware_logits(params, plain, told), slow(features, told), rtol=1e-4, atol=1e-5)
    found = _softmax(np.asarray(heads.marginalised(params, jnp.asarray(plain), groups, table, shares), np.float64))
    for i in range(B):
        if groups[i] >= 0:
            expected = _softmax(slow(features[i], table[groups[i]]))
        else:
            expected = sum(s * _softmax(slow(features[i], t)) for s, t in zip(shares, table, strict=True))
        np.testing.assert_allclose(found[i], expected, rtol=1e-4, atol=1e-6)


def test_nothing_beside_a_plain_network():
    assert heads.initial(jax.random.key(0), "", F, K, G, D) == {}
    assert heads.initial(jax.random.key(0), "domain", F, K, G, D) == {}


def test_several_adversaries_add_up():
    features, labels, _, membership, valid = _batch()
    params = jax.tree.map(np.asarray, heads.initial(jax.random.key(0), heads.ADVERSARY, F, K, G, D, adversaries=2))
    a = _adversary(heads.CONFUSION)
    both = np.stack([membership, np.roll(membership, 1, 1)])
    alone = [
        heads.adversary_loss(
            jax.tree.map(lambda x, i=i: x[i : i + 1], params), features, labels, both[i : i + 1], valid, a
        )
        for i in range(2)
    ]
    found = heads.adversary_loss(params, features, labels, both, valid, a)
    assert float(found) == pytest.approx(float(sum(alone)), rel=1e-5)
