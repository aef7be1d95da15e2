"""Data sets of embedded faces as data: who is in them, how they look, and which biases are planted.

Whatever a model does differently between groups on these images is a property of this generator and of the
recipe, never a finding about people.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping

import numpy as np
import pandas as pd

from frown_jax import schema
from frown_jax.faces import action_units, joint, people
from frown_jax.faces.face import Expression, Face
from frown_jax.faces.shade import skin_brightness

GENERATOR_VERSION = 1  # raise when the same recipe would give other images
_JOINTS = ("rafdb", "balanced")
_TONES = ("by_race", "shared")
_SPURIOUS = ("", "race", "gender", "age", "background")
_SPLIT_CODE = {"train": 0, "test": 1}
_REFERENCE_TONE = 0.15


@dataclasses.dataclass(frozen=True)
class Recipe:
    """A data set of embedded faces.

    The four kinds of shift of a subpopulation benchmark (Yang et al. 2023) are: `spurious` (spurious correlation),
    `reweight` of an attribute (attribute imbalance; factor 0: attribute absent from training), and `reweight` of an
    emotion (class imbalance). They act on the training images only; the test images follow `joint`.
    """

    train: int = 12271  # training images
    test: int = 3068  # test images; their subjects are never in training
    seed: int = 0
    joint: str = "rafdb"  # emotion x race x gender x age: 'rafdb' (its real cells) or 'balanced'
    images_per_subject: int = 3  # photographs of one person, all in one split
    strength: tuple[float, float] = (0.4, 1.0)  # range of expression intensity
    reweight: tuple[str, ...] = ()  # training cells times a factor: 'race=African-American:0.1', 'emotion=Fear:0'
    spurious: str = ""  # what goes with the emotion in training: '', 'race', 'gender', 'age', 'background'
    spurious_strength: float = 0.0  # 0 to 1
    skin_tone: str = "by_race"  # 'by_race', or 'shared': one range of skin tones for all
    contrast: float = 0.0  # 0: fixed exposure, expression contrast falls with melanin; 1: exposed for the skin
    group_style: tuple[str, ...] = ()  # another look of expressions in a group: 'race=African-American:0.8'
    label_noise: tuple[str, ...] = ()  # share of wrong training labels in a group: 'gender=Female:0.2'

    def __post_init__(self) -> None:
        def check(ok: bool, field: str, message: str) -> None:
            if not ok:
                raise ValueError(f"data.faces.{field} is {getattr(self, field)!r}: {message}")

        check(self.joint in _JOINTS, "joint", f"one of {', '.join(_JOINTS)}")
        check(self.skin_tone in _TONES, "skin_tone", f"one of {', '.join(_TONES)}")
        check(self.spurious in _SPURIOUS, "spurious", "'' or one of " + ", ".join(_SPURIOUS[1:]))
        check(self.train >= 1, "train", "at least 1 image")
        check(self.test >= 1, "test", "at least 1 image")
        check(self.images_per_subject >= 1, "images_per_subject", "at least 1")
        check(0 <= self.spurious_strength <= 1, "spurious_strength", "between 0 and 1")
        check(0 <= self.contrast <= 1, "contrast", "between 0 and 1")
        low, high = self.strength
        check(0 <= low <= high <= 1.2, "strength", "0 <= low <= high <= 1.2")
        for field, top in (("reweight", np.inf), ("group_style", 1.0), ("label_noise", 1.0)):
            for _, _, amount in group_amounts(f"data.faces.{field}", getattr(self, field)):
                check(0 <= amount <= top, field, f"amounts between 0 and {top:g}")

    def fingerprint(self) -> str:
        """12 hex digits that change when the images would."""
        text = json.dumps([GENERATOR_VERSION, dataclasses.asdict(self)], sort_keys=True)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


def group_amounts(
    field: str, entries: Iterable[str], known: Mapping[str, tuple[str, ...]] = joint.VALUES
) -> list[tuple[str, str, float]]:
    """Parses 'axis=value:amount' entries.

    Raises:
      ValueError: malformed, or an unknown axis or value; the message lists the valid ones.
    """
    out = []
    for entry in entries:
        axis, _, rest = entry.partition("=")
        value, _, amount = rest.rpartition(":")
        if axis not in known:
            raise ValueError(f"{field}: {entry!r} must begin with one of {', '.join(known)} and '='")
        if value not in known[axis]:
            raise ValueError(f"{field}: {value!r} in {entry!r} is none of {', '.join(known[axis])}")
        try:
            out.append((axis, value, float(amount)))
        except ValueError:
            raise ValueError(f"{field}: {entry!r} must end with ':' and a number") from None
    return out


def _cells(recipe: Recipe, split: str, rng: np.random.Generator) -> np.ndarray:
    base = joint.rafdb(split) if recipe.joint == "rafdb" else joint.balanced()
    if split == "train":
        base = joint.reweighted(base, group_amounts("data.faces.reweight", recipe.reweight))
        if recipe.spurious in joint.AXES:
            base = joint.spuriously_correlated(base, recipe.spurious, recipe.spurious_strength)
    return joint.draw(base, getattr(recipe, split), rng)


def _split_rows(recipe: Recipe, split: str) -> pd.DataFrame:
    """One row per image: labels and subject, without appearance."""
    rng = np.random.default_rng([recipe.seed, _SPLIT_CODE[split], 0])
    cells = _cells(recipe, split, rng)
    # Images of one race x gender x age cell are dealt to its subjects, so that a subject shows several emotions.
    group = np.ravel_multi_index(tuple(cells[:, 1:].T), joint.SHAPE[1:])
    order = np.lexsort([rng.random(len(cells)), group])
    cells, group = cells[order], group[order]
    starts = np.r_[True, group[1:] != group[:-1]]
    rank = np.arange(len(cells)) - np.maximum.accumulate(np.where(starts, np.arange(len(cells)), 0))
    subject = np.cumsum(starts | (rank % recipe.images_per_subject == 0)) - 1
    rows = pd.DataFrame(
        {
            "id": [f"{split}_{i:05d}" for i in range(len(cells))],
            "split": split,
            "subject": [f"{split}_s{s:05d}" for s in subject],
            **{axis: np.array(joint.VALUES[axis])[cells[:, k]] for k, axis in enumerate(joint.AXES)},
        }
    )
    rows["emotion_true"] = rows["emotion"]
    if split == "train":
        for axis, value, share in group_amounts("data.faces.label_noise", recipe.label_noise):
            wrong = (rows[axis] == value).to_numpy() & (rng.random(len(rows)) < share)
            shift = rng.integers(1, len(schema.EMOTIONS), len(rows))
            other = (cells[:, 0] + shift) % len(schema.EMOTIONS)
            rows.loc[wrong, "emotion"] = np.array(schema.EMOTIONS)[other[wrong]]
    if recipe.spurious == "background":
        tied = rng.random(len(rows)) < (recipe.spurious_strength if split == "train" else 0.0)
        hue = np.where(tied, cells[:, 0], rng.integers(0, len(schema.EMOTIONS), len(rows)))
        rows["background"] = [f"hue{h}" for h in hue]
    return rows


def styled(expression: Expression, amount: float) -> Expression:
    """The same prototypes with another look: quieter and one-sided."""
    return expression.replace(
        au=expression.au * np.float32(1 - 0.6 * amount),
        asymmetry=np.float32(np.clip(expression.asymmetry + 0.5 * amount, -1, 1)),
    )


def _person(recipe: Recipe, row: pd.Series, index: int) -> people.Subject:
    rng = np.random.default_rng([recipe.seed, _SPLIT_CODE[row["split"]], 1, index])
    age = float(rng.uniform(*people.AGE_RANGES[row["age"]]))
    tone = float(rng.uniform(0, 0.95)) if recipe.skin_tone == "shared" else None
    return people.subject(rng, row["race"], row["gender"], age, tone)


def _photograph(recipe: Recipe, row: pd.Series, person: people.Subject, index: int) -> Face:
    rng = np.random.default_rng([recipe.seed, _SPLIT_CODE[row["split"]], 2, index])
    expression = people.expression(rng, person, row["emotion_true"], recipe.strength)
    for axis, value, amount in group_amounts("data.faces.group_style", recipe.group_style):
        if row[axis] == value:
            expression = styled(expression, amount)
    scene = people.scene(rng, person)
    if recipe.contrast > 0:
        tone = float(person.face.skin_tone)
        gain = float(skin_brightness(_REFERENCE_TONE) / skin_brightness(tone)) ** recipe.contrast
        scene = scene.replace(exposure=np.float32(scene.exposure * gain))
    if "background" in row:
        angle = 2 * np.pi * int(row["background"][3:]) / len(schema.EMOTIONS)
        colour = 127 + 110 * np.cos(angle + np.array([0, 2, 4]) * np.pi / 3)
        scene = scene.replace(background=np.stack([people.linear(colour)] * 2), wave_amount=np.float32(0.2))
    return person.face.replace(expression=expression, scene=scene)


def labels(recipe: Recipe) -> pd.DataFrame:
    """The table of `generate` without anything that depends on appearance; at once."""
    return pd.concat([_split_rows(recipe, split) for split in ("train", "test")], ignore_index=True)


def generate(recipe: Recipe) -> tuple[pd.DataFrame, list[Face]]:
    """Draws the whole data set.

    Returns:
      The table (id, split, subject, emotion, emotion_true, race, gender, age, age_years, skin_tone, AU1 ... as
      int8, and background where it is planted), and one Face per row. Only rendering is left to do.
    """
    tables, faces = [], []
    for split in ("train", "test"):
        rows = _split_rows(recipe, split)
        person, last = None, ""
        subject_index = -1
        for index, (_, row) in enumerate(rows.iterrows()):
            if row["subject"] != last or person is None:
                subject_index, last = subject_index + 1, row["subject"]
                person = _person(recipe, row, subject_index)
            faces.append(_photograph(recipe, row, person, index))
        here = faces[-len(rows) :]
        rows["age_years"] = [round(float(f.age), 1) for f in here]
        rows["skin_tone"] = [round(float(f.skin_tone), 4) for f in here]
        present = np.stack([f.expression.au for f in here]) >= action_units.PRESENT_FROM
        aus = pd.DataFrame(present.astype(np.int8), columns=[f"AU{au}" for au in action_units.AUS])
        tables.append(pd.concat([rows, aus], axis=1))
    return pd.concat(tables, ignore_index=True), faces
