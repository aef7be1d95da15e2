"""ResNet (He et al. 2016) as in torchvision, at any width.

Module names are torchvision's with dots as underscores, so that weights map by name (`models.weights`).
"""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp

from frown_jax.models import conv
from frown_jax.models.classifier import Classifier
from frown_jax.models.layers import BatchNorm, Conv, Linear, dropout

STEMS = ("imagenet", "small")


class BasicBlock(nn.Module):
    """Two 3x3 convolutions and a shortcut, projected where the shape changes."""

    features: int
    stride: int
    dtype: jnp.dtype
    lowering: str

    @nn.compact
    def __call__(self, x: jax.Array, *, train: bool, mask: jax.Array | None) -> jax.Array:
        conv_ = functools.partial(Conv, dtype=self.dtype, lowering=self.lowering)
        norm = functools.partial(BatchNorm, dtype=self.dtype)
        y = conv_(self.features, 3, self.stride, name="conv1")(x)
        y = nn.relu(norm(name="bn1")(y, train=train, mask=mask))
        y = conv_(self.features, 3, name="conv2")(y)
        y = norm(name="bn2")(y, train=train, mask=mask)
        if x.shape != y.shape:
            x = conv_(self.features, 1, self.stride, name="downsample_0")(x)
            x = norm(name="downsample_1")(x, train=train, mask=mask)
        return nn.relu(x + y)


class ResNet(Classifier):
    """Residual network; features are the pooled last stage, [B, 8 * width], and the head is linear.

    Attributes:
      stage_sizes: blocks per stage.
      stem: 'imagenet', or 'small': 3x3 without stride or pooling, as is usual for images of 32 pixels.
    """

    stage_sizes: tuple[int, ...] = (2, 2, 2, 2)
    stem: str = "imagenet"

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
        x = Conv(self.width, size, stride, dtype=self.dtype, lowering=self.lowering, name="conv1")(x)
        x = nn.relu(BatchNorm(dtype=self.dtype, name="bn1")(x, train=live(0), mask=mask))
        if self.stem == "imagenet":
            x = conv.max_pool2d(x, 3, 2, 1, self.lowering)
        for stage, blocks in enumerate(self.stage_sizes, 1):
            if stage == first_trained:
                x = jax.lax.stop_gradient(x)
            for block in range(blocks):
                stride = 2 if stage > 1 and block == 0 else 1
                name = f"layer{stage}_{block}"
                layer = BasicBlock(self.width * 2 ** (stage - 1), stride, self.dtype, self.lowering, name=name)
                x = layer(x, train=live(stage), mask=mask)
            out[f"stage{stage}"] = x
        return x.astype(jnp.float32).mean((1, 2))

    def head(
        self, x: jax.Array, rate: jax.Array | float, key: jax.Array | None, out: dict[str, jax.Array]
    ) -> jax.Array:
        """As Classifier's: dropout and 'fc'."""
        out["penultimate"] = x
        if key is not None:
            x = dropout(x, rate, key)
        return Linear(self.classes, name="fc")(x)

    def is_trained(self, path: tuple[str, ...]) -> bool:
        """As Classifier's."""
        if self.trainable == "all" or path[0] == "fc":
            return True
        return self.trainable == "last_block" and path[0].startswith(f"layer{len(self.stage_sizes)}_")


ResNet18 = functools.partial(ResNet, stage_sizes=(2, 2, 2, 2))
ResNet10 = functools.partial(ResNet, stage_sizes=(1, 1, 1, 1))
