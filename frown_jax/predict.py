"""Classifies image files with all members of a run.

  python -m frown_jax.predict --run=runs/baseline-faces-0a1b2c3d face.jpg other.png
  python -m frown_jax.predict --run=... --box=40,20,240,220 photo.jpg
  python -m frown_jax.predict --run=... --csv=out.csv *.jpg

Give aligned, tightly cropped faces as in the training data, or a crop box (left, top, right, bottom in pixels). The
probability is the mean over members; the spread is their standard deviation.
"""

from __future__ import annotations

import pathlib
import sys

import numpy as np
import pandas as pd
from absl import flags
from PIL import Image, ImageOps

from frown_jax.data.load import resize
from frown_jax.data.store import MAX_PIXELS
from frown_jax.errors import DataError
from frown_jax.inference.ensemble import Ensemble
from frown_jax.posthoc.thresholds import HALF
from frown_jax.runtime import command

_RUN = flags.DEFINE_string("run", None, "Run directory.")
_BOX = flags.DEFINE_list("box", None, "Crop of every image: left,top,right,bottom in pixels; default the whole image.")
_MOST_CLASSES = 3  # shown of each image
_CSV = flags.DEFINE_string("csv", "", "Also write every probability of every member to this file.")


def read_face(path: str, box: tuple[int, int, int, int] | None, side: int) -> np.ndarray:
    """One image file, upright, cropped and resized.

    Args:
      path: image file.
      box: left, top, right, bottom in pixels; None for the whole image.
      side: pixels of the result.

    Returns:
      uint8 [side, side, 3].

    Raises:
      DataError: not readable, absurdly large, or a box outside it.
    """
    try:
        with Image.open(path) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"{path}: {image.width} x {image.height} pixels is more than {MAX_PIXELS:,}")
            upright = ImageOps.exif_transpose(image).convert("RGB")
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as e:
        if isinstance(e, DataError):
            raise
        raise DataError(f"{path}: not a readable image ({e})") from None
    if box is not None:
        left, top, right, bottom = box
        if not (0 <= left < right <= upright.width and 0 <= top < bottom <= upright.height):
            raise DataError(
                f"--box={','.join(map(str, box))} does not lie in {path} ({upright.width} x {upright.height})"
            )
        upright = upright.crop(box)
    return resize(np.asarray(upright), side)


def _box() -> tuple[int, int, int, int] | None:
    if _BOX.value is None:
        return None
    try:
        left, top, right, bottom = (int(v) for v in _BOX.value)
    except ValueError:
        command.fail(f"--box={','.join(_BOX.value)}: four whole numbers left,top,right,bottom")
    return left, top, right, bottom


def _main(files: list[str]) -> None:
    if not _RUN.value or not files:
        command.fail("give --run=RUN and at least one image file (--help tells more)")
    box = _box()
    ensemble = Ensemble(pathlib.Path(_RUN.value))
    images = np.stack([read_face(f, box, ensemble.image_side) for f in files])
    probabilities = ensemble.probabilities(images)
    mean, spread = probabilities.mean(0), probabilities.std(0)
    width = max(len(f) for f in files)
    for i, file in enumerate(files):
        order = mean[i].argsort()[::-1]
        order = order[mean[i, order] >= HALF] if ensemble.multilabel else order[:_MOST_CLASSES]
        shown = ", ".join(f"{ensemble.classes[k]} {mean[i, k]:.2f} +- {spread[i, k]:.2f}" for k in order)
        print(f"{file:<{width}}  {shown or 'no Action Unit'}")
    if _CSV.value:
        rows = [
            {"file": file, "member": spec.member, "seed": spec.seed}
            | {c: float(probabilities[m, i, k]) for k, c in enumerate(ensemble.classes)}
            for m, spec in enumerate(ensemble.specs)
            for i, file in enumerate(files)
        ]
        pd.DataFrame(rows).to_csv(_CSV.value, index=False)
        print(f"written to {_CSV.value}", file=sys.stderr)


def main() -> None:
    """Entry point."""
    command.run(_main, __doc__ or "", takes_files=True)


if __name__ == "__main__":
    main()
