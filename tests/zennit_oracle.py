"""Relevance from zennit 1.0.0, an independent implementation (LGPL, a test dependency only).

zennit imports torchvision, whose wheels need a matching torch; four stub modules stand for it. Install with

  python -m pip install click && python -m pip install --no-deps --ignore-requires-python zennit==1.0.0
"""

import sys
import types

import numpy as np

from frown_jax.explain.composites import HIGH, LOW
from tests import torch_resnet, torch_vgg

CLASSES = 3
COMPOSITES = (
    "EpsilonPlus",
    "EpsilonPlusFlat",
    "EpsilonAlpha2Beta1",
    "EpsilonAlpha2Beta1Flat",
    "EpsilonGammaBox",
    "ExcitationBackprop",
)


def import_zennit():
    """The package, with stubs for torchvision.

    Raises:
      ImportError: no zennit or no torch.
    """
    from torch import nn

    def class_(name: str) -> type:
        return type(name, (nn.Module,), {})

    stubs = {
        "torchvision": {},
        "torchvision.ops": {"FrozenBatchNorm2d": class_("FrozenBatchNorm2d")},
        "torchvision.models": {},
        "torchvision.models.resnet": {"BasicBlock": class_("BasicBlock"), "Bottleneck": class_("Bottleneck")},
    }
    for name, contents in stubs.items():
        if name not in sys.modules:
            sys.modules[name] = types.ModuleType(name)
            for key, value in contents.items():
                setattr(sys.modules[name], key, value)
            parent, _, child = name.rpartition(".")
            if parent:
                setattr(sys.modules[parent], child, sys.modules[name])
    import zennit
    import zennit.attribution
    import zennit.composites
    import zennit.torchvision

    return zennit


def tensors(network: str, width: int, seed: int) -> dict[str, np.ndarray]:
    """Weights, by torchvision's names."""
    source = torch_resnet if network == "resnet18" else torch_vgg
    return source.state_dict(width, CLASSES, seed)


def network(name: str, width: int, state: dict[str, np.ndarray], dtype: str):
    """A torch network with these weights, for evaluation."""
    import torch

    import_zennit()
    if name == "resnet18":
        net = torch_resnet.torch_model(width, CLASSES, sys.modules["torchvision.models.resnet"].BasicBlock)
    else:
        net = torch_vgg.torch_model(width, CLASSES)
    net.load_state_dict({k: torch.from_numpy(v) for k, v in state.items()}, strict=False)
    for parameter in net.parameters():
        parameter.requires_grad_(False)
    return net.eval().to(getattr(torch, dtype))


def composite(name: str, network: str, dtype: str):
    """A composite of zennit's with the canonisers that a network needs."""
    import torch

    zennit = import_zennit()
    canonizers = [zennit.torchvision.ResNetCanonizer()] if network == "resnet18" else []
    bounds = {}
    if name == "EpsilonGammaBox":
        bounds = {
            k: torch.tensor(v, dtype=getattr(torch, dtype)).reshape(1, 3, 1, 1)
            for k, v in (("low", LOW), ("high", HIGH))
        }
    return getattr(zennit.composites, name)(canonizers=canonizers, **bounds)


def relevance(
    name: str, width: int, state: dict[str, np.ndarray], x: np.ndarray, rules: str, target: int, dtype: str
) -> tuple[np.ndarray, np.ndarray]:
    """Logits [B, K] and relevance [B, H, W, 3] of one output, beginning with 1; x is [B, H, W, 3]."""
    import torch

    zennit = import_zennit()
    net = network(name, width, state, dtype)
    data = torch.from_numpy(x).to(getattr(torch, dtype)).permute(0, 3, 1, 2)
    start = torch.zeros(len(x), CLASSES, dtype=data.dtype)
    start[:, target] = 1
    with zennit.attribution.Gradient(net, composite(rules, name, dtype)) as attributor:
        logits, found = attributor(data, start)
    return logits.detach().numpy(), found.permute(0, 2, 3, 1).detach().numpy()
