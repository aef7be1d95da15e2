"""What all networks share: a trunk from images to features, a head from features to logits, and how one calls them."""

from __future__ import annotations

import flax.linen as nn
import jax
import jax.numpy as jnp

from frown_jax.models.layers import at_least_float32

PARTS = ("all", "trunk", "head")

Path = tuple[str, ...]  # of module names


class Classifier(nn.Module):
    """Image classifier; `trunk` and `head` are its own.

    Attributes:
      classes: outputs.
      width: channels of the first layer or stage; torchvision's is 64.
      trainable: 'all', 'last_block' (and the head) or 'head'. Frozen parts get no gradient and run their batch norms on
        the running statistics.
      dtype: of the computation; parameters, statistics and logits are float32.
      lowering: see models.conv.
      part: 'all'; 'trunk' returns features in place of logits; 'head' takes features in place of images. Parameters
        have the same names, so those of the parts together are those of all.
      batch_norm: whether batch norms follow the convolutions, which then have no bias unless torchvision's have.
    """

    classes: int
    width: int = 64
    trainable: str = "all"
    dtype: jnp.dtype = jnp.float32
    lowering: str = "auto"
    part: str = "all"
    batch_norm: bool = False

    @property
    def last_layer(self) -> str:
        """Name of the module that gives the logits."""
        raise NotImplementedError

    @property
    def watched(self) -> str:
        """The intermediate that penalties and adversaries look at: the features, or the deepest that trains."""
        return "penultimate" if self.trainable == "head" else "features"

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
          x: normalised images, float [B, H, W, 3]; of a head, features [B, F].
          train: batch statistics and dropout, or running statistics and none.
          mask: bool [B]; examples outside it do not enter batch statistics.
          dropout_rate: in the head, may be traced.
          dropout_key: needed when training; None switches dropout off.

        Returns:
          Logits, float32 [B, classes], and intermediates: 'features' [B, F], 'penultimate' (what the last layer sees,
          without dropout in the last place) and the trunk's own.
        """
        out: dict[str, jax.Array] = {}
        if self.part != "head":
            x = self.trunk(x, train, mask, out)
            if self.trainable == "head":
                x = jax.lax.stop_gradient(x)
        x = out["features"] = at_least_float32(x)
        if self.part == "trunk":
            return x, out
        return self.head(x, dropout_rate, dropout_key if train else None, out), out

    def trunk(self, x: jax.Array, train: bool, mask: jax.Array | None, out: dict[str, jax.Array]) -> jax.Array:
        """Features [B, F] of images; may add to `out`."""
        raise NotImplementedError

    def head(
        self, x: jax.Array, rate: jax.Array | float, key: jax.Array | None, out: dict[str, jax.Array]
    ) -> jax.Array:
        """Logits of features; sets out['penultimate']. `key` None: no dropout."""
        raise NotImplementedError

    def norms(self) -> dict[Path, tuple[Path, Path]]:
        """Of each convolution, its batch norm, and its own name in the network without batch norms."""
        raise NotImplementedError

    def is_trained(self, path: tuple[str, ...]) -> bool:
        """Whether the parameter at `path` (module names) is updated."""
        raise NotImplementedError
