"""VGG16 against torch."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from frown_jax.models import weights
from frown_jax.models.vgg import VGG, adaptive_average_pool
from tests import torch_resnet, torch_vgg
from tests.golden import VGGS

GOLDEN = pathlib.Path(__file__).parent / "golden"


@pytest.mark.parametrize(("width", "classes", "size", "seed"), VGGS)
def test_vgg16_equals_torchs(width, classes, size, seed):
    model = VGG(classes=classes, width=width)
    variables = weights.convert(torch_vgg.state_dict(width, classes, seed), model, "test")
    x = jnp.asarray(torch_resnet.images(4, size, seed))
    logits, out = jax.jit(lambda v, x: model.apply(v, x, train=False))(variables, x)
    with np.load(GOLDEN / f"vgg16_w{width}_{size}.npz") as expected:
        wanted = expected["eval"]
    assert np.abs(np.asarray(logits) - wanted).max() <= 1e-4 * np.abs(wanted).max()
    assert out["features"].shape == (4, 49 * 8 * width)


@pytest.mark.parametrize(("width", "classes", "size", "seed"), VGGS)
def test_golden_files_are_what_torch_gives(width, classes, size, seed):
    pytest.importorskip("torch")
    with np.load(GOLDEN / f"vgg16_w{width}_{size}.npz") as stored:
        fresh = torch_vgg.torch_outputs(width, classes, size, seed)["eval"]
        np.testing.assert_allclose(stored["eval"], fresh, rtol=1e-4, atol=1e-5)


def test_adaptive_pooling_windows_by_hand():
    """Five columns to three: windows 0-1, 1-3, 3-4."""
    x = jnp.asarray([1.0, 2.0, 3.0, 4.0, 6.0]).reshape(1, 1, 5, 1)
    np.testing.assert_allclose(adaptive_average_pool(jnp.tile(x, (1, 5, 1, 1)), 3)[0, 1, :, 0], [1.5, 3.0, 5.0])


@pytest.mark.parametrize(
    ("trainable", "first"), [("all", "features_0"), ("last_block", "features_24"), ("head", "classifier_0")]
)
def test_only_the_chosen_part_is_trained(trainable, first):
    """In the order of the layers, everything from `first` on has gradients and nothing before it."""
    model = VGG(classes=3, width=2, trainable=trainable)
    x = jax.random.normal(jax.random.key(1), (2, 32, 32, 3))
    params = jax.jit(lambda k: model.init(k, x, train=False))(jax.random.key(0))["params"]
    grads = jax.jit(jax.grad(lambda p: (model.apply({"params": p}, x, train=True)[0] ** 2).sum()))(params)

    def place(name):
        part, index = name.split("_")
        return part == "classifier", int(index)

    for name, grad in grads.items():
        moves = bool(jnp.abs(grad["kernel"]).max() > 0)
        assert moves == (place(name) >= place(first)) == model.is_trained((name,)), name
