"""Random people, photographs of them, and counterfactual twins.

The priors here (skin tones and hair by archetype, ageing, make-up) are this project's own choices, not measurements
of any population. A subject is drawn once; scenes and expressions are drawn per photograph.
"""

from __future__ import annotations

import dataclasses

import numpy as np

from frown_jax import schema
from frown_jax.faces import action_units, head
from frown_jax.faces.face import (
    Expression,
    Face,
    Features,
    Hair,
    Scene,
    Skin,
)

# MakeHuman archetype of each schema.RACES value, as index into (african, asian, caucasian).
_ARCHETYPE = {"African-American": 0, "Asian": 1, "Caucasian": 2}
SKIN_TONES = {"African-American": (0.46, 0.95), "Asian": (0.10, 0.44), "Caucasian": (0.0, 0.30)}
AGE_RANGES = {"0-3": (0.8, 3.9), "4-19": (4, 19.9), "20-39": (20, 39.9), "40-69": (40, 69.9), "70+": (70, 88)}

_HAIR_COLOURS = {
    "black": (28, 22, 20),
    "dark brown": (52, 36, 28),
    "brown": (88, 60, 40),
    "blond": (170, 130, 80),
    "red": (130, 62, 34),
}
_HAIR_POOL = {
    "African-American": ["black"] * 5 + ["dark brown"],
    "Asian": ["black"] * 4 + ["dark brown"] * 2 + ["brown"],
    "Caucasian": ["dark brown"] * 2 + ["brown"] * 3 + ["blond"] * 2 + ["red", "black"],
}
_IRIS_COLOURS = {
    "brown": (70, 42, 22),
    "dark brown": (42, 24, 14),
    "hazel": (110, 85, 45),
    "blue": (95, 125, 150),
    "green": (95, 115, 80),
}
_IRIS_POOL = {
    "African-American": ["dark brown"] * 4 + ["brown"],
    "Asian": ["dark brown"] * 3 + ["brown"] * 2,
    "Caucasian": ["brown"] * 2 + ["hazel", "blue", "blue", "green"],
}
_LIPSTICKS = ((150, 40, 50), (170, 70, 75), (120, 30, 45), (165, 85, 80))
_FRAMES = ((20, 20, 22), (70, 40, 25), (110, 105, 95))
# Standard deviation of each family of identity parameters; asymmetries and brows are small, or a face at rest
# reads as angry.
_IDENTITY_SD = {
    "asym": 0.13,
    "head-": 0.25,
    "eye-": 0.17,
    "nose-": 0.32,
    "mouth-": 0.28,
    "chin-": 0.27,
    "cheek-": 0.28,
    "ear-": 0.4,
    "forehead": 0.3,
    "eyebrows": 0.10,
    "neck": 0.3,
}
# MakeHuman's baby heads are boxy after alignment: narrower jaw and chin, rounder skull.
_INFANT_SHAPE = {"head-oval": 0.6, "head-scale-horiz": -0.6, "chin-width": -0.6, "neck-scale-horiz": -0.8}
_ONE_SIDED = ("diamond", "invertedtriangular", "oval", "rectangular", "round", "square", "triangular", "triangle")


@dataclasses.dataclass(frozen=True)
class Subject:
    """A person: everything that stays the same between photographs."""

    race: str
    gender: str
    age: float
    face: Face  # at rest, in the studio
    style: np.ndarray  # float64 [AUs], how strongly this person moves each AU, about 1
    asymmetry: float  # habitual one-sidedness


def linear(srgb: object) -> np.ndarray:
    """sRGB in 0 to 255 to linear RGB in 0 to 1, float32."""
    x = np.asarray(srgb, np.float32) / 255
    return np.where(x < 0.04045, x / 12.92, ((x + 0.055) / 1.055) ** 2.4).astype(np.float32)


def _unit(v: object) -> np.ndarray:
    a = np.asarray(v, np.float32)
    return a / np.linalg.norm(a)


def studio() -> Scene:
    """An even, frontal, noise-free photograph on grey: for contact sheets, regions and measurements."""
    return Scene(
        pose=np.zeros(3, np.float32),
        shift=np.zeros(2, np.float32),
        zoom=np.float32(1),
        key_direction=_unit([0.35, 0.45, 0.82]),
        key_colour=np.full(3, 0.85, np.float32),
        fill_direction=_unit([-0.7, 0.2, 0.5]),
        fill_colour=np.full(3, 0.12, np.float32),
        sky=np.full(3, 0.55, np.float32),
        ground=np.full(3, 0.3, np.float32),
        background=linear([[140, 148, 153], [102, 110, 115]]),
        waves=np.zeros((3, 3), np.float32),
        wave_amount=np.float32(0),
        exposure=np.float32(1.05),
        contrast=np.float32(1),
        blur=np.float32(0.35),
        noise=np.float32(0),
        occluder=np.array([0.5, 0.5, 0.1, 0.1], np.float32),
        occluder_on=np.float32(0),
        occluder_colour=np.zeros(3, np.float32),
        glasses=np.float32(0),
        glasses_colour=linear(_FRAMES[0]),
        noise_key=np.zeros(2, np.uint32),
    )


def _identity(rng: np.random.Generator, age: float) -> np.ndarray:
    adult = np.clip((age - 14) / 8, 0, 1)
    names = head.load().identity_names
    sd = [next(v for k, v in _IDENTITY_SD.items() if name.startswith(k)) for name in names]
    out = rng.normal(size=len(names)) * sd
    for i, name in enumerate(names):
        if name == "head-age":
            out[i] = 0
        elif name.startswith(("head-", "chin-")) and name.rsplit("-", 1)[1] in _ONE_SIDED:
            out[i] = abs(out[i]) * 0.7
    out = np.clip(out, -0.9, 0.9) * (0.45 + 0.55 * adult)
    infant = np.clip((7 - age) / 5, 0, 1)
    for name, amount in _INFANT_SHAPE.items():
        out[names.index(name)] += amount * infant
    return out.astype(np.float32)


def _hair(rng: np.random.Generator, race: str, gender: float, age: float) -> Hair:
    colour = linear(_HAIR_COLOURS[str(rng.choice(_HAIR_POOL[race]))]) * rng.uniform(0.8, 1.2)
    grey = np.clip(np.interp(age, [42, 52, 66, 80], [0, 0.12, 0.6, 0.95]) + rng.normal() * 0.12, 0, 1) * (age > 42)
    curl = float(rng.random() < {"African-American": 0.85, "Asian": 0.0, "Caucasian": 0.2}[race])
    old = np.clip((age - 38) / 40, 0, 1)
    bald = thickness = long = bangs = shadow = 0.0
    hairline = rng.normal() * 0.03
    style = rng.random()
    if age < 2.5:
        bald, shadow = 1.0, rng.uniform(0.2, 0.7)
        hairline -= 0.05
    elif gender > 0.5:
        if style < 0.10 + 0.25 * old:
            bald, shadow = 1.0, rng.uniform(0, 0.35)
        elif style < 0.35:
            bald, shadow = 1.0, rng.uniform(0.6, 0.9)
        else:
            thickness = rng.uniform(0.04, 0.14) + (0.08 if curl and rng.random() < 0.4 else 0)
            bangs = float(rng.random() < 0.18)
        hairline -= np.clip(rng.normal() * 0.06 + 0.12 * old, 0, 0.35)
    else:
        bangs = float(rng.random() < 0.3)
        if style < 0.65:
            long, thickness = 1.0, rng.uniform(0.06, 0.14)
        else:
            thickness = rng.uniform(0.15, 0.30) if curl else rng.uniform(0.08, 0.18)
    return Hair(
        colour=colour,
        grey=np.float32(grey),
        curl=np.float32(curl),
        thickness=np.float32(thickness),
        bald=np.float32(bald),
        shadow=np.float32(shadow),
        long=np.float32(long),
        bangs=np.float32(0 if curl else bangs),
        bangs_height=np.float32(rng.normal() * 0.05),
        hairline=np.float32(hairline),
    )


def _features(rng: np.random.Generator, race: str, gender: float, age: float, hair: Hair) -> Features:
    adult, old = np.clip((age - 14) / 8, 0, 1), np.clip((age - 38) / 40, 0, 1)
    female, male = 1 - gender, float(gender > 0.5)
    makeup = adult * (female > 0.5) * (rng.random() < 0.4) * rng.uniform(0.25, 0.8) * (old < 0.9)
    grey = float(hair.grey)
    brow = np.asarray(hair.colour) * 0.7 * (1 - 0.5 * grey) + 0.5 * grey * linear([120, 118, 115])
    shaves = adult * male * np.clip((age - 16) / 6, 0, 1)
    return Features(
        lip_redness=np.float32(rng.uniform(0.05, 0.3) + 0.2 * female * adult * rng.random()),
        makeup=np.float32(makeup),
        lipstick=linear(_LIPSTICKS[rng.integers(len(_LIPSTICKS))]),
        lashes=np.float32(np.clip(0.35 + 0.3 * female * adult + 0.3 * (makeup > 0), 0, 1.1)),
        brow_colour=brow.astype(np.float32),
        brow_width=np.float32(rng.uniform(0.75, 1.15) * (1.12 if male else 0.8) * (0.75 + 0.25 * adult)),
        brow_density=np.float32(rng.uniform(0.6, 0.9) * (0.45 + 0.55 * adult)),
        iris=linear(_IRIS_COLOURS[str(rng.choice(_IRIS_POOL[race]))]),
        sclera=np.float32(rng.uniform(0.85, 1.05) - 0.12 * old),
        teeth=np.float32(rng.uniform(0.85, 1.05) - 0.15 * old),
        stubble=np.float32(shaves * np.clip(rng.normal() * 0.22 + 0.18, 0, 0.6)),
        beard=np.float32(shaves > 0 and age > 20 and rng.random() < 0.15),
    )


def subject(rng: np.random.Generator, race: str, gender: str, age: float, skin_tone: float | None = None) -> Subject:
    """Draws a person with the given demographics.

    Args:
      rng: source of everything else about the person.
      race: one of schema.RACES; the archetype with 75 to 100 % of the shape mix.
      gender: one of schema.GENDERS; 'Unsure' gives an androgynous face.
      age: years, 0.8 to 90.
      skin_tone: melanin in 0 to 1; drawn from SKIN_TONES[race] if None.

    Raises:
      ValueError: unknown race or gender.
    """
    for value, known, name in ((race, schema.RACES, "race"), (gender, schema.GENDERS, "gender")):
        if value not in known:
            raise ValueError(f"{name} {value!r} is not one of {', '.join(known)}")
    mix = rng.dirichlet([0.35] * 3) * 0.25
    mix[_ARCHETYPE[race]] += 0.75
    target = {"Male": 1.0, "Female": 0.0, "Unsure": 0.5}[gender]
    male = float(np.clip(target + rng.normal() * 0.08, 0, 1))
    adult, old = np.clip((age - 14) / 8, 0, 1), np.clip((age - 38) / 40, 0, 1)
    tone = float(rng.uniform(*SKIN_TONES[race])) if skin_tone is None else float(skin_tone)
    hair = _hair(rng, race, male, age)
    skin = Skin(
        haemoglobin=np.float32(rng.uniform(0.05, 0.5)),
        carotene=np.float32(rng.uniform(0, 0.4) + (0.35 if race == "Asian" else 0)),
        flush=np.float32(rng.uniform(0.1, 1.0) * (1.2 if age < 12 else 0.8)),
        tired=np.float32(rng.uniform(0, 0.5) + 0.5 * old),
        roughness=np.float32(0.12 + 0.35 * old + 0.12 * rng.random() * adult),
        spots=np.float32((rng.random() < 0.25) * rng.uniform(0.3, 1) * (tone < 0.3) + 0.5 * old * rng.random()),
        wrinkles=np.float32(
            np.clip(np.interp(age, [25, 40, 55, 70, 85], [0, 0.2, 0.5, 0.85, 1.05]) * rng.uniform(0.75, 1.25), 0, 1.2)
        ),
        oil=np.float32(rng.uniform(0.02, 0.09)),
    )
    face = Face(
        race=mix.astype(np.float32),
        gender=np.float32(male),
        age=np.float32(age),
        skin_tone=np.float32(tone),
        identity=_identity(rng, age),
        weight=np.float32(np.clip(rng.normal() * 0.45 + 0.1 * old, -1, 1)),
        muscle=np.float32(np.clip(rng.normal() * 0.35, -1, 1)),
        skin=skin,
        features=_features(rng, race, male, age, hair),
        hair=hair,
        expression=neutral(),
        scene=studio().replace(
            glasses=np.float32((rng.random() < 0.06 + 0.2 * old) and age > 6),
            glasses_colour=linear(_FRAMES[rng.integers(len(_FRAMES))]),
        ),
    )
    style = np.exp(rng.normal(size=len(action_units.AUS)) * 0.12)
    return Subject(race, gender, age, face, style, float(rng.normal() * 0.06))


def neutral() -> Expression:
    """No AU, gaze at the camera."""
    return Expression(
        au=np.zeros(len(action_units.AUS), np.float32), asymmetry=np.float32(0), gaze=np.zeros(2, np.float32)
    )


def expression(
    rng: np.random.Generator, person: Subject, emotion: str, strength: tuple[float, float] = (0.4, 1.0)
) -> Expression:
    """Draws this person's expression of an emotion (EMFACS prototype, personal style, gaze).

    Args:
      strength: range of the overall intensity, uniform.
    """
    aus = action_units.vector(action_units.prototype(emotion, rng, rng.uniform(*strength)))
    return Expression(
        au=np.clip(aus * person.style, 0, 1.3).astype(np.float32),
        asymmetry=np.float32(person.asymmetry + rng.normal() * 0.06),
        gaze=(rng.normal(size=2) * (0.16, 0.08)).astype(np.float32),
    )


def scene(rng: np.random.Generator, person: Subject) -> Scene:
    """Draws a photograph in the wild: pose, crop jitter, light, camera, background, sometimes an occluder."""
    azimuth, elevation = rng.uniform(-1.1, 1.1), rng.uniform(-0.15, 0.9)
    opposite = azimuth + np.pi * rng.uniform(0.6, 1.2)
    tint, ambient = rng.normal() * 0.12, rng.uniform(0.35, 0.75)
    sky_tint = np.array([1 - 0.5 * tint, 1, 1 + 0.5 * tint], np.float32)

    def wall() -> np.ndarray:
        return linear(255 * (rng.uniform(0.1, 0.9, 3) * 0.5 + rng.uniform(0.05, 0.5)))

    return Scene(
        pose=(rng.normal(size=3) * (0.13, 0.07, 0.04)).astype(np.float32),
        shift=(rng.normal(size=2) * 0.02).astype(np.float32),
        zoom=np.float32(np.exp(rng.normal() * 0.03)),
        key_direction=_unit(
            [np.sin(azimuth) * np.cos(elevation), np.sin(elevation), np.cos(azimuth) * np.cos(elevation)]
        ),
        key_colour=(np.array([1 + tint, 1, 1 - tint]) * rng.uniform(0.75, 1.2) * (1.35 - ambient)).astype(np.float32),
        fill_direction=_unit([np.sin(opposite), 0.2, np.cos(opposite) * 0.6 + 0.3]),
        fill_colour=np.full(3, rng.uniform(0, 0.3), np.float32),
        sky=sky_tint * np.float32(ambient * rng.uniform(0.8, 1.2)),
        ground=sky_tint * np.float32(ambient * rng.uniform(0.35, 0.8)),
        background=np.stack([wall(), wall()]),
        waves=(rng.normal(size=(3, 3)) * (1.5, 1.5, 3)).astype(np.float32),
        wave_amount=np.float32(rng.uniform(0, 1)),
        exposure=np.float32(np.exp(rng.normal() * 0.18) * 1.05),
        contrast=np.float32(rng.uniform(0.9, 1.12)),
        blur=np.float32(rng.uniform(0.3, 0.75)),
        noise=np.float32(rng.uniform(0, 0.018)),
        occluder=np.array([*rng.uniform(0.1, 0.9, 2), *rng.uniform(0.08, 0.2, 2)], np.float32),
        occluder_on=np.float32(rng.random() < 0.05),
        occluder_colour=linear(255 * rng.uniform(0.1, 0.8, 3)),
        glasses=person.face.scene.glasses,
        glasses_colour=person.face.scene.glasses_colour,
        noise_key=rng.integers(0, 2**32, 2, dtype=np.uint32),
    )


def twin(face: Face, skin_tone: float | None = None, gender: float | None = None, hair: Hair | None = None) -> Face:
    """The counterfactual twin: the same face, expression and photograph with one attribute changed.

    Args:
      face: a single face.
      skin_tone: new melanin in 0 to 1; nothing else about the skin changes.
      gender: new gender, 0 female to 1 male. Changes the head's shape and the brows; takes make-up off a face
        that becomes male, stubble and beard off one that becomes female. Hair stays unless `hair` is given.
      hair: a hair style to wear.

    Raises:
      ValueError: skin_tone or gender outside 0 to 1.
    """
    for name, value in (("skin_tone", skin_tone), ("gender", gender)):
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"{name} is {value}; it runs from 0 to 1")
    if skin_tone is not None:
        face = face.replace(skin_tone=np.float32(skin_tone))
    if gender is not None:
        was, now = float(face.gender) > 0.5, gender > 0.5
        features = face.features
        if was != now:
            width = features.brow_width * np.float32(1.12 / 0.8 if now else 0.8 / 1.12)
            off = {"makeup": np.float32(0)} if now else {"stubble": np.float32(0), "beard": np.float32(0)}
            features = features.replace(brow_width=width, **off)
        face = face.replace(gender=np.float32(gender), features=features)
    return face if hair is None else face.replace(hair=hair)
