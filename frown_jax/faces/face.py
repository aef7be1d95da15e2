"""A face as a pytree of parameters.

Every leaf is float32 (scalars are 0-d) unless said otherwise; a batch has a leading axis on every leaf. Colours are
linear RGB in [0, 1]. "Race" names are MakeHuman's artistic archetypes, not measured populations.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from flax import struct

Array = Any  # jax.Array or np.ndarray


class Skin(struct.PyTreeNode):
    """Skin beyond its tone."""

    haemoglobin: Array  # 0 to 1
    carotene: Array  # 0 to 1
    flush: Array  # extra blood on cheeks and nose, 0 to 1.2
    tired: Array  # darkness under the eyes, 0 to 1
    roughness: Array  # 0 to 0.6
    spots: Array  # freckles and age spots, 0 to 1
    wrinkles: Array  # resting depth, 0 to 1.2
    oil: Array  # specular strength, 0 to 0.1


class Features(struct.PyTreeNode):
    """Lips, brows, eyes, facial hair."""

    lip_redness: Array  # 0 to 0.6
    makeup: Array  # 0 to 1
    lipstick: Array  # [3]
    lashes: Array  # length, 0 to 1.1
    brow_colour: Array  # [3]
    brow_width: Array  # about 1
    brow_density: Array  # 0 to 1
    iris: Array  # [3]
    sclera: Array  # brightness, about 1
    teeth: Array  # brightness, about 1
    stubble: Array  # 0 to 0.6
    beard: Array  # 0 or 1


class Hair(struct.PyTreeNode):
    """Hair on the head."""

    colour: Array  # [3]
    grey: Array  # 0 to 1
    curl: Array  # 0 or 1
    thickness: Array  # dm
    bald: Array  # 1: no hair shell (shaved or bald)
    shadow: Array  # of shaved hair, 0 to 1
    long: Array  # 0 or 1
    bangs: Array  # 0 or 1
    bangs_height: Array  # dm
    hairline: Array  # dm, negative recedes


class Expression(struct.PyTreeNode):
    """What the muscles do."""

    au: Array  # [25] intensities in the order of action_units.AUS, 0 to 1 (1.3 at most is drawn)
    asymmetry: Array  # left side times (1 + a), right side times (1 - a)
    gaze: Array  # [2] right, up; -1 to 1


class Scene(struct.PyTreeNode):
    """Pose, light, camera, background and what covers the face."""

    pose: Array  # [3] yaw, pitch, roll in radians
    shift: Array  # [2] of the crop, dm
    zoom: Array  # of the crop, about 1
    key_direction: Array  # [3] unit
    key_colour: Array  # [3]
    fill_direction: Array  # [3] unit
    fill_colour: Array  # [3]
    sky: Array  # [3] ambient from above
    ground: Array  # [3] ambient from below
    background: Array  # [2, 3] top and bottom colour
    waves: Array  # [3, 3] background pattern: two frequencies and a phase, three times
    wave_amount: Array  # 0 to 1
    exposure: Array  # about 1
    contrast: Array  # about 1
    blur: Array  # Gaussian sigma, pixels at 100 x 100
    noise: Array  # sd of sensor noise, of the range 0 to 1
    occluder: Array  # [4] centre x, y and radii, of the image side
    occluder_on: Array  # 0 or 1
    occluder_colour: Array  # [3]
    glasses: Array  # 0 or 1
    glasses_colour: Array  # [3]
    noise_key: Array  # uint32 [2]


class Face(struct.PyTreeNode):
    """A person in a photograph."""

    race: Array  # [3] mix of African, Asian, Caucasian archetypes; sums to 1
    gender: Array  # 0 female to 1 male
    age: Array  # years
    skin_tone: Array  # melanin, 0 lightest to 1 darkest
    identity: Array  # [106] in -1 to 1, order of the asset's identity_names
    weight: Array  # -1 to 1
    muscle: Array  # -1 to 1
    skin: Skin
    features: Features
    hair: Hair
    expression: Expression
    scene: Scene


def stack(faces: Sequence[Face]) -> Face:
    """One batch from single faces: a leading axis on every leaf."""

    def join(*leaves: Array) -> np.ndarray:
        out = np.stack([np.asarray(x) for x in leaves])
        return out if out.dtype == np.uint32 else out.astype(np.float32)

    return jax.tree.map(join, *faces)
