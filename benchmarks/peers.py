"""What a user would run instead: the same networks in plain torch, as torchvision builds them."""

from __future__ import annotations

import time

import torch
from torch import nn

STYLES = ("eager", "channels_last", "amp", "compile")  # each includes the one before where it is of use


class _Block(nn.Module):
    def __init__(self, before: int, width: int, stride: int):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(before, width, 3, stride, 1, bias=False), nn.BatchNorm2d(width)
        self.conv2, self.bn2 = nn.Conv2d(width, width, 3, 1, 1, bias=False), nn.BatchNorm2d(width)
        self.relu = nn.ReLU(inplace=True)
        self.shortcut = nn.Identity()
        if before != width:
            self.shortcut = nn.Sequential(nn.Conv2d(before, width, 1, stride, bias=False), nn.BatchNorm2d(width))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        y = self.bn2(self.conv2(self.relu(self.bn1(self.conv1(x)))))
        return self.relu(y + self.shortcut(x))


def resnet18(width: int, classes: int) -> nn.Module:
    layers = [nn.Conv2d(3, width, 7, 2, 3, bias=False), nn.BatchNorm2d(width), nn.ReLU(True), nn.MaxPool2d(3, 2, 1)]
    before = width
    for stage in range(4):
        for block in range(2):
            after = width * 2**stage
            layers.append(_Block(before, after, 2 if stage and not block else 1))
            before = after
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(before, classes))


def vgg16(width: int, classes: int) -> nn.Module:
    layers: list[nn.Module] = []
    before = 3
    for layer in (1, 1, 0, 2, 2, 0, 4, 4, 4, 0, 8, 8, 8, 0, 8, 8, 8, 0):
        if not layer:
            layers.append(nn.MaxPool2d(2, 2))
            continue
        layers += [nn.Conv2d(before, layer * width, 3, padding=1), nn.ReLU(True)]
        before = layer * width
    head = [nn.AdaptiveAvgPool2d(7), nn.Flatten(), nn.Linear(49 * before, 64 * width), nn.ReLU(True), nn.Dropout()]
    return nn.Sequential(
        *layers, *head, nn.Linear(64 * width, 64 * width), nn.ReLU(True), nn.Dropout(), nn.Linear(64 * width, classes)
    )


NETWORKS = {"resnet18": resnet18, "vgg16": vgg16}


def throughput(style: str, network: str, width: int, side: int, batch: int, steps: int, repeats: int) -> dict:
    """Best images/s of AdamW steps on inputs that are already on the device.

    bfloat16 autocast under 'amp' and 'compile' on a GPU only: on a CPU they stay float32. 'compile' is torch.compile
    with CUDA graphs on a GPU.
    """
    device = "cuda" if torch.cuda.is_available() else "cpu"
    gpu = device == "cuda"
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = True
    torch.backends.cudnn.benchmark = True
    layout = torch.contiguous_format if style == "eager" else torch.channels_last
    model = NETWORKS[network](width, 7).to(device, memory_format=layout)
    x = torch.randn(batch, 3, side, side, device=device).contiguous(memory_format=layout)
    y = torch.randint(0, 7, (batch,), device=device)
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=gpu)
    run = torch.compile(model, mode="reduce-overhead" if gpu else "default") if style == "compile" else model
    amp = style in ("amp", "compile") and gpu

    def step() -> None:
        optimiser.zero_grad(set_to_none=True)
        with torch.autocast(device, torch.bfloat16, enabled=amp):
            loss = nn.functional.cross_entropy(run(x), y)
        loss.backward()
        optimiser.step()

    def several(count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            step()
        if gpu:
            torch.cuda.synchronize()
        return time.perf_counter() - began

    first = several(3)
    best = min(several(steps) for _ in range(repeats))
    peak = torch.cuda.max_memory_allocated() if gpu else None
    return {
        "images_per_s": steps * batch / best,
        "compile_s": max(0.0, first - 3 * best / steps),
        "peak_bytes": peak,
        "torch": torch.__version__,
    }
