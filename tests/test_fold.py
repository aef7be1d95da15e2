"""Batch norms folded into convolutions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from frown_jax.models.fold_norms import fold_batch_norms
from frown_jax.models.resnet import ResNet10, ResNet18
from frown_jax.models.vgg import VGG, VGGBatchNorm

NETWORKS = {"resnet18": ResNet18, "vgg16_bn": VGGBatchNorm}


def moved(model, side=32, seed=0):
    """Variables with batch norms that do something, float64."""
    variables = model.init(jax.random.key(seed), jnp.zeros((1, side, side, 3)), train=False)
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda a: np.asarray(a, np.float64) + rng.uniform(0.05, 0.3, a.shape), dict(variables))


@pytest.mark.parametrize("name", NETWORKS)
def test_the_folded_network_predicts_the_same(name):
    with jax.enable_x64(True):
        model = NETWORKS[name](classes=3, width=2, dtype=jnp.float64)
        variables = moved(model)
        x = np.random.default_rng(1).normal(size=(4, 32, 32, 3))
        wanted = np.asarray(model.apply(variables, x, train=False)[0])
        plain, folded = fold_batch_norms(model, variables)
        assert not plain.batch_norm
        assert jax.tree.map(np.shape, folded["params"]) == jax.tree.map(
            np.shape, dict(plain.init(jax.random.key(0), x, train=False)["params"])
        )
        found = np.asarray(plain.apply(folded, x, train=False)[0])
    assert found.dtype == np.float64
    np.testing.assert_allclose(found, wanted, rtol=1e-10, atol=1e-10 * np.abs(wanted).max())


def test_members_fold_together_as_alone():
    model = ResNet10(classes=3, width=2)
    alone = [moved(model, seed=s) for s in range(3)]
    stacked = jax.tree.map(lambda *a: np.stack(a), *alone)
    together = fold_batch_norms(model, stacked)[1]
    for i, variables in enumerate(alone):
        one = fold_batch_norms(model, variables)[1]
        jax.tree.map(lambda a, b, i=i: np.testing.assert_allclose(a[i], b, rtol=1e-6), together, one)


def test_a_network_without_batch_norms_stays():
    model = VGG(classes=3, width=2)
    variables = model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), train=False)
    plain, same = fold_batch_norms(model, variables)
    assert plain == model and same["params"] is variables["params"]
