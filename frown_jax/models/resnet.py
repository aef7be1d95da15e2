"""ResNet (He et al. 2016) as in torchvision, at any width.

Module names are torchvision's with dots as underscores, so that weights map by name (`models.weights`).
"""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from frown_jax.models.classifier import Classifier, Path
from frown_jax.models.layers import (
    Add,
    BatchNorm,
    Conv,
    Linear,
    MaxPool,
    MeanPool,
    ReLU,
    at_least_float32,
    dropout,
)

_NORMS = {"conv1": "bn1", "conv2": "bn2", "downsample_0": "downsample_1"}


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, projected where the shape changes."""

    features: int
    stride: int
    dtype: jnp.dtype
    lowering: str
    batch_norm: bool = True

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, mask: jax.Array | None) -> jax.Array:
        def conv(x: jax.Array, size: int, stride: int, name: str) -> jax.Array:
            layer = Conv(
                self.features, size, stride, not self.batch_norm, dtype=self.dtype, lowering=self.lowering, name=name
            )
            y = layer(x)
            if not self.batch_norm:
                return y
            return BatchNorm(dtype=self.dtype, name=_NORMS[name])(y, train=train, mask=mask)

        y = ReLU()(conv(x, 3, self.stride, "conv1"))
        y = conv(y, 3, 1, "conv2")
        if x.shape != y.shape:
            x = conv(x, 1, self.stride, "downsample_0")
        return ReLU()(Add()(x, y))


class ResNet(Classifier):
    """Residual network; features are the pooled last stage, [B, 8 * width], and the head is linear.

    Attributes:
      stage_sizes: blocks per stage.
      stem: 'imagenet', or 'small': 3x3 without stride or pooling, as is usual for images of 32 pixels.
    """

    stage_sizes: tuple[int, ...] = (2, 2, 2, 2)
    stem: str = "imagenet"
    batch_norm: bool = True

    @property
    def last_layer(self) -> str:
        """As Classifier's."""
        return "fc"

    def trunk(self, x: jax.Array, train: bool, mask: jax.Array | None, out: dict[str, jax.Array]) -> jax.Array:
        """As Classifier's; adds 'stage1' ... 'stage4'."""
        stages = len(self.stage_sizes)
        first_trained = {"all": 0, "last_block": stages, "head": stages + 1}[self.trainable]

        def live(part: int) -> bool:
            return train and part >= first_trained

        size, stride = (7, 2) if self.stem == "imagenet" else (3, 1)
        layer = Conv(
            self.width, size, stride, not self.batch_norm, dtype=self.dtype, lowering=self.lowering, name="conv1"
        )
        x = layer(x)
        if self.batch_norm:
            x = BatchNorm(dtype=self.dtype, name="bn1")(x, train=live(0), mask=mask)
        x = ReLU()(x)
        if self.stem == "imagenet":
            x = MaxPool(3, 2, 1, self.lowering)(x)
        for stage, blocks in enumerate(self.stage_sizes, 1):
            if stage == first_trained:
                x = jax.lax.stop_gradient(x)
            for block in range(blocks):
                stride = 2 if stage > 1 and block == 0 else 1
                name = f"layer{stage}_{block}"
                wide = self.width * 2 ** (stage - 1)
                block_ = BasicBlock(wide, stride, self.dtype, self.lowering, self.batch_norm, name=name)
                x = block_(x, train=live(stage), mask=mask)
            out[f"stage{stage}"] = x
        return MeanPool()(at_least_float32(x))[:, 0, 0]

    def head(
        self, x: jax.Array, rate: jax.Array | float, key: jax.Array | None, out: dict[str, jax.Array]
    ) -> jax.Array:
        """As Classifier's: dropout and 'fc'."""
        out["penultimate"] = x
        if key is not None:
            x = dropout(x, rate, key)
        return Linear(self.classes, dtype=x.dtype, name="fc")(x)

    def norms(self) -> dict[Path, tuple[Path, Path]]:
        """As Classifier's; names stay."""
        found: dict[Path, tuple[Path, Path]] = {("conv1",): (("bn1",), ("conv1",))}
        for stage, blocks in enumerate(self.stage_sizes, 1):
            for block in range(blocks):
                folder = f"layer{stage}_{block}"
                for own, norm in _NORMS.items():
                    if own != "downsample_0" or (stage > 1 and block == 0):
                        found[folder, own] = ((folder, norm), (folder, own))
        return found

    def is_trained(self, path: tuple[str, ...]) -> bool:
        """As Classifier's."""
        if self.trainable == "all" or path[0] == "fc":
            return True
        return self.trainable == "last_block" and path[0].startswith(f"layer{len(self.stage_sizes)}_")


ResNet18 = functools.partial(ResNet, stage_sizes=(2, 2, 2, 2))
ResNet10 = functools.partial(ResNet, stage_sizes=(1, 1, 1, 1))
