"""An independent VGG16 for the tests: torch modules wired as torchvision's, and seeded state dicts for it."""

import numpy as np

LAYERS = (1, 1, 0, 2, 2, 0, 4, 4, 4, 0, 8, 8, 8, 0, 8, 8, 8, 0)


def torch_model(width: int, classes: int, batch_norm: bool = False):
    from torch import nn

    layers, before = [], 3
    for layer in LAYERS:
        if layer:
            norm = [nn.BatchNorm2d(width * layer)] if batch_norm else []
            layers += [nn.Conv2d(before, width * layer, 3, padding=1), *norm, nn.ReLU()]
            before = width * layer
        else:
            layers.append(nn.MaxPool2d(2, 2))

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.features = nn.Sequential(*layers)
            self.avgpool = nn.AdaptiveAvgPool2d((7, 7))
            hidden = 64 * width
            head = [nn.Linear(49 * before, hidden), nn.ReLU(), nn.Dropout(), nn.Linear(hidden, hidden), nn.ReLU()]
            self.classifier = nn.Sequential(*head, nn.Dropout(), nn.Linear(hidden, classes))

        def forward(self, x):
            return self.classifier(self.avgpool(self.features(x)).flatten(1))

    return Net()


def state_dict(width: int, classes: int, seed: int) -> dict[str, np.ndarray]:
    """Random weights at a scale that keeps activations near 1."""
    rng = np.random.default_rng(seed)
    shapes, before, index = {}, 3, 0
    for layer in LAYERS:
        if layer:
            shapes[f"features.{index}"] = (width * layer, before, 3, 3)
            before = width * layer
            index += 1
        index += 1
    hidden = 64 * width
    shapes["classifier.0"] = (hidden, 49 * before)
    shapes["classifier.3"], shapes["classifier.6"] = (hidden, hidden), (classes, hidden)
    out = {}
    for name, shape in shapes.items():
        out[f"{name}.weight"] = (rng.normal(size=shape) * np.sqrt(2 / np.prod(shape[1:]))).astype(np.float32)
        out[f"{name}.bias"] = (rng.normal(size=shape[0]) * 0.1).astype(np.float32)
    return out


def torch_outputs(width: int, classes: int, size: int, seed: int) -> dict[str, np.ndarray]:
    """Logits in evaluation mode."""
    import torch

    from tests.torch_resnet import images

    net = torch_model(width, classes)
    net.load_state_dict({k: torch.from_numpy(v) for k, v in state_dict(width, classes, seed).items()})
    with torch.no_grad():
        return {"eval": net.eval()(torch.from_numpy(images(4, size, seed)).permute(0, 3, 1, 2)).numpy()}
