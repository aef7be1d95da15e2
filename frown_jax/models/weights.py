"""Torchvision weights for our networks: by name, every key accounted for."""

from __future__ import annotations

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util

from frown_jax.models import torch_file
from frown_jax.models.resnet import ResNet18
from frown_jax.models.torch_file import WeightsError

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


def convert(tensors: dict[str, np.ndarray], model: nn.Module, source: str, head: str = "") -> dict[str, Any]:
    """Our variables from a torch state dict.

    Args:
      tensors: {torch name: array}.
      model: the network that they are for.
      source: name of the file, for messages.
      head: name of the module to leave out (a new head is trained); '' converts everything.

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
        if head and path[1] == head:
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


def load_resnet18(path: str, without_head: bool = True) -> dict[str, Any]:
    """Torchvision's ResNet18 (`resnet18-f37072fd.pth`, or the same as .safetensors).

    Args:
      path: local file.
      without_head: leave out the 1000-class `fc`.

    Raises:
      WeightsError: the file is not a ResNet18.
    """
    tensors = torch_file.read(path)
    classes = tensors["fc.weight"].shape[0] if "fc.weight" in tensors else 1000
    return convert(tensors, ResNet18(classes=classes), path, head="fc" if without_head else "")
