"""Torchvision weights for our networks: by name, every key accounted for."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from frown_jax.errors import WeightsError
from frown_jax.models import torch_file
from frown_jax.models.classifier import Classifier
from frown_jax.models.vgg import DENSE, VGG

_LEAVES = {"kernel": "weight", "scale": "weight", "bias": "bias", "mean": "running_mean", "var": "running_var"}
_IGNORED_SUFFIX = "num_batches_tracked"


def torch_name(path: tuple[str, ...]) -> str:
    """Torch's name of one of our variables: ('layer1_0', 'conv1', 'kernel') is 'layer1.0.conv1.weight'."""
    *modules, leaf = path
    return ".".join([m.replace("_", ".") for m in modules] + [_LEAVES[leaf]])


def _to_ours(leaf: str, tensor: np.ndarray) -> np.ndarray:
    tensor = np.asarray(tensor, np.float32)
    if leaf == "kernel":
        return tensor.transpose(2, 3, 1, 0) if tensor.ndim == 4 else tensor.T
    return tensor


def convert(
    tensors: dict[str, np.ndarray], model: nn.Module, source: str, without: tuple[str, ...] = ()
) -> dict[str, Any]:
    """Our variables from a torch state dict.

    Args:
      tensors: {torch name: array}.
      model: the network that they are for.
      source: name of the file, for messages.
      without: names of modules to leave out (they are trained anew).

    Returns:
      {'params': ..., 'batch_stats': ...} of float32 arrays.

    Raises:
      WeightsError: missing or unexpected keys, or a wrong shape; names the key and both shapes.
    """
    shapes = jax.eval_shape(lambda k: model.init(k, jnp.zeros((1, 64, 64, 3)), train=False), jax.random.key(0))
    out, used = {}, set()
    missing = []
    for path, shape in traverse_util.flatten_dict(dict(shapes)).items():
        name = torch_name(path[1:])
        used.add(name)
        if path[1] in without:
            continue
        if name not in tensors:
            missing.append(name)
            continue
        array = _to_ours(path[-1], tensors[name])
        if array.shape != shape.shape:
            expected = shape.shape
            if path[-1] == "kernel":
                expected = (
                    tuple(np.zeros(expected).transpose(3, 2, 0, 1).shape) if len(expected) == 4 else expected[::-1]
                )
            raise WeightsError(f"{source}: {name} has shape {tuple(tensors[name].shape)}, the network needs {expected}")
        if not np.isfinite(array).all():
            raise WeightsError(f"{source}: {name} holds values that are not finite")
        out[path] = array
    if missing:
        raise WeightsError(f"{source}: {len(missing)} keys are missing: {', '.join(missing[:5])}")
    extra = [k for k in tensors if k not in used and not k.endswith(_IGNORED_SUFFIX)]
    if extra:
        raise WeightsError(f"{source}: {len(extra)} unexpected keys: {', '.join(extra[:5])}")
    return traverse_util.unflatten_dict(out)


def load(path: str, model: Classifier) -> dict[str, Any]:
    """Torchvision's weights for a network, but for its last layer, which is always trained anew.

    Args:
      path: local file: `resnet18-f37072fd.pth`, `vgg16-397923af.pth`, or the same tensors as .safetensors. Of a VGG the
        dense layers are optional: a file of the convolutions alone (`features.0.weight` to `features.28.bias`) will do,
        and dense layers of another width than the model's are left out.
      model: ResNet18 or VGG, of torchvision's width.

    Returns:
      {'params': ..., 'batch_stats': ...} of float32 arrays; what is not in there begins at random.

    Raises:
      WeightsError: the file is unreadable or of another network; names the key and the shapes.
    """
    tensors = torch_file.read(path)
    if not isinstance(model, VGG):
        return convert(tensors, model, path, (model.last_layer,))
    width = tensors["classifier.0.weight"].shape[0] if "classifier.0.weight" in tensors else 0
    return convert(tensors, model, path, (model.last_layer,) if width == model.hidden_width else DENSE)
