"""Common variants of names in other people's label files, and ours."""

from __future__ import annotations

import re

import numpy as np

from frown_jax import schema

_EMOTION_NAMES = {
    "Surprise": "surprised, surprising, su",
    "Fear": "fearful, afraid, scared, fe",
    "Disgust": "disgusted, di",
    "Happiness": "happy, joy, joyful, ha",
    "Sadness": "sad, sa",
    "Anger": "angry, an",
    "Neutral": "ne",
}
_ATTRIBUTE_NAMES = {
    "race": {
        "Caucasian": "white, cau",
        "African-American": "african american, african, black, aa",
        "Asian": "east asian, southeast asian",
    },
    "gender": {"Male": "m, man", "Female": "f, woman", "Unsure": "unknown, other"},
    "skin_tone": {"Light": "", "Dark": ""},
    "age": {"0-3": "00-03, 0-2", "4-19": "04-19", "20-39": "", "40-69": "", "70+": "more than 70"},
}
_SPLIT_NAMES = {
    "train": "training",
    "val": "valid, validation, dev, publictest",
    "test": "testing, privatetest",
}


def _lookup(names: dict[str, str]) -> dict[str, str]:
    """Lower-case variant -> canonical name."""
    return {
        variant.strip(): canonical
        for canonical, variants in names.items()
        for variant in (canonical.lower(), *variants.split(","))
    }


EMOTIONS = _lookup(_EMOTION_NAMES)
SPLITS = _lookup(_SPLIT_NAMES)
_ATTRIBUTES = {name: _lookup(values) for name, values in _ATTRIBUTE_NAMES.items()}


def _age_bin(years: float) -> str:
    return schema.AGES[int(np.searchsorted([4, 20, 40, 70], years, side="right"))]


def attribute(column: str, text: str) -> str | None:
    """An attribute's value under our name; ages in years by their group; None if blank."""
    if not text:
        return None
    if column == "age" and re.fullmatch(r"\d+(\.\d+)?", text):
        return _age_bin(float(text))
    return _ATTRIBUTES.get(column, {}).get(text.lower(), text)
