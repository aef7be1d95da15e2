"""What is done with a network after its training: another last layer, offsets to logits, a mixed test image."""

from __future__ import annotations

import dataclasses
import io
import json
import pathlib

import numpy as np

from frown_jax.data.annotations import Annotations
from frown_jax.member import outputs as network_outputs

Array = np.ndarray
_ARRAYS = ("kernel", "bias", "offsets", "thresholds")


@dataclasses.dataclass(frozen=True)
class Outputs:
    """What one network makes of N images.

    Attributes:
      logits: float32 [N, K].
      penultimate: float32 [N, F], the inputs of its last layer.
    """

    logits: Array
    penultimate: Array


@dataclasses.dataclass(frozen=True)
class Adjustment:
    """How predictions of one run follow from its network's outputs.

    Attributes:
      kernel, bias: [F, K] and [K] of another last layer; None: the network's own.
      offsets: [G + 1, K] added to the logits of an image of group g; row G: of no known group. None: nothing.
      by, drop: the columns and values that make those groups (Annotations.groups).
      inverted: share of the inverted image in a prediction, 0 to 1.
      thresholds: [K] of many labels, the probabilities from which they count as present; None: 0.5.
    """

    kernel: Array | None = None
    bias: Array | None = None
    offsets: Array | None = None
    by: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    inverted: float = 0.0
    thresholds: Array | None = None

    @property
    def plain(self) -> bool:
        """Whether probabilities are the network's own."""
        return self.kernel is None and self.offsets is None and not self.inverted

    def logits(self, outputs: Outputs, data: Annotations | None) -> Array:
        """Float64 [N, K].

        Args:
          outputs: of the network.
          data: attributes of the images; None: not known.
        """
        z = outputs.logits.astype(np.float64)
        if self.kernel is not None:
            z = outputs.penultimate.astype(np.float64) @ self.kernel + self.bias
        if self.offsets is None:
            return z
        if data is None:
            return z + self.offsets[-1]
        codes = data.groups(self.by, self.drop).codes
        return z + self.offsets[np.where(codes >= 0, codes, len(self.offsets) - 1)]

    def probabilities(
        self, outputs: Outputs, data: Annotations | None, inverted: Outputs | None = None, multilabel: bool = False
    ) -> Array:
        """Float32 [N, K]; `inverted` are the outputs on inverted images, where that is asked for."""
        p = network_outputs.probabilities_of(self.logits(outputs, data), multilabel)
        if self.inverted:
            assert inverted is not None
            other = network_outputs.probabilities_of(self.logits(inverted, data), multilabel)
            p = (1 - self.inverted) * p + self.inverted * other
        return p.astype(np.float32)

    def to_bytes(self) -> bytes:
        """For a file."""
        arrays = {k: v for k in _ARRAYS if (v := getattr(self, k)) is not None}
        settings = json.dumps({"by": self.by, "drop": self.drop, "inverted": self.inverted})
        buffer = io.BytesIO()
        np.savez(buffer, settings=np.array(settings), **arrays)
        return buffer.getvalue()

    @classmethod
    def read(cls, path: pathlib.Path) -> Adjustment:
        """What `to_bytes` wrote.

        Raises:
          OSError: there is no such file.
        """
        with np.load(path) as file:
            settings = json.loads(str(file["settings"]))
            arrays = {k: file[k] for k in file.files if k != "settings"}
        return cls(**arrays, by=tuple(settings["by"]), drop=tuple(settings["drop"]), inverted=settings["inverted"])
