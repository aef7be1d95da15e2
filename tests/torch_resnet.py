"""An independent ResNet18 for the tests: torch modules wired as torchvision's, and seeded state dicts for it."""

import numpy as np


def shapes(width: int, classes: int) -> dict[str, tuple[int, ...]]:
    """Torchvision's ResNet18 state dict, {name: shape}, at any width."""
    out: dict[str, tuple[int, ...]] = {"conv1.weight": (width, 3, 7, 7)}

    def norm(name: str, channels: int) -> None:
        for leaf in ("weight", "bias", "running_mean", "running_var"):
            out[f"{name}.{leaf}"] = (channels,)

    norm("bn1", width)
    before = width
    for stage in range(1, 5):
        channels = width * 2 ** (stage - 1)
        for block in range(2):
            name = f"layer{stage}.{block}"
            out[f"{name}.conv1.weight"] = (channels, before, 3, 3)
            norm(f"{name}.bn1", channels)
            out[f"{name}.conv2.weight"] = (channels, channels, 3, 3)
            norm(f"{name}.bn2", channels)
            if stage > 1 and block == 0:
                out[f"{name}.downsample.0.weight"] = (channels, before, 1, 1)
                norm(f"{name}.downsample.1", channels)
            before = channels
    out["fc.weight"], out["fc.bias"] = (classes, 8 * width), (classes,)
    return out


def state_dict(width: int, classes: int, seed: int) -> dict[str, np.ndarray]:
    """Random weights at a scale that keeps activations near 1."""
    rng = np.random.default_rng(seed)
    out = {}
    for name, shape in shapes(width, classes).items():
        if name.endswith("running_var"):
            value = rng.uniform(0.5, 1.5, shape)
        elif len(shape) == 1:
            value = rng.normal(size=shape) * 0.2 + (1.0 if name.endswith("weight") else 0.0)
        else:
            value = rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))
        out[name] = value.astype(np.float32)
    return out


def images(count: int, size: int, seed: int) -> np.ndarray:
    """float32 [count, size, size, 3], standard normal."""
    return np.random.default_rng(seed).normal(size=(count, size, size, 3)).astype(np.float32)


def torch_model(width: int, classes: int, block: type | None = None):
    """`block`: what its blocks derive from, in place of nn.Module; every operation is a module, as zennit needs it."""
    import torch
    from torch import nn

    class Block(block or nn.Module):
        def __init__(self, before, channels, stride):
            super().__init__()
            self.conv1 = nn.Conv2d(before, channels, 3, stride, 1, bias=False)
            self.bn1 = nn.BatchNorm2d(channels)
            self.relu = nn.ReLU()
            self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
            self.bn2 = nn.BatchNorm2d(channels)
            self.downsample = None
            if stride != 1 or before != channels:
                self.downsample = nn.Sequential(
                    nn.Conv2d(before, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
                )

        def forward(self, x):
            y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
            return self.relu(y + (x if self.downsample is None else self.downsample(x)))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.conv1 = nn.Conv2d(3, width, 7, 2, 3, bias=False)
            self.bn1 = nn.BatchNorm2d(width)
            self.relu = nn.ReLU()
            self.maxpool = nn.MaxPool2d(3, 2, 1)
            before = width
            for stage in range(1, 5):
                channels = width * 2 ** (stage - 1)
                first = Block(before, channels, 1 if stage == 1 else 2)
                setattr(self, f"layer{stage}", nn.Sequential(first, Block(channels, channels, 1)))
                before = channels
            self.avgpool = nn.AdaptiveAvgPool2d((1, 1))
            self.fc = nn.Linear(8 * width, classes)

        def forward(self, x):
            x = self.maxpool(self.relu(self.bn1(self.conv1(x))))
            for stage in range(1, 5):
                x = getattr(self, f"layer{stage}")(x)
            return self.fc(torch.flatten(self.avgpool(x), 1))

    return Net()


def torch_outputs(width: int, classes: int, size: int, seed: int) -> dict[str, np.ndarray]:
    """Logits in evaluation and training mode, and the running statistics after one training pass."""
    import torch

    net = torch_model(width, classes)
    state = {k: torch.from_numpy(v) for k, v in state_dict(width, classes, seed).items()}
    net.load_state_dict(state, strict=False)
    x = torch.from_numpy(images(4, size, seed)).permute(0, 3, 1, 2)
    with torch.no_grad():
        evaluated = net.eval()(x).numpy()
        trained = net.train()(x).numpy()
    after = net.state_dict()
    kept = {
        f"{n}.{leaf}": after[f"{n}.{leaf}"].numpy()
        for n in ("bn1", "layer4.1.bn2")
        for leaf in ("running_mean", "running_var")
    }
    return {"eval": evaluated, "train": trained, **kept}
