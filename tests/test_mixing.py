"""Mixed batches: who is mixed with whom, and what comes out."""

import jax
import numpy as np

from frown_jax.member import mixing
from frown_jax.member.mixing import Mixing

B = 40
# Not compiled anew at each call: every compiled program holds some 250 memory mappings of the process.
MIX = jax.jit(mixing.mix)
PARTNERS = jax.jit(mixing.partners)


def _batch():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(B, 4, 4, 3)).astype(np.float32)
    return x, rng.integers(0, 3, B), rng.integers(-1, 3, B), np.arange(B) < B - 5


def _mixing(alpha, selective=0.0, same_label=0.0):
    return Mixing(np.float32(alpha), np.float32(selective), np.float32(same_label))


def test_nothing_is_mixed_by_default():
    x, labels, groups, valid = _batch()
    found = MIX(jax.random.key(0), x, labels, groups, valid, mixing.nothing())
    np.testing.assert_array_equal(found.x, x)
    np.testing.assert_array_equal(found.partner, np.arange(B))
    assert float(found.share) == 1


def test_mixup_is_a_convex_combination_with_anybody_valid():
    x, labels, groups, valid = _batch()
    shares = []
    for seed in range(200):
        found = jax.tree.map(np.asarray, MIX(jax.random.key(seed), x, labels, groups, valid, _mixing(0.4)))
        np.testing.assert_allclose(found.x, found.share * x + (1 - found.share) * x[found.partner], atol=1e-6)
        assert valid[found.partner].all()
        shares.append(float(found.share))
    # Beta(.4, .4): mean 1/2, variance 1 / (4 (2 alpha + 1)).
    assert abs(np.mean(shares) - 0.5) < 0.09
    assert abs(np.var(shares) - 1 / (4 * 1.8)) < 0.03


def test_lisa_chooses_partners():
    _, labels, groups, valid = _batch()
    for same_label in (1.0, 0.0):
        for seed in range(20):
            key, m = jax.random.key(seed), _mixing(2.0, 1.0, same_label)
            partner = np.asarray(PARTNERS(key, labels, groups, valid, m))
            for i, j in enumerate(partner):
                if i == j:
                    continue
                assert valid[j]
                assert groups[i] >= 0
                assert groups[j] >= 0
                assert (labels[i] == labels[j]) == (same_label == 1)
                assert (groups[i] == groups[j]) == (same_label == 0)
    alone = np.asarray(PARTNERS(jax.random.key(0), labels, np.full(B, -1), valid, _mixing(2.0, 1.0, 1.0)))
    np.testing.assert_array_equal(alone, np.arange(B))


def test_padding_under_vmap_has_no_nan():
    x, labels, groups, valid = _batch()
    ms = jax.tree.map(lambda *v: np.stack(v), mixing.nothing(), _mixing(0.4))
    found = jax.vmap(lambda m: mixing.mix(jax.random.key(0), x, labels, groups, valid, m))(ms)
    np.testing.assert_array_equal(found.x[0], x)
    assert np.isfinite(found.x).all()
