"""Relevance against zennit 1.0.0: golden files, and live where torch and zennit are installed."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from frown_jax.explain import intercept
from frown_jax.explain.composites import COMPOSITES
from frown_jax.models import weights
from frown_jax.models.fold_norms import fold_batch_norms
from frown_jax.models.resnet import ResNet18
from frown_jax.models.vgg import VGG
from tests import torch_resnet, zennit_oracle
from tests.golden import RELEVANCE

GOLDEN = pathlib.Path(__file__).parent / "golden"
NETWORKS = {"resnet18": ResNet18, "vgg16": VGG}
TARGET = 1


def ours(name, width, size, seed, rules, dtype):
    """Logits and relevance of the same weights and images."""
    model = NETWORKS[name](classes=zennit_oracle.CLASSES, width=width, dtype=jnp.dtype(dtype))
    variables = weights.convert(zennit_oracle.tensors(name, width, seed), model, "test")
    variables = jax.tree.map(lambda a: jnp.asarray(a, dtype), variables)
    plain, folded = fold_batch_norms(model, variables)
    x = jnp.asarray(torch_resnet.images(4, size, seed), dtype)

    # Not compiled as a whole: composites share most operations.
    y, back = jax.vjp(lambda x: intercept.outputs(plain, folded, x, COMPOSITES[rules]), x)
    return [np.asarray(y), np.asarray(back(jnp.zeros_like(y).at[:, TARGET].set(1))[0])]


def check(found, wanted, tolerance):
    for a, b in zip(found, wanted, strict=True):
        assert np.abs(a - b).max() <= tolerance * np.abs(b).max()


@pytest.mark.parametrize(("case", "rules"), [(0, "EpsilonPlusFlat"), (1, "EpsilonGammaBox")])
def test_relevance_equals_zennits_in_float32(case, rules):
    name, width, size, seed = RELEVANCE[case]
    with np.load(GOLDEN / f"relevance_{name}_w{width}_{size}.npz") as stored:
        check(ours(name, width, size, seed, rules, "float32"), (stored["logits"], stored[rules]), 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("rules", zennit_oracle.COMPOSITES)
@pytest.mark.parametrize(("name", "width", "size", "seed"), RELEVANCE)
def test_relevance_equals_zennits_golden_files(name, width, size, seed, rules):
    with np.load(GOLDEN / f"relevance_{name}_w{width}_{size}.npz") as stored:
        wanted = stored["logits"], stored[rules]
    with jax.enable_x64(True):
        double = ours(name, width, size, seed, rules, "float64")
    assert double[1].dtype == np.float64
    # The files are float32: half a unit in the last place of the largest value.
    check(double, wanted, 1e-7)
    check(ours(name, width, size, seed, rules, "float32"), wanted, 1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("rules", zennit_oracle.COMPOSITES)
@pytest.mark.parametrize(("name", "width", "size", "seed"), RELEVANCE)
def test_relevance_equals_zennits(name, width, size, seed, rules):
    pytest.importorskip("torch")
    pytest.importorskip("click")
    pytest.importorskip("importlib.metadata").version("zennit")
    state, x = zennit_oracle.tensors(name, width, seed), torch_resnet.images(4, size, seed)
    wanted = zennit_oracle.relevance(name, width, state, x, rules, TARGET, "float64")
    with jax.enable_x64(True):
        check(ours(name, width, size, seed, rules, "float64"), wanted, 1e-10)
    check(ours(name, width, size, seed, rules, "float32"), wanted, 1e-4)
    with np.load(GOLDEN / f"relevance_{name}_w{width}_{size}.npz") as stored:
        check((stored["logits"], stored[rules]), wanted, 1e-7)
