"""VGG16 (Simonyan & Zisserman 2015) as in torchvision, at any width.

Module names are torchvision's with dots as underscores, so that weights map by name.
"""

from __future__ import annotations

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from frown_jax.models import conv
from frown_jax.models.classifier import Classifier
from frown_jax.models.layers import BatchNorm, Conv, Linear, dropout

# Channels in units of the width; 'pool' halves the side. Torchvision's configuration 'D'.
LAYERS = (1, 1, "pool", 2, 2, "pool", 4, 4, 4, "pool", 8, 8, 8, "pool", 8, 8, 8, "pool")
_LAST_BLOCK = {False: 24, True: 34}  # torchvision's index of the first convolution after the fourth pooling
_POOLED = 7  # side of the features that the head sees
_HIDDEN = 64  # of the head, in units of the width
DENSE = ("classifier_0", "classifier_3", "classifier_6")


def adaptive_average_pool(x: jax.Array, side: int) -> jax.Array:
    """torch.nn.AdaptiveAvgPool2d: [B, H, W, C] -> [B, side, side, C]; windows overlap where sides do not divide."""

    def weights(n: int) -> np.ndarray:
        out = np.zeros((side, n), np.float32)
        for i in range(side):
            first, last = i * n // side, -(-(i + 1) * n // side)
            out[i, first:last] = 1 / (last - first)
        return out

    if x.shape[1:3] == (side, side):
        return x
    rows, columns = (jnp.asarray(weights(n), x.dtype) for n in x.shape[1:3])
    return jnp.einsum("ih,jw,bhwc->bijc", rows, columns, x)


def fold_batch_norms(variables: dict) -> dict:
    """The variables of a VGG with batch norms as those of one without, which predicts the same.

    Args:
      variables: {'params', 'batch_stats'}; what is no convolution or batch norm stays as it is.

    Returns:
      {'params'} under the names of a plain VGG.
    """
    params, stats = variables["params"], variables["batch_stats"]
    out = {k: v for k, v in params.items() if not k.startswith("features_")}
    plain = index = 0
    for layer in LAYERS:
        if layer == "pool":
            plain, index = plain + 1, index + 1
            continue
        own, norm = params[f"features_{index}"], params[f"features_{index + 1}"]
        running = stats[f"features_{index + 1}"]
        scale = norm["scale"] / np.sqrt(running["var"] + BatchNorm.eps)
        bias = (own["bias"] - running["mean"]) * scale + norm["bias"]
        out[f"features_{plain}"] = {"kernel": own["kernel"] * scale, "bias": bias}
        plain, index = plain + 2, index + 3
    return {"params": out}


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
                x = conv.max_pool2d(x, 2, 2, 0, self.lowering)
                index += 1
                continue
            if index == _LAST_BLOCK[self.batch_norm] and self.trainable == "last_block":
                x = jax.lax.stop_gradient(x)
            name = f"features_{index}"
            x = Conv(self.width * int(layer), 3, bias=True, dtype=self.dtype, lowering=self.lowering, name=name)(x)
            if self.batch_norm:
                live = train and self.is_trained((name,))
                x = BatchNorm(dtype=self.dtype, name=f"features_{index + 1}")(x, train=live, mask=mask)
            x = nn.relu(x)
            index += 2 + self.batch_norm
        x = adaptive_average_pool(x, _POOLED)
        return jnp.moveaxis(x, 3, 1).reshape(x.shape[0], -1)

    def head(
        self, x: jax.Array, rate: jax.Array | float, key: jax.Array | None, out: dict[str, jax.Array]
    ) -> jax.Array:
        """As Classifier's: dropout (torchvision's rate is 0.5) after both hidden layers."""
        for index in (0, 3):
            x = nn.relu(Linear(self.hidden_width, dtype=self.dtype, name=f"classifier_{index}")(x))
            if key is not None:
                x = dropout(x, rate, jax.random.fold_in(key, index))
        x = out["penultimate"] = x.astype(jnp.float32)
        return Linear(self.classes, name="classifier_6")(x)

    def is_trained(self, path: tuple[str, ...]) -> bool:
        """As Classifier's."""
        part, _, index = path[0].partition("_")
        if self.trainable == "all" or part == "classifier":
            return True
        return self.trainable == "last_block" and int(index) >= _LAST_BLOCK[self.batch_norm]


VGGBatchNorm = functools.partial(VGG, batch_norm=True)
