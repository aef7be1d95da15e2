"""Embedded face sequences, onset to apex, in the numbers of "Uncovering the Bias in Facial Expressions".

123 + 21 people (CK+ and the Actor Study), 47 of them male, 19 with dark skin, each in several sequences whose Action
Units grow from none to their apex. Every frame has exact labels. As with all embedded faces, what a model does
differently between groups is a property of this generator and of the recipe, never a finding about people.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json

import numpy as np
import pandas as pd

from frown_jax import schema
from frown_jax.faces import action_units, people
from frown_jax.faces.face import Expression, Face, Scene
from frown_jax.faces.recipe import group_amounts, styled

GENERATOR_VERSION = 1  # raise when the same recipe would give other images
SETS = {"posed": 123, "acted": 21}  # subjects of CK+ and of the Actor Study
MALE, DARK = 47, 19  # of all (the study's text)
GENDERS, SKIN_TONES = ("Female", "Male"), ("Light", "Dark")
LOOKS = ("by_label", "shared")
VALUES = {"gender": GENDERS, "skin_tone": SKIN_TONES}
_RACES = {"Dark": ("African-American",), "Light": ("Caucasian", "Caucasian", "Caucasian", "Asian")}
_AGES = (18.0, 50.0)  # years, CK+'s
# What the acted sequences show: Action Units asked for one by one or in pairs.
_ASKED = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 18, 20, 23, 24, 25, 26, 27, 43)


@dataclasses.dataclass(frozen=True)
class SequenceRecipe:
    """A data set of sequences."""

    per_subject: int = 5  # sequences
    frames: int = 5  # of a sequence, the first of them neutral
    seed: int = 0
    strength: tuple[float, float] = (0.5, 1.0)  # range of the intensity at the apex
    looks: str = "by_label"  # 'shared': gender and skin tone of a face are drawn without looking at the labels
    group_style: tuple[str, ...] = ()  # quieter, one-sided Action Units in a group: 'gender=Female:0.8'
    group_view: tuple[str, ...] = ()  # a group is seen from another side, in other light: 'gender=Female:1.0'

    def __post_init__(self) -> None:
        def check(ok: bool, field: str, message: str) -> None:
            if not ok:
                raise ValueError(f"data.sequences.{field} is {getattr(self, field)!r}: {message}")

        check(self.per_subject >= 1, "per_subject", "at least 1")
        check(self.frames >= 2, "frames", "at least 2: a neutral one and the apex")
        low, high = self.strength
        check(0 < low <= high <= 1.2, "strength", "0 < low <= high <= 1.2")
        check(self.looks in LOOKS, "looks", f"one of {', '.join(LOOKS)}")
        for field in ("group_style", "group_view"):
            for _, _, amount in group_amounts(f"data.sequences.{field}", getattr(self, field), VALUES):
                check(0 <= amount <= 1, field, "amounts between 0 and 1")

    def amount(self, field: str, row: pd.Series) -> float:
        """Of group_style or group_view for a subject; 0 if it is in none of the groups."""
        entries = group_amounts(f"data.sequences.{field}", getattr(self, field), VALUES)
        return max((amount for axis, value, amount in entries if row[axis] == value), default=0.0)

    def fingerprint(self) -> str:
        """12 hex digits that change when the images would."""
        text = json.dumps(["sequences", GENERATOR_VERSION, dataclasses.asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def subjects(recipe: SequenceRecipe) -> pd.DataFrame:
    """Everybody: columns subject, source, gender, skin_tone; the study's numbers exactly, who is who at random."""
    rng = np.random.default_rng([recipe.seed, 0])
    names = [f"{source}_{i:03d}" for source, count in SETS.items() for i in range(count)]
    source = [name.partition("_")[0] for name in names]
    male, dark = (rng.permutation(len(names)) < count for count in (MALE, DARK))
    return pd.DataFrame(
        {
            "subject": names,
            "source": source,
            "gender": np.where(male, "Male", "Female"),
            "skin_tone": np.where(dark, "Dark", "Light"),
        }
    )


def _person(recipe: SequenceRecipe, row: pd.Series, index: int) -> people.Subject:
    rng = np.random.default_rng([recipe.seed, 1, index])
    gender, skin = row["gender"], row["skin_tone"]
    if recipe.looks == "shared":
        gender = "Male" if rng.random() < MALE / sum(SETS.values()) else "Female"
        skin = "Dark" if rng.random() < DARK / sum(SETS.values()) else "Light"
    race = str(rng.choice(_RACES[skin]))
    return people.subject(rng, race, gender, float(rng.uniform(*_AGES)))


def _apex(rng: np.random.Generator, source: str, strength: tuple[float, float]) -> tuple[str, np.ndarray]:
    """What a sequence is of, and its Action Units at the apex."""
    level = rng.uniform(*strength)
    if source == "posed":
        emotion = str(rng.choice([e for e in schema.EMOTIONS if e != "Neutral"]))
        return emotion, action_units.vector(action_units.prototype(emotion, rng, level))
    units = rng.choice(_ASKED, int(rng.integers(1, 4)), replace=False)
    return "", action_units.vector({int(u): level * rng.uniform(0.8, 1.1) for u in units})


def onset(frames: int) -> np.ndarray:
    """Share of the apex at each frame, 0 to 1: a raised cosine."""
    return (1 - np.cos(np.pi * np.arange(frames) / (frames - 1))) / 2


def _seen(scene: Scene, amount: float) -> Scene:
    """The same photograph from the side and from below, with light from there."""
    if not amount:
        return scene
    turned = np.array([0.55, -0.2, 0.25], np.float32) * np.float32(amount)
    light = np.asarray(scene.key_direction) * (1 - amount) + amount * np.array([0.8, -0.3, 0.5])
    return scene.replace(pose=scene.pose + turned, key_direction=(light / np.linalg.norm(light)).astype(np.float32))


def _frames(recipe: SequenceRecipe, row: pd.Series, person: people.Subject, index: int, number: int) -> list[Face]:
    """The faces of one sequence: one scene, in which only the expression and the pose move."""
    rng = np.random.default_rng([recipe.seed, 2, index, number])
    _, apex = _apex(rng, row["source"], recipe.strength)
    apex = np.clip(apex * person.style, 0, 1.3)
    scene = _seen(people.scene(rng, person), recipe.amount("group_view", row))
    style = recipe.amount("group_style", row)
    asymmetry = np.float32(person.asymmetry + rng.normal() * 0.06)
    gaze = (rng.normal(size=2) * (0.08, 0.04)).astype(np.float32)
    out = []
    for share in onset(recipe.frames):
        expression = Expression(au=(share * apex).astype(np.float32), asymmetry=asymmetry, gaze=gaze)
        if style:
            expression = styled(expression, style)
        pose = scene.pose + (rng.normal(size=3) * 0.015).astype(np.float32)
        moved = scene.replace(pose=pose, noise_key=rng.integers(0, 2**32, 2, dtype=np.uint32))
        out.append(person.face.replace(expression=expression, scene=moved))
    return out


def generate(recipe: SequenceRecipe) -> tuple[pd.DataFrame, list[Face]]:
    """Draws the whole data set.

    Returns:
      The table: id, split ('train'), subject, source ('posed', 'acted'), sequence, frame, onset (share of the way to
      the apex), emotion (of posed sequences: Neutral in the first frame, missing before the apex), gender, skin_tone
      ('Light', 'Dark'), melanin, AU1 ... as int8; and one Face per row. Only rendering is left to do.
    """
    rows, faces = [], []
    everybody = subjects(recipe)
    shares = onset(recipe.frames)
    for index, (_, row) in enumerate(everybody.iterrows()):
        person = _person(recipe, row, index)
        for number in range(recipe.per_subject):
            emotion = _apex(np.random.default_rng([recipe.seed, 2, index, number]), row["source"], recipe.strength)[0]
            for frame, face in enumerate(_frames(recipe, row, person, index, number)):
                sequence = f"{row['subject']}_{number:02d}"
                shown = emotion or None
                if frame < recipe.frames - 1:
                    shown = "Neutral" if frame == 0 else None
                rows.append(
                    {
                        "id": f"{sequence}_{frame:03d}",
                        "split": "train",
                        **row.to_dict(),
                        "sequence": sequence,
                        "frame": frame,
                        "onset": round(float(shares[frame]), 4),
                        "emotion": shown,
                        "melanin": round(float(face.skin_tone), 4),
                    }
                )
                faces.append(face)
    present = np.stack([f.expression.au for f in faces]) >= action_units.PRESENT_FROM
    units = pd.DataFrame(present.astype(np.int8), columns=[f"AU{au}" for au in action_units.AUS])
    return pd.concat([pd.DataFrame(rows), units], axis=1), faces
