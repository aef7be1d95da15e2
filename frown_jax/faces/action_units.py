"""Facial Action Units: names, their face-unit make-up, and the prototypes of the seven expressions.

AU numbers and names: Ekman, Friesen & Hager, FACS (2002). The prototypes follow EMFACS's combinations. How an AU is
composed of the 52 ARKit-style face units is this project's own choice (a bare `mouthPress` reads as a smirk, a
bare `eyeSquint` moves the cheek more than the lid).
"""

from __future__ import annotations

import functools

import numpy as np

AU_NAMES = {
    1: "inner brow raiser",
    2: "outer brow raiser",
    4: "brow lowerer",
    5: "upper lid raiser",
    6: "cheek raiser",
    7: "lid tightener",
    9: "nose wrinkler",
    10: "upper lip raiser",
    12: "lip corner puller",
    14: "dimpler",
    15: "lip corner depressor",
    16: "lower lip depressor",
    17: "chin raiser",
    18: "lip pucker",
    20: "lip stretcher",
    22: "lip funneler",
    23: "lip tightener",
    24: "lip pressor",
    25: "lips part",
    26: "jaw drop",
    27: "mouth stretch",
    28: "lip suck",
    29: "jaw thrust",
    34: "cheek puff",
    43: "eyes closed",
}
AUS = tuple(AU_NAMES)
PRESENT_FROM = 0.2  # intensity (0 to 1) from which an AU is labelled present; FACS's trace level A ends about there

# '*' stands for Left and Right.
_COMPOSITION: dict[int, dict[str, float]] = {
    1: {"browInnerUp": 1},
    2: {"browOuterUp*": 1},
    4: {"browDown*": 1},
    5: {"eyeWide*": 1},
    6: {"cheekSquint*": 1.2, "eyeSquint*": 0.35},
    7: {"eyeSquint*": 1, "eyeBlink*": 0.24},
    9: {"noseSneer*": 1},
    10: {"mouthUpperUp*": 1},
    12: {"mouthSmile*": 1, "mouthUpperUp*": 0.08},
    14: {"mouthDimple*": 1.3, "mouthPress*": 0.2},
    15: {"mouthFrown*": 1},
    16: {"mouthLowerDown*": 1},
    17: {"mouthShrugLower": 1, "mouthShrugUpper": 0.4},
    18: {"mouthPucker": 1},
    20: {"mouthStretch*": 1},
    22: {"mouthFunnel": 1},
    23: {"mouthPress*": 0.2, "mouthRollLower": 0.7, "mouthRollUpper": 0.65, "mouthPucker": 0.3, "mouthFrown*": 0.2},
    24: {
        "mouthPress*": 0.5,
        "mouthPucker": 0.4,
        "mouthFrown*": 0.4,
        "mouthShrugLower": 0.35,
        "mouthRollLower": 0.4,
        "mouthRollUpper": 0.35,
    },
    25: {"mouthLowerDown*": 0.5, "mouthUpperUp*": 0.32, "jawOpen": 0.06},
    26: {"jawOpen": 0.45},
    27: {"jawOpen": 1},
    28: {"mouthRollLower": 1, "mouthRollUpper": 1},
    29: {"jawForward": 1},
    34: {"cheekPuff": 1},
    43: {"eyeBlink*": 1},
}


@functools.cache
def composition(unit_names: tuple[str, ...]) -> np.ndarray:
    """How each AU is made of face units, float32 [len(AUS), len(unit_names)]."""
    out = np.zeros((len(AUS), len(unit_names)), np.float32)
    for row, au in enumerate(AUS):
        for unit, amount in _COMPOSITION[au].items():
            names = [unit[:-1] + side for side in ("Left", "Right")] if unit.endswith("*") else [unit]
            for name in names:
                out[row, unit_names.index(name)] += amount
    return out


def vector(intensities: dict[int, float]) -> np.ndarray:
    """AU intensities as float32 [len(AUS)] from {AU number: intensity in 0 to 1}.

    Raises:
      ValueError: an AU that the head does not have.
    """
    out = np.zeros(len(AUS), np.float32)
    for au, value in intensities.items():
        if au not in AU_NAMES:
            raise ValueError(f"AU {au} is not modelled; the head has {', '.join(map(str, AUS))}")
        out[AUS.index(au)] = value
    return out


def prototype(emotion: str, rng: np.random.Generator, strength: float) -> dict[int, float]:
    """Draws one expression of an emotion: {AU: intensity}, with the optional AUs of EMFACS at random.

    Args:
      emotion: one of schema.EMOTIONS.
      rng: decides the optional AUs and each AU's intensity.
      strength: overall intensity, 0 (none) to 1 (full).
    """

    def u(low: float = 0.75, high: float = 1.1) -> float:
        return strength * rng.uniform(low, high)

    def maybe(p: float) -> bool:
        return rng.random() < p

    if emotion == "Neutral":
        traces = rng.choice([1, 2, 4, 7, 12, 15, 17, 25], 2, replace=False)
        return {int(au): rng.uniform(0, 0.12) for au in traces}
    if emotion == "Happiness":
        aus = {6: u(), 12: u()}
        if maybe(0.65):
            aus[25] = u(0.5, 1.0)
        if maybe(0.25):
            aus[26] = u(0.3, 0.7)
    elif emotion == "Sadness":
        aus = {1: u(), 4: u(0.4, 0.8), 15: u(0.8, 1.2)}
        if maybe(0.6):
            aus[17] = u(0.4, 0.9)
        if maybe(0.25):
            aus[43] = u(0.2, 0.45)
    elif emotion == "Surprise":
        aus = {1: u(), 2: u(), 5: u()}
        aus.update({27: u(0.3, 0.7)} if maybe(0.3) else {26: u(0.8, 1.3)})
    elif emotion == "Fear":
        aus = {1: u(), 2: u(0.4, 0.8), 4: u(0.4, 0.8), 5: u(), 20: u(), 25: u(0.6, 1.0)}
        if maybe(0.6):
            aus[26] = u(0.3, 0.7)
    elif emotion == "Anger":
        aus = {4: u(0.9, 1.2), 5: u(0.2, 0.6), 7: u(0.6, 1.0)}
        if maybe(0.65):
            aus.update({23: u(0.6, 1.0), 24: u(0.3, 0.7)})
        else:
            aus.update({10: u(0.4, 0.8), 16: u(0.4, 0.8), 25: u(0.6, 1.0), 26: u(0.2, 0.5)})
    elif emotion == "Disgust":
        aus = {9: u(0.8, 1.1), 10: u(0.5, 0.9)}
        if maybe(0.6):
            aus[15] = u(0.5, 0.9)
        if maybe(0.5):
            aus[17] = u(0.4, 0.8)
        else:
            aus.update({16: u(0.4, 0.8), 25: u(0.3, 0.7)})
        if maybe(0.4):
            aus.update({4: u(0.3, 0.6), 7: u(0.2, 0.5)})
    else:
        raise ValueError(f"no prototype for emotion {emotion!r}")
    return aus
