"""Regions of Action Units from 68 facial landmarks (the Multi-PIE / iBUG scheme, which CK+ ships for every frame).

A region is where the skin changes when the unit acts, as the FACS manual (Ekman, Friesen & Hager 2002) describes each
unit's appearance changes. How far it reaches from the landmarks is this project's own choice; the centres agree with
the table that EAC-Net (Li, Abtahi, Zhu & Yin 2018) gives for twelve units. Distances are in units of the distance
between the eyes' centres, along the line of the eyes (outwards) and across it (upwards), so that a region turns and
grows with the face.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw
from scipy.spatial import ConvexHull, QhullError

from frown_jax.faces.regions import PARTS

COUNT = 68
SHAPES = POLYGON, BOX = "polygon", "box"

# A corner: landmark of the person's right side (or the middle), outwards, upwards.
_Corner = tuple[int, float, float]
_EYE = (36, 37, 38, 39, 40, 41)
_LIPS = tuple(range(48, 60))


def _at(points: Sequence[int], out: float = 0.0, up: float = 0.0) -> list[_Corner]:
    return [(p, out, up) for p in points]


def _around(points: Sequence[int], margin: float) -> list[_Corner]:
    return [c for out, up in ((-1, 0), (1, 0), (0, -1), (0, 1)) for c in _at(points, out * margin, up * margin)]


_LIP_REGION = _around(_LIPS, 0.10)
_LID = _around(_EYE, 0.12)

# By unit: whether it has one region on each side, else one across the middle; its corners, hulled. Across the middle
# corners are mirrored too.
AU_REGIONS: dict[int, tuple[bool, list[_Corner]]] = {
    1: (False, _at((20, 21)) + _at((20, 21), 0, 0.45)),  # forehead above the inner brows, and these
    2: (True, _at((17, 18, 19)) + _at((17, 18, 19), 0, 0.45)),  # above the outer brows
    4: (False, _at((17, 18, 19, 20, 21), 0, 0.10) + _at((17, 21, 27))),  # brows and between them
    5: (True, _at((36, 37, 38, 39)) + _at((36, 37, 38, 39), 0, 0.22)),  # upper lid
    6: (True, _at((36, 39, 40, 41)) + _at((36,), 0.18, -0.35) + _at((40, 41), 0, -0.45)),  # cheek below the eye
    7: (True, _LID),
    9: (False, _at((21, 27, 39, 31, 32, 33), 0.05)),  # root and sides of the nose
    10: (False, _at((31, 33, 48, 49, 50, 51), 0.08)),  # upper lip and the folds beside it
    12: (True, _at((48, 49, 59)) + _at((48,), 0.30, 0.10) + _at((48,), 0.20, 0.45) + _at((31,), 0.10)),
    14: (True, _around((48,), 0.25)),  # corner of the mouth
    15: (True, _at((48, 49, 59), 0.10) + _at((48,), 0.12, -0.30) + _at((59,), 0, -0.30)),
    16: (False, _at((48, 59, 58, 57)) + _at((59, 58, 57), 0, -0.22)),
    17: (False, _at((59, 58, 57)) + _at((6, 7, 8))),  # chin
    18: (False, _LIP_REGION),
    20: (False, _at(_LIPS) + _at((48,), 0.35, 0.05) + _at((48,), 0.35, -0.20)),
    22: (False, _LIP_REGION),
    23: (False, _LIP_REGION),
    24: (False, _LIP_REGION),
    25: (False, _LIP_REGION),
    26: (False, _at(_LIPS) + _at((6, 7, 8))),  # mouth and chin
    27: (False, _at(_LIPS) + _at((5, 6, 7, 8))),
    28: (False, _LIP_REGION),
    29: (False, _at((59, 58, 57)) + _at((4, 5, 6, 7, 8))),
    34: (True, _at((48, 31, 4)) + _at((41,), 0.05, -0.35)),  # cheek
    43: (True, _LID),
    45: (True, _LID),
}
_FACE = _at(range(9)) + _at((17, 18, 19, 20, 21), 0, 0.75)
_FOREHEAD = _at((17, 18, 19, 20, 21), 0, 0.10) + _at((17,), -0.05, 0.60) + _at((18, 19, 20, 21), 0, 0.75)
_HEAD = _around(range(9), 0.25) + _at((17, 18, 19, 20, 21), 0.25, 1.1)  # with hair; what is outside is background

_MIRRORED = {
    **{i: 16 - i for i in range(17)},
    **{17 + i: 26 - i for i in range(10)},
    **{i: i for i in range(27, 31)},
    **{31 + i: 35 - i for i in range(5)},
    **dict(zip((36, 37, 38, 39, 40, 41), (45, 44, 43, 42, 47, 46), strict=True)),
    **{48 + i: 54 - i for i in range(7)},
    **{59 - i: 55 + i for i in range(5)},
}


class _Frame:
    """The face's own directions on the image."""

    def __init__(self, points: np.ndarray):
        self.points = points
        right, left = points[36:42].mean(0), points[42:48].mean(0)  # the person's
        self.unit = float(np.linalg.norm(left - right))
        self.along = (left - right) / max(self.unit, 1e-9)
        self.up = np.array([self.along[1], -self.along[0]])  # rows count downwards

    def corners(self, corners: Sequence[_Corner], left: bool) -> np.ndarray:
        """Columns and rows; of the person's left side if asked for."""
        outwards = self.along if left else -self.along
        return np.array(
            [
                self.points[_MIRRORED[p] if left else p] + self.unit * (out * outwards + up * self.up)
                for p, out, up in corners
            ]
        )


def _drawn(corner_sets: Sequence[np.ndarray], side: int, shape: str) -> np.ndarray:
    image = Image.new("1", (side, side))
    draw = ImageDraw.Draw(image)
    for corners in corner_sets:
        pixels = corners * side - 0.5  # pixel centres
        if shape == BOX:
            (left, top), (right, bottom) = pixels.min(0), pixels.max(0)
            pixels = np.array([(left, top), (right, top), (right, bottom), (left, bottom)])
        else:
            try:
                pixels = pixels[ConvexHull(pixels).vertices]
            except QhullError:  # points in a line: nothing has an area
                continue
        draw.polygon([(float(x), float(y)) for x, y in pixels], fill=1)
    return np.asarray(image)


def regions(points: np.ndarray, units: Sequence[int], side: int, shape: str = POLYGON) -> np.ndarray:
    """Regions of one image.

    Args:
      points: [68, 2], columns and rows as shares of the image (0 to 1; outside where the crop cuts).
      units: Action Units; one without a region in AU_REGIONS gets an empty one.
      side: pixels of the result.
      shape: 'polygon', or 'box' (axis-parallel, as in Rieger et al. 2020; a box takes in more that is irrelevant).

    Returns:
      bool [len(units) + 4, side, side]: the units', then PARTS (hair, which landmarks do not show, is empty).
    """
    frame = _Frame(np.asarray(points, np.float64))
    found = []
    for unit in units:
        two, corners = AU_REGIONS.get(unit, (True, []))
        sides = [frame.corners(corners, left) for left in (False, True)] if corners else []
        found.append(_drawn(sides if two else [np.concatenate(sides)] if sides else [], side, shape))
    whole = {
        name: _drawn([np.concatenate([frame.corners(corners, left) for left in (False, True)])], side, POLYGON)
        for name, corners in (("face", _FACE), ("forehead", _FOREHEAD), ("head", _HEAD))
    }
    parts = {**whole, "hair": np.zeros((side, side), bool), "background": ~whole["head"]}
    return np.stack([*found, *(parts[name] for name in PARTS)])


def five_points(points: np.ndarray) -> np.ndarray:
    """Of [68, 2], the five that faces.regions.part_regions gives: eyes, tip of the nose, corners of the mouth."""
    return np.stack([points[42:48].mean(0), points[36:42].mean(0), points[30], points[54], points[48]])
