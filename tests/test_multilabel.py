"""Losses, areas, penalties and thresholds of many labels an image, against slow versions in numpy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.metrics import roc_auc_score

from frown_jax.data.annotations import Annotations
from frown_jax.errors import MitigationError
from frown_jax.member import (
    class_weights,
    heads,
    losses,
    objective,
    outputs,
    penalties,
)
from frown_jax.metrics.auroc import multiclass_auroc, multilabel_auroc
from frown_jax.posthoc import thresholds

B, T, G = 12, 3, 2


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(B, T)).astype(np.float32) * 2
    labels = rng.integers(-1, 2, (B, T))
    labels[0] = -1  # an image of which nothing is known
    groups = rng.integers(0, G, B)
    return logits, labels, groups


def _entropy(z, y):
    p = 1 / (1 + np.exp(-np.float64(z)))
    return -np.log(p if y == 1 else 1 - p)


def test_masked_entries_have_no_loss_and_no_gradient(batch):
    logits, labels, _ = batch
    found = losses.binary_cross_entropy(jnp.asarray(logits), jnp.asarray(labels))
    wanted = [
        [_entropy(z, y) if y >= 0 else 0 for z, y in zip(*row, strict=True)] for row in zip(logits, labels, strict=True)
    ]
    np.testing.assert_allclose(found, wanted, rtol=1e-5, atol=1e-6)
    grad = jax.grad(lambda z: losses.binary_cross_entropy(z, jnp.asarray(labels)).sum())(jnp.asarray(logits))
    assert (np.asarray(grad)[labels < 0] == 0).all() and (np.asarray(grad)[labels >= 0] != 0).all()
    # Where a masked logit has overflowed, too.
    z = jnp.asarray(logits).at[0, 0].set(jnp.inf)
    grad = jax.grad(lambda z: losses.binary_cross_entropy(z, jnp.asarray(labels)).sum())(z)
    assert np.isfinite(np.asarray(grad)).all()


@pytest.mark.parametrize("normaliser", [losses.PER_COUNT, losses.PER_KNOWN, losses.PER_WEIGHT])
def test_weighted_loss_of_a_batch_against_a_slow_sum(batch, normaliser):
    logits, labels, groups = batch
    rng = np.random.default_rng(1)
    weights, of_label = rng.uniform(0.5, 2, B), rng.uniform(0.5, 2, (T, 2))
    valid = np.arange(B) < 10
    o = objective.plain(T, G)
    each, known = objective.label_losses(*map(jnp.asarray, (logits, labels, groups, of_label)), o)
    membership = jax.nn.one_hot(groups, G)
    q = objective.first_group_weights(o)
    found, _ = objective.pooled(each, jnp.asarray(weights), jnp.asarray(valid), normaliser, membership, q, o, known)
    total = below = 0.0
    for i in range(10):
        for t in range(T):
            y = labels[i, t]
            total += 0 if y < 0 else weights[i] * of_label[t, y] * _entropy(logits[i, t], y)
            here = {losses.PER_COUNT: 1, losses.PER_KNOWN: y >= 0, losses.PER_WEIGHT: weights[i] * (y >= 0)}
            below += here[normaliser]
    np.testing.assert_allclose(found, total / below, rtol=1e-5)


def test_a_batch_without_any_label_gives_zero_and_no_nan():
    labels = jnp.full((4, T), -1)
    o = objective.plain(T, G).replace(dro_rate=np.float32(0.1), group_sizes=np.ones(G, np.float32))

    def loss(z):
        each, known = objective.label_losses(z, labels, jnp.zeros(4, int), jnp.ones((T, 2)), o)
        args = jnp.ones(4), jnp.ones(4, bool), losses.PER_KNOWN, jnp.ones((4, G)), jnp.ones(G) / G, o, known
        return objective.pooled(each, *args)[0]

    value, grad = jax.value_and_grad(loss)(jnp.ones((4, T)))
    assert value == 0 and (np.asarray(grad) == 0).all()
    assert outputs.mean_loss(jnp.ones((4, T)), labels) == 0 and np.isnan(outputs.auroc(jnp.ones((4, T)), labels))


def test_the_focal_factor_is_of_each_label(batch):
    logits, labels, groups = batch
    o = objective.plain(T, G).replace(focal=np.float32(2))
    found, _ = objective.label_losses(*map(jnp.asarray, (logits, labels, groups, np.ones((T, 2)))), o)
    wanted = np.zeros(B)
    for i in range(B):
        for t in range(T):
            if labels[i, t] >= 0:
                e = _entropy(logits[i, t], labels[i, t])
                wanted[i] += (1 - np.exp(-e)) ** 2 * e / T
    np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=1e-6)


def test_heads_of_groups_train_the_own_groups_labels(batch):
    _, labels, groups = batch
    groups = groups.copy()
    groups[3] = -1
    logits = np.random.default_rng(2).normal(size=(B, G * T)).astype(np.float32)
    o = objective.plain(T, G)
    found, known = objective.label_losses(*map(jnp.asarray, (logits, labels, groups, np.ones((T, 2)))), o)
    for i in range(B):
        own = logits[i].reshape(G, T)
        z = own.sum(0) if groups[i] < 0 else own[groups[i]]
        wanted = sum(_entropy(z[t], labels[i, t]) for t in range(T) if labels[i, t] >= 0) / T
        np.testing.assert_allclose(found[i], wanted, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(known, (labels >= 0).mean(1))


def test_areas_leave_out_what_is_not_known(batch):
    logits, labels, _ = batch
    p = 1 / (1 + np.exp(-logits))
    areas = [roc_auc_score(labels[labels[:, t] >= 0, t], p[labels[:, t] >= 0, t]) for t in range(T)]
    np.testing.assert_allclose(multilabel_auroc(jnp.asarray(p), jnp.asarray(labels)), np.mean(areas), rtol=1e-5)
    one = np.where(labels[:, 0] >= 0, np.arange(B) % 3, -1)
    q = np.random.default_rng(3).dirichlet(np.ones(3), B).astype(np.float32)
    seen = one >= 0
    wanted = np.mean([roc_auc_score(one[seen] == k, q[seen, k]) for k in range(3)])
    np.testing.assert_allclose(multiclass_auroc(jnp.asarray(q), jnp.asarray(one)), wanted, rtol=1e-5)
    right = ((p > 0.5) == (labels == 1))[labels >= 0].mean()
    np.testing.assert_allclose(outputs.accuracy(jnp.asarray(logits), jnp.asarray(labels)), right, rtol=1e-6)


def _spread(values, groups):
    means = [values[groups == g].mean() for g in range(G) if (groups == g).any()]
    shares = [(groups == g).mean() for g in range(G) if (groups == g).any()]
    centre = np.dot(shares, means)
    return np.dot(shares, (np.array(means) - centre) ** 2)


def test_gap_penalties_of_labels_against_loops(batch):
    logits, labels, groups = batch
    p = 1 / (1 + np.exp(-logits))
    args = jnp.asarray(p), jnp.zeros((B, 2)), jnp.asarray(labels), jax.nn.one_hot(groups, G), jnp.ones(B, bool)
    opportunity = [_spread(p[labels[:, t] == 1, t], groups[labels[:, t] == 1]) for t in range(T)]
    odds = [_spread(p[labels[:, t] == v, t], groups[labels[:, t] == v]) for t in range(T) for v in (0, 1)]
    parity = [_spread(p[:, t], groups) for t in range(T)]
    for name, wanted in (("equal_opportunity", opportunity), ("equalized_odds", odds), ("demographic_parity", parity)):
        np.testing.assert_allclose(penalties.PENALTIES[name](*args), np.mean(wanted), rtol=1e-4, err_msg=name)
    mmd = []
    for t in range(T):
        known = labels[:, t] >= 0
        score = np.where(labels[:, t] == 1, p[:, t], 1 - p[:, t])
        parts = [score[known & (groups == g)] for g in range(G)]
        k = [[np.exp(-((a[:, None] - b) ** 2) / penalties.MINDIFF_LENGTH**2).mean() for b in parts] for a in parts]
        mmd.append(k[0][0] + k[1][1] - 2 * k[0][1])
    np.testing.assert_allclose(penalties.mindiff(*args), np.mean(mmd), rtol=1e-3, atol=1e-6)


def test_attributes_that_are_not_known_are_averaged_over_groups():
    rng = np.random.default_rng(4)
    params = {"aware": {"kernel": jnp.asarray(rng.normal(size=(G, 5))), "bias": jnp.zeros(5)}}
    params["fc"] = {"kernel": jnp.asarray(rng.normal(size=(5, T)))}
    logits, shares = rng.normal(size=(2, T)), np.array([0.3, 0.7])
    found = heads.marginalised(params, jnp.asarray(logits), jnp.array([1, -1]), jnp.eye(G), jnp.asarray(shares), True)
    shift = np.asarray(params["aware"]["kernel"]) @ np.asarray(params["fc"]["kernel"])
    p = 1 / (1 + np.exp(-(logits[:, None] + shift)))
    np.testing.assert_allclose(jax.nn.sigmoid(found[0]), p[0, 1], rtol=1e-5)
    np.testing.assert_allclose(jax.nn.sigmoid(found[1]), shares @ p[1], rtol=1e-5)


def test_class_weights_are_each_labels_own():
    labels = np.array([[1, 0], [0, 0], [0, 1], [0, -1]])
    data = Annotations(("AU1", "AU2"), labels, {}, {})
    np.testing.assert_allclose(class_weights.of("inverse", data), [[4 / 6, 2], [3 / 4, 3 / 2]])
    np.testing.assert_allclose(class_weights.of("none", data), np.ones((2, 2)))


def test_labels_are_columns_to_group_by():
    data = Annotations(
        ("AU1", "AU2"), np.array([[1, 0], [0, -1]]), {"gender": ("F", "M")}, {"gender": np.array([1, 0])}
    )
    assert data.groups("AU2").codes.tolist() == [0, -1]
    assert data.groups(("AU1", "gender")).names == (
        ("absent", "F"),
        ("absent", "M"),
        ("present", "F"),
        ("present", "M"),
    )
    with pytest.raises(MitigationError, match="no column 'emotion' to group by: one of AU1, AU2, gender"):
        data.groups("emotion")


def _f1(y, predicted):
    return 2 * (y & predicted).sum() / (y.sum() + predicted.sum())


def test_thresholds_against_every_cut():
    rng = np.random.default_rng(5)
    for _ in range(50):
        n = int(rng.integers(2, 30))
        p, y = rng.integers(0, 8, n) / 8, rng.integers(-1, 2, n)
        found = thresholds.best_f1(p, y)
        known = y >= 0
        if len(set(y[known])) < 2:
            assert found == 0.5
            continue
        scores = [_f1(y[known], p[known] >= cut) for cut in np.linspace(0, 1, 257)]
        assert _f1(y[known], p[known] >= found) == pytest.approx(max(scores))
