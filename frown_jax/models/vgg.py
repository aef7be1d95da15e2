"""VGG16 (Simonyan & Zisserman 2015) as in torchvision, at any width.

Module names are torchvision's with dots as underscores, so that weights map by name.
"""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp

from frown_jax.models.classifier import Classifier, Path
from frown_jax.models.layers import (
    BatchNorm,
    Conv,
    Linear,
    MaxPool,
    MeanPool,
    ReLU,
    at_least_float32,
    dropout,
)

# Channels in units of the width; 'pool' halves the side. Torchvision's configuration 'D'.
LAYERS = (1, 1, "pool", 2, 2, "pool", 4, 4, 4, "pool", 8, 8, 8, "pool", 8, 8, 8, "pool")
_LAST_BLOCK = {False: 24, True: 34}  # torchvision's index of the first convolution after the fourth pooling
_POOLED = 7  # side of the features that the head sees
_HIDDEN = 64  # of the head, in units of the width
DENSE = ("classifier_0", "classifier_3", "classifier_6")


class VGG(Classifier):
    """VGG16; features are [B, 7 * 7 * 8 * width], channels first as torch flattens them; the head is three dense.

    'last_block' trains the convolutions after the fourth pooling, and the head.

    Attributes:
      hidden: width of the dense layers; 0 is 64 times `width`, torchvision's.
      batch_norm: torchvision's vgg16_bn, which also learns from scratch.
    """

    hidden: int = 0
    batch_norm: bool = False

    @property
    def last_layer(self) -> str:
        """As Classifier's."""
        return DENSE[-1]

    @property
    def hidden_width(self) -> int:
        """Of the dense layers."""
        return self.hidden or _HIDDEN * self.width

    def trunk(self, x: jax.Array, train: bool, mask: jax.Array | None, out: dict[str, jax.Array]) -> jax.Array:
        """As Classifier's."""
        index = 0
        for layer in LAYERS:
            if layer == "pool":
                x = MaxPool(2, 2, lowering=self.lowering)(x)
                index += 1
                continue
            if index == _LAST_BLOCK[self.batch_norm] and self.trainable == "last_block":
                x = jax.lax.stop_gradient(x)
            name = f"features_{index}"
            x = Conv(self.width * int(layer), 3, bias=True, dtype=self.dtype, lowering=self.lowering, name=name)(x)
            if self.batch_norm:
                live = train and self.is_trained((name,))
                x = BatchNorm(dtype=self.dtype, name=f"features_{index + 1}")(x, train=live, mask=mask)
            x = ReLU()(x)
            index += 2 + self.batch_norm
        x = MeanPool(_POOLED)(x)
        return jnp.moveaxis(x, 3, 1).reshape(x.shape[0], -1)

    def head(
        self, x: jax.Array, rate: jax.Array | float, key: jax.Array | None, out: dict[str, jax.Array]
    ) -> jax.Array:
        """As Classifier's: dropout (torchvision's rate is 0.5) after both hidden layers."""
        for index in (0, 3):
            x = ReLU()(Linear(self.hidden_width, dtype=self.dtype, name=f"classifier_{index}")(x))
            if key is not None:
                x = dropout(x, rate, jax.random.fold_in(key, index))
        x = out["penultimate"] = at_least_float32(x)
        return Linear(self.classes, dtype=x.dtype, name=DENSE[-1])(x)

    def norms(self) -> dict[Path, tuple[Path, Path]]:
        """As Classifier's; torchvision numbers the layers of the network without batch norms otherwise."""
        found: dict[Path, tuple[Path, Path]] = {}
        plain = index = 0
        for layer in LAYERS:
            if layer != "pool":
                found[(f"features_{index}",)] = ((f"features_{index + 1}",), (f"features_{plain}",))
            plain, index = plain + (1 if layer == "pool" else 2), index + (1 if layer == "pool" else 3)
        return found

    def is_trained(self, path: tuple[str, ...]) -> bool:
        """As Classifier's."""
        part, _, index = path[0].partition("_")
        if self.trainable == "all" or part == "classifier":
            return True
        return self.trainable == "last_block" and int(index) >= _LAST_BLOCK[self.batch_norm]


VGGBatchNorm = functools.partial(VGG, batch_norm=True)
