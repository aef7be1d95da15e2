import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from frown_jax.models import weights
from frown_jax.models.layers import BatchNorm, dropout
from frown_jax.models.resnet import ResNet10, ResNet18
from tests import torch_resnet
from tests.golden import RESNETS

GOLDEN = pathlib.Path(__file__).parent / "golden"


def _variables(width, classes, seed):
    return weights.convert(
        torch_resnet.state_dict(width, classes, seed), ResNet18(classes=classes, width=width), "test"
    )


def _close(found, expected, tolerance=1e-4):
    """Relative to the largest expected value."""
    assert np.abs(np.asarray(found) - expected).max() <= tolerance * np.abs(expected).max()


def _compare(width, classes, size, seed, expected):
    model = ResNet18(classes=classes, width=width)
    variables = _variables(width, classes, seed)
    x = jnp.asarray(torch_resnet.images(4, size, seed))
    evaluated, out = jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, x)
    _close(evaluated, expected["eval"])
    assert out["features"].shape == (4, 8 * width)
    (trained, _), updated = jax.jit(lambda v, x: model.apply(v, x, train=True, mutable=["batch_stats"]))(variables, x)
    _close(trained, expected["train"])
    stats = updated["batch_stats"]
    for leaf, name in (("mean", "running_mean"), ("var", "running_var")):
        _close(stats["bn1"][leaf], expected[f"bn1.{name}"])
        _close(stats["layer4_1"]["bn2"][leaf], expected[f"layer4.1.bn2.{name}"])


@pytest.mark.parametrize(("width", "classes", "size", "seed"), RESNETS)
def test_resnet18_equals_torchs(width, classes, size, seed):
    with np.load(GOLDEN / f"resnet18_w{width}_{size}.npz") as expected:
        _compare(width, classes, size, seed, expected)


@pytest.mark.parametrize(("width", "classes", "size", "seed"), RESNETS)
def test_golden_files_are_what_torch_gives(width, classes, size, seed):
    pytest.importorskip("torch")
    fresh = torch_resnet.torch_outputs(width, classes, size, seed)
    with np.load(GOLDEN / f"resnet18_w{width}_{size}.npz") as stored:
        for name, value in fresh.items():
            _close(stored[name], value, 1e-5)


def test_padding_a_batch_changes_nothing():
    """A masked batch gives the logits, gradients and statistics of the unpadded one."""
    model = ResNet10(classes=3, width=4)
    variables = model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), train=False)
    x = jax.random.normal(jax.random.key(1), (5, 32, 32, 3))
    padded = jnp.concatenate([x, 100 * jnp.ones((3, 32, 32, 3))])
    mask = jnp.arange(8) < 5

    def run(params, x, mask):
        whole = {"params": params, "batch_stats": variables["batch_stats"]}
        (logits, _), updated = model.apply(whole, x, train=True, mask=mask, mutable=["batch_stats"])
        return jnp.sin(logits[:5]).sum(), (logits[:5], updated["batch_stats"])

    grad = jax.jit(jax.value_and_grad(run, has_aux=True))
    (_, plain), plain_grad = grad(variables["params"], x, None)
    (_, masked), masked_grad = grad(variables["params"], padded, mask)
    for a, b in zip(jax.tree.leaves((plain, plain_grad)), jax.tree.leaves((masked, masked_grad)), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-3, atol=1e-3)


def test_batch_norm_by_hand():
    x = jnp.asarray([[[[1.0]]], [[[3.0]]], [[[100.0]]]])
    norm = BatchNorm()
    variables = norm.init(jax.random.key(0), x, train=False)
    mask = jnp.asarray([True, True, False])
    y, updated = norm.apply(variables, x, train=True, mask=mask, mutable=["batch_stats"])
    # mean 2, variance 1 (biased) for the output; 2 (unbiased) into the running variance.
    np.testing.assert_allclose(y[:2, 0, 0, 0], [-1, 1], rtol=1e-5)
    np.testing.assert_allclose(updated["batch_stats"]["mean"], [0.2], rtol=1e-6)
    np.testing.assert_allclose(updated["batch_stats"]["var"], [0.9 + 0.1 * 2], rtol=1e-6)


def test_dropout_rate_may_be_traced_and_keeps_the_mean():
    x = jnp.ones((200, 500))
    for rate in (0.0, 0.3, 0.9):
        y = jax.jit(dropout)(x, rate, jax.random.key(0))
        assert abs(float((y == 0).mean()) - rate) < 0.01
        assert abs(float(y.mean()) - 1) < 0.03


@pytest.mark.parametrize("trainable", ["last_block", "head"])
def test_frozen_parts_get_no_gradient_and_keep_their_statistics(trainable):
    model = ResNet10(classes=3, width=4, trainable=trainable)
    variables = model.init(jax.random.key(0), jnp.zeros((1, 32, 32, 3)), train=False)
    x = jax.random.normal(jax.random.key(1), (4, 32, 32, 3))

    def loss(params):
        whole = {"params": params, "batch_stats": variables["batch_stats"]}
        (logits, _), updated = model.apply(whole, x, train=True, mutable=["batch_stats"])
        return (logits**2).sum(), updated["batch_stats"]

    grads, stats = jax.jit(jax.grad(loss, has_aux=True))(variables["params"])
    for name, part in grads.items():
        moves = any(float(jnp.abs(g).max()) > 0 for g in jax.tree.leaves(part))
        assert moves == model.is_trained((name,)), name
    for name, part in stats.items():
        same = all(
            bool((a == b).all())
            for a, b in zip(jax.tree.leaves(part), jax.tree.leaves(variables["batch_stats"][name]), strict=True)
        )
        assert same != model.is_trained((name,)), name
