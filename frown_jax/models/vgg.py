"""VGG16 (Simonyan & Zisserman 2015) as in torchvision, at any width.

Module names are torchvision's with dots as underscores, so that weights map by name.
"""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from frown_jax.models import conv
from frown_jax.models.layers import Conv, Linear, dropout

# Channels in units of the width; 'pool' halves the side. Torchvision's configuration 'D'.
LAYERS = (1, 1, "pool", 2, 2, "pool", 4, 4, 4, "pool", 8, 8, 8, "pool", 8, 8, 8, "pool")
_LAST_BLOCK = 24  # torchvision's index of the first convolution after the fourth pooling
_POOLED = 7  # side of the features that the head sees
_HIDDEN = 64  # of the head, in units of the width


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


class VGG(nn.Module):
    """Image classifier.

    Attributes:
      classes: outputs of the head.
      width: channels of the first layer; torchvision's is 64.
      trainable: 'all', 'last_block' (the convolutions after the fourth pooling, and the head) or 'head' (the dense
        layers).
      dtype: of the computation; parameters and logits are float32.
      lowering: see models.conv.
    """

    classes: int
    width: int = 64
    trainable: str = "all"
    dtype: jnp.dtype = jnp.float32
    lowering: str = "auto"

    @nn.compact
    def __call__(
        self,
        x: jax.Array,
        *,
        train: bool,
        mask: jax.Array | None = None,
        dropout_rate: jax.Array | float = 0.0,
        dropout_key: jax.Array | None = None,
    ) -> tuple[jax.Array, dict[str, jax.Array]]:
        """Forward pass.

        Args:
          x: normalised images, float [B, H, W, 3].
          train: whether dropout runs.
          mask: of no effect: nothing here depends on other examples.
          dropout_rate: after both hidden layers (torchvision's is 0.5), may be traced.
          dropout_key: needed when training; None switches dropout off.

        Returns:
          Logits, float32 [B, classes], and intermediates: 'features' [B, 7 * 7 * 8 * width], channels first as torch
          flattens them, and 'penultimate' [B, 64 * width], what the last layer sees.
        """
        index = 0
        for layer in LAYERS:
            if layer == "pool":
                x = conv.max_pool2d(x, 2, 2, 0, self.lowering)
                index += 1
                continue
            if index == _LAST_BLOCK and self.trainable == "last_block":
                x = jax.lax.stop_gradient(x)
            name = f"features_{index}"
            x = Conv(self.width * int(layer), 3, bias=True, dtype=self.dtype, lowering=self.lowering, name=name)(x)
            x = nn.relu(x)
            index += 2
        x = adaptive_average_pool(x, _POOLED)
        x = jnp.moveaxis(x, 3, 1).reshape(x.shape[0], -1)
        if self.trainable == "head":
            x = jax.lax.stop_gradient(x)
        out = {"features": x.astype(jnp.float32)}
        for index in (0, 3):
            x = nn.relu(Linear(_HIDDEN * self.width, dtype=self.dtype, name=f"classifier_{index}")(x))
            if train and dropout_key is not None:
                x = dropout(x, dropout_rate, jax.random.fold_in(dropout_key, index))
        x = out["penultimate"] = x.astype(jnp.float32)
        return Linear(self.classes, name="classifier_6")(x), out

    def is_trained(self, path: tuple[str, ...]) -> bool:
        """Whether the parameter at `path` (module names) is updated."""
        part, _, index = path[0].partition("_")
        if self.trainable == "all" or part == "classifier":
            return True
        return self.trainable == "last_block" and int(index) >= _LAST_BLOCK
