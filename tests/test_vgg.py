"""VGG16 against torch."""

import pathlib

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from frown_jax.models import weights
from frown_jax.models.layers import MeanPool
from frown_jax.models.vgg import VGG, VGGBatchNorm
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


def test_vgg16_bn_equals_torchs():
    torch = pytest.importorskip("torch")
    net = torch_vgg.torch_model(2, 3, batch_norm=True)
    rng = np.random.default_rng(0)
    with torch.no_grad():
        for value in net.state_dict().values():
            if value.dtype == torch.float32:
                value += torch.from_numpy(rng.uniform(0.05, 0.3, tuple(value.shape)).astype(np.float32))
    tensors = {k: v.numpy() for k, v in net.state_dict().items()}
    variables = weights.convert(tensors, VGGBatchNorm(classes=3, width=2), "test")
    x = torch_resnet.images(4, 64, 0)
    with torch.no_grad():
        wanted = net.eval()(torch.from_numpy(x).permute(0, 3, 1, 2)).numpy()
    found = VGGBatchNorm(classes=3, width=2).apply(variables, jnp.asarray(x), train=False)[0]
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


@pytest.mark.parametrize(("hidden", "kept"), [(0, ("classifier_0", "classifier_3")), (16, ())])
def test_weights_of_a_vgg_without_what_must_be_new(tmp_path, hidden, kept):
    """The last layer always; the dense ones where the file has none, or of another width."""
    from safetensors.numpy import save_file

    tensors = torch_vgg.state_dict(2, 1000, 1)
    save_file(tensors, tmp_path / "whole.safetensors")
    save_file({k: v for k, v in tensors.items() if k.startswith("features")}, tmp_path / "trunk.safetensors")
    model = VGG(classes=5, width=2, hidden=hidden)
    whole = weights.load(str(tmp_path / "whole.safetensors"), model)["params"]
    trunk = weights.load(str(tmp_path / "trunk.safetensors"), model)["params"]
    convolutions = {f"features_{i}" for i in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)}
    assert set(whole) == convolutions | set(kept) and set(trunk) == convolutions
    np.testing.assert_array_equal(trunk["features_2"]["kernel"], tensors["features.2.weight"].transpose(2, 3, 1, 0))
    save_file({k: v for k, v in tensors.items() if k != "features.5.bias"}, tmp_path / "lacks.safetensors")
    with pytest.raises(weights.WeightsError, match=r"features\.5\.bias"):
        weights.load(str(tmp_path / "lacks.safetensors"), model)


def test_adaptive_pooling_windows_by_hand():
    """Five columns to three: windows 0-1, 1-3, 3-4."""
    x = jnp.asarray([1.0, 2.0, 3.0, 4.0, 6.0]).reshape(1, 1, 5, 1)
    np.testing.assert_allclose(MeanPool(3)(jnp.tile(x, (1, 5, 1, 1)))[0, 1, :, 0], [1.5, 3.0, 5.0])


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


@pytest.mark.slow
@pytest.mark.parametrize("size", [64, 224])
def test_torchvisions_own_width_equals_torchs(size):
    """138 million parameters, as in vgg16-397923af.pth."""
    pytest.importorskip("torch")
    tensors = torch_vgg.state_dict(64, 1000, 0)
    assert sum(v.size for v in tensors.values()) == 138_357_544
    model = VGG(classes=1000)
    variables = weights.convert(tensors, model, "test")
    x = torch_resnet.images(2, size, 0)
    found = np.asarray(jax.jit(lambda v, x: model.apply(v, x, train=False)[0])(variables, jnp.asarray(x)))
    wanted = torch_vgg.torch_outputs(64, 1000, size, 0)["eval"][:2]
    assert np.abs(found - wanted).max() <= 1e-4 * np.abs(wanted).max()
