"""What the networks of a program are shown of images: the pixels, or what a frozen network makes of them."""

from __future__ import annotations

import numpy as np

from frown_jax.data.annotations import Annotations
from frown_jax.inputs.images import Images
from frown_jax.inputs.trunk import Trunk
from frown_jax.runtime import processes, resident


class Encoder:
    """Pixels as they are, or features of a trunk.

    Attributes:
      trunk: the frozen network; None: pixels.
      features: how many; 0: pixels.
    """

    def __init__(self, trunk: Trunk | None, keep: bool = True):
        """`keep`: features in the cache, for the next run."""
        self.trunk, self._keep = trunk, keep
        self.features = trunk.count if trunk else 0

    def __call__(self, images: np.ndarray) -> np.ndarray:
        """Of uint8 [N, H, W, 3]: the same, or float32 [N, F]."""
        trunk = self.trunk
        if trunk is None:
            return images
        return processes.first_then_others(lambda: trunk(images, self._keep)) if self._keep else trunk(images, False)

    def fold(self, images: np.ndarray, data: Annotations | None, inputs: resident.Rows | None = None) -> Images:
        """Images for a Readout; `inputs` are what they are encoded to, if that is at hand."""
        return Images(self(images) if inputs is None else inputs, data, inverted=lambda: self(255 - images))
