"""Deferred shading of the winning sample of each pixel.

Skin colour follows Beer-Lambert absorption by melanin, haemoglobin and carotene; all constants are this project's
own choice by eye. Arrays are channel first, [3, pixels]: on CPU that and the barriers after gathers keep XLA from
recomputing them in every consumer (five times faster, measured on the prototype).
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from frown_jax.faces import samples
from frown_jax.faces.face import Face
from frown_jax.faces.fields import WRINKLES
from frown_jax.faces.geometry import GRID, Tables, rotation, smooth, winners

_BASE = np.array([0.82, 0.60, 0.49], np.float32)  # skin without pigment, linear RGB
_MELANIN = np.array([2.45, 3.05, 3.45], np.float32)
_BLOOD = np.array([0.02, 0.42, 0.34], np.float32)
_CAROTENE = np.array([0.0, 0.06, 0.30], np.float32)
_LIP_BLOOD = np.array([0.05, 1.0, 0.75], np.float32)
_MOUTH = np.array([0.20, 0.04, 0.035], np.float32)
_TONGUE = np.array([0.42, 0.12, 0.11], np.float32)
_TEETH = np.array([0.80, 0.76, 0.67], np.float32)
_BRIGHTNESS = np.array([0.25, 0.62, 0.13], np.float32)

_keep = jax.lax.optimization_barrier


def skin_albedo(melanin: jax.Array | float) -> jax.Array:
    """Linear RGB [3] of plain skin with average blood and carotene."""
    return jnp.asarray(_BASE) * jnp.exp(-(melanin * _MELANIN + 0.25 * _BLOOD + 0.2 * _CAROTENE))


def skin_brightness(melanin: jax.Array | float) -> jax.Array:
    """Luminance-like brightness of skin_albedo, 0 to 1."""
    return (skin_albedo(melanin) * _BRIGHTNESS).sum()


def _mix(a: jax.Array, b: jax.Array | float, amount: jax.Array | float) -> jax.Array:
    return a + (b - a) * amount


def _col(x: jax.Array | np.ndarray) -> jax.Array:
    return jnp.asarray(x)[:, None]


def wrinkle_depth(t: Tables, face: Face, units: jax.Array) -> jax.Array:
    """Depth of each wrinkle group, [len(WRINKLES)]: resting depth plus what the face units fold."""

    def u(name: str) -> jax.Array:
        if name in t.unit_names:
            return units[t.unit(name)]
        return (units[t.unit(name + "Left")] + units[t.unit(name + "Right")]) / 2

    rest = face.skin.wrinkles
    folds = 0.35 + 0.65 * rest
    raise_ = jnp.maximum(u("browInnerUp"), u("browOuterUp"))
    smile, sneer = u("mouthSmile"), u("noseSneer")
    depth = {
        "forehead": 0.55 * rest + 1.1 * raise_ * folds,
        "glabella": 0.30 * rest + 1.3 * u("browDown") * folds,
        "crow": 0.55 * rest * (0.5 + smile) + jnp.maximum(u("cheekSquint"), 0.5 * smile) * folds,
        "nasolabial": 0.55 * rest
        + (0.8 * smile + 0.7 * sneer + 0.5 * u("mouthUpperUp") + 0.3 * u("mouthStretch")) * folds,
        "eyebag": 0.55 * rest * (0.6 + 0.4 * rest) + 0.35 * u("cheekSquint") + 0.25 * u("eyeSquint"),
        "nosebridge": 1.3 * sneer * folds,
        "marionette": 0.45 * rest + 0.6 * u("mouthFrown") * folds,
        "chin": 0.7 * u("mouthShrugLower"),
        "dimple": 1.2 * u("mouthDimple"),
    }
    return jnp.stack([depth[name] for name in WRINKLES])


class _Pixels:
    """Static attributes of the winning samples, float32 [pixels] each, and masks of what they belong to."""

    def __init__(self, t: Tables, ids: jax.Array):
        words = list(_keep(jnp.take(t.words, ids, axis=1, mode="clip")))
        self._values = {}
        for name in samples.PACKED_FLOATS:
            self._values[name] = jax.lax.bitcast_convert_type(words.pop(0), jnp.float32)
        for names in samples.PACKED_BYTES:
            word = words.pop(0)
            for k, name in enumerate(names):
                self._values[name] = self._byte(word, k)
        for halves in samples.PACKED_HALVES:
            word = words.pop(0)
            for k, half in enumerate(halves):
                for name, limit in half.items():
                    unit = ((word >> (16 * k)) & 0xFFFF).astype(jnp.float32) / 32767.5 - 1
                    self._values[name] = unit * limit
        self.wrinkles = words
        part = jnp.round(self["part"] * 255).astype(jnp.int32)
        self.skin = (part == samples.SKIN).astype(jnp.float32)
        self.eye, self.teeth, self.tongue = (part == k for k in (samples.EYE, samples.TEETH, samples.TONGUE))
        self.lash, self.long_hair, self.glasses = (
            part == k for k in (samples.LASH, samples.LONG_HAIR, samples.GLASSES)
        )
        self.hair = (part == samples.HAIR) | self.long_hair
        b, c = self["barycentric_1"], self["barycentric_2"]
        self.barycentric = (1 - b - c, b, c)

    @staticmethod
    def _byte(word: jax.Array, k: int) -> jax.Array:
        return ((word >> (8 * k)) & 0xFF).astype(jnp.float32) / 255

    def __getitem__(self, name: str) -> jax.Array:
        return self._values[name]

    def folds(self, strength: jax.Array) -> jax.Array:
        """Depth and tilts of the wrinkles [3, pixels] for a strength per group [len(WRINKLES)]."""
        total = jnp.zeros((3, *self.skin.shape))
        for word in self.wrinkles:
            group = (word & 0xFF).astype(jnp.int32)
            local = jnp.stack([self._byte(word, 1), self._byte(word, 2) * 2 - 1, self._byte(word, 3) * 2 - 1])
            total += strength[group] * local
        return total


def _normal(t: Tables, face: Face, px: _Pixels, ids: jax.Array, normals: jax.Array, tilt: jax.Array) -> jax.Array:
    """Camera-space unit normals [3, pixels], bent by wrinkles, pores and hair strands."""
    source = jnp.take(t.source, ids, axis=0, mode="clip")
    parts = [jnp.take(normals, source[:, k], axis=0, mode="clip") * px.barycentric[k][:, None] for k in range(3)]
    n = (parts[0] + parts[1] + parts[2]).T
    # One-ring normals of the small teeth meshes are noise; a smooth dental arch is a function of position.
    arch = jnp.stack([px["x"] * 1.8, jnp.full_like(px["x"], -0.1), jnp.full_like(px["x"], 0.9)])
    n = _keep(jnp.where(px.teeth, arch, n))
    pores = (px["noise_high"] - 0.5) * face.skin.roughness * px.skin
    strand = (px["streak"] - 0.5) * (1 - face.hair.curl)
    curls = ((px["noise_mid"] - 0.5) * 1.4 + (px["noise_high"] - 0.5)) * face.hair.curl
    strands = (strand + curls) * px.hair
    x = n[0] + 0.55 * tilt[0] * px.skin + 0.5 * pores + 0.9 * strands
    y = n[1] + 0.55 * tilt[1] * px.skin + 0.5 * pores + 0.5 * strands
    r = rotation(face.scene.pose)
    ax, ay, az = (r[k, 0] * x + r[k, 1] * y + r[k, 2] * n[2] for k in range(3))
    scale = jax.lax.rsqrt(ax * ax + ay * ay + az * az + 1e-8)
    flip = (px.long_hair | px.lash) & (az < 0)  # thin sheets are lit from both sides
    scale = jnp.where(flip, -scale, scale)
    return _keep(jnp.stack([ax * scale, ay * scale, az * scale]))


def _albedo(face: Face, px: _Pixels, depth: jax.Array) -> jax.Array:
    """Linear RGB [3, pixels]."""
    skin, f, hair = face.skin, face.features, face.hair
    x, y = px["x"], px["y"]
    high, white, streak = px["noise_high"], px["white"], px["streak"]
    mottle = (px["noise_mid"] - 0.5) * 0.10 + (px["noise_low"] - 0.5) * 0.12 + (high - 0.5) * skin.roughness * 0.25
    nose = jnp.exp(-((x * 6.25) ** 2 + ((y - 6.92) * 8.33) ** 2))
    blood = skin.haemoglobin + (0.55 * px["blush"] + 0.25 * nose) * skin.flush + 0.35 * px["under_eye"] * skin.tired
    melanin = (
        face.skin_tone * (1 + mottle * 0.9)
        + 0.16 * px["under_eye"] * (0.3 + skin.tired)
        + smooth(0.74, 0.86, high) * skin.spots * 0.10
        + 0.10 * px["lid"] * (0.5 + face.skin_tone)
    )
    inside = smooth(0.35, 0.8, px["inside_mouth"])
    on_lips = smooth(0.25, 0.75, px["lips"]) * (1 - inside)
    out = _col(_BASE) * jnp.exp(
        -(melanin * _col(_MELANIN) + blood * _col(_BLOOD) + skin.carotene * _col(_CAROTENE) + 0.42 * depth)
    )
    lip = jnp.asarray(_BASE) * jnp.exp(
        -((face.skin_tone * 0.85 + 0.10) * _MELANIN + (skin.haemoglobin + f.lip_redness) * _LIP_BLOOD)
    )
    lipstick = f.lipstick * jnp.exp(-0.8 * face.skin_tone)
    lip = _mix(_col(lip) * (0.92 + 0.16 * streak), _col(lipstick), f.makeup)
    out = _mix(out, lip, on_lips) * (1 - 0.38 * f.makeup * px["lid"])
    out = _mix(out, _col(_MOUTH), inside)
    offset = jnp.abs(px["brow_offset"]) / f.brow_width
    brow = jnp.exp(-(offset**3)) * px["brow_window"] * jnp.clip(0.35 + 0.5 * streak + 0.5 * white, 0, 1)
    out = _mix(out, _col(f.brow_colour), brow * f.brow_density)
    stubble = jnp.clip(f.stubble * px["beard"] * (1 - on_lips) * (0.65 + 0.5 * white), 0, 0.85)
    out = _mix(out, _col(hair.colour) * 0.6 + 0.01, stubble)
    under = jnp.maximum(hair.shadow, 0.95 * (1 - hair.bald))
    shaved = under * smooth(-0.07, 0.05, px["scalp"] + hair.hairline) * (0.8 + 0.3 * white)
    out = _mix(out, _col(hair.colour), jnp.clip(shaved, 0, 0.9))

    radius = px["iris"]
    iris = _col(f.iris) * ((0.75 + 0.5 * streak) * (1 - 0.65 * smooth(0.045, 0.0615, radius)))
    white_of_eye = _col(np.array([0.72, 0.68, 0.64], np.float32)) * ((1 - 0.22 * smooth(0.08, 0.15, radius)) * f.sclera)
    eye = jnp.where(radius < 0.022, 0.006, _mix(iris, white_of_eye, smooth(0.058, 0.065, radius)))
    strands = _col(hair.colour) * (0.62 + 0.76 * (streak * (1 - hair.curl) + high * hair.curl))
    grey = jnp.clip(hair.grey * (0.55 + 0.6 * high + 0.4 * streak), 0, 1)
    strands = _mix(strands, 0.40 * (0.65 + 0.7 * streak), grey)
    # Single teeth are not modelled: dark lines at their usual widths along the arch.
    across = jnp.abs(x)
    gap = sum(jnp.exp(-(((across - at) / 0.006) ** 2)) for at in (0.0, 0.052, 0.098, 0.142))
    teeth = _col(_TEETH) * (f.teeth * (1 - 0.35 * gap) * (1 - 0.55 * smooth(0.11, 0.24, across)))
    out = jnp.where(px.eye, eye, out)
    out = jnp.where(px.teeth, teeth, out)
    out = jnp.where(px.tongue, _col(_TONGUE), out)
    out = jnp.where(px.lash, 0.012, out)
    out = jnp.where(px.hair, strands, out)
    return _keep(jnp.where(px.glasses, _col(face.scene.glasses_colour), out))


def _lit(face: Face, px: _Pixels, albedo: jax.Array, n: jax.Array) -> jax.Array:
    """Key and fill light, sky and ground, specular, a little subsurface; linear RGB [3, pixels]."""
    scene, skin = face.scene, px.skin
    y, z = px["y"], px["z"]
    open_mouth = px.teeth | px.tongue | (skin * px["inside_mouth"] > 0.5)
    ao = jnp.where(open_mouth, jnp.clip(0.22 + 0.55 * (z - 1.0), 0.08, 0.7), px["occlusion"])
    ao = jnp.where(px.teeth, 0.25 + 0.75 * smooth(1.1, 1.42, z), ao)
    ao = jnp.where(px.eye, (0.62 + 0.25 * ao) * (1 - 0.35 * smooth(7.29, 7.37, y)), ao)
    ao = jnp.where(px.hair | px.glasses, 0.9, ao)
    ao = jnp.where(px.long_hair, 0.55 + 0.2 * smooth(6.2, 7.4, y), ao)

    towards_key = n[0] * scene.key_direction[0] + n[1] * scene.key_direction[1] + n[2] * scene.key_direction[2]
    towards_fill = n[0] * scene.fill_direction[0] + n[1] * scene.fill_direction[1] + n[2] * scene.fill_direction[2]
    wrap = 0.05 + 0.17 * skin
    diffuse = jnp.clip((towards_key + wrap) / (1 + wrap), 0, 1) * (0.35 + 0.65 * ao)
    fill = jnp.clip(towards_fill, 0, 1) * ao
    hidden = ao * (0.3 + 0.7 * ao)
    ambient = _col(scene.sky) * ((0.5 + 0.5 * n[1]) * hidden) + _col(scene.ground) * ((0.5 - 0.5 * n[1]) * hidden)

    half = scene.key_direction + jnp.array([0, 0, 1.0])
    half = half / jnp.linalg.norm(half)
    n1 = jnp.clip(n[0] * half[0] + n[1] * half[1] + n[2] * half[2], 0, 1)
    n4 = n1**4
    n8 = n4 * n4
    n16 = n8 * n8
    n32 = n16 * n16
    n128 = (n32 * n32) * (n32 * n32)
    on_lips = smooth(0.25, 0.75, px["lips"]) * (1 - smooth(0.35, 0.8, px["inside_mouth"]))
    specular = face.skin.oil * n16 * n4 * (0.5 + 0.5 * ao) * (1 + 1.2 * on_lips) * skin
    specular = jnp.where(px.glasses, 0.3 * n32, specular)
    specular = jnp.where(px.teeth, 0.12 * n32, specular)
    specular = jnp.where(px.hair, 0.05 * n16, specular)
    specular = jnp.where(px.eye, 0.55 * n128 + 0.02 * n8, specular)
    scatter = skin * jnp.exp(-(((towards_key + 0.05) * 4.5) ** 2)) * 0.06 * (1 - face.skin_tone)
    key = diffuse + scatter * _col(np.array([1.0, 0.25, 0.12], np.float32))
    light = _col(scene.key_colour) * key + _col(scene.fill_colour) * fill + ambient
    return albedo * light + specular * _col(scene.key_colour)


def _background(face: Face) -> jax.Array:
    yy, xx = jnp.mgrid[0:GRID, 0:GRID] / GRID
    u, v = xx.reshape(-1) - 0.5, yy.reshape(-1) - 0.5
    top, bottom = face.scene.background
    colour = _col(top) * (0.5 - v) + _col(bottom) * (0.5 + v)
    waves = sum(jnp.sin(w[0] * u * 6 + w[1] * v * 6 + w[2]) for w in face.scene.waves) / 3
    return colour * (1 + 0.5 * face.scene.wave_amount * waves)


def shade(t: Tables, face: Face, units: jax.Array, grid: jax.Array, normals: jax.Array) -> jax.Array:
    """Linear RGB of every pixel of the supersampled grid, [GRID, GRID, 3]."""
    ids, empty = winners(grid)
    px = _Pixels(t, ids)
    folds = _keep(px.folds(wrinkle_depth(t, face, units)))
    n = _normal(t, face, px, ids, normals, folds[1:])
    colour = _lit(face, px, _albedo(face, px, folds[0]), n)
    colour = jnp.where(empty, _background(face), colour)
    return jnp.moveaxis(colour.reshape(3, GRID, GRID), 0, -1)
