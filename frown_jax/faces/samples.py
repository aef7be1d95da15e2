"""Fixed surface samples of the head with their static attributes: what the renderer splats.

Positions are barycentric, so a sample follows its triangle through every morph. Density follows projected area,
times the largest stretch that any race x gender x age macro puts on the triangle, so that no head shows holes.
"""

from __future__ import annotations

import dataclasses
import functools

import numpy as np
from scipy.spatial import cKDTree

from frown_jax.faces import fields
from frown_jax.faces.head import Head, load, triangles

VIEW_SIDE = 2.2  # dm shown by the square image
VIEW_CENTRE = (0.0, 7.16)
SAMPLE_SPACING = VIEW_SIDE / 200  # one sample a pixel of the 200 x 200 supersampled grid
ID_BITS = 19  # sample ids share an int32 with a 12-bit depth

SKIN, EYE, TEETH, TONGUE, LASH, HAIR, LONG_HAIR, GLASSES = range(8)


# How attributes are packed for the per-pixel gather, which is bound by the number of words. Bytes hold 0 to 1;
# halves hold a symmetric range (name: largest magnitude).
PACKED_BYTES = (
    ("noise_low", "noise_mid", "noise_high", "white"),
    ("streak", "lips", "inside_mouth", "occlusion"),
    ("blush", "under_eye", "lid", "beard"),
    ("brow_window", "part", "barycentric_1", "barycentric_2"),
)
PACKED_HALVES: tuple[tuple[dict[str, float], ...], ...] = (({"scalp": 2.0}, {"brow_offset": 6.0}), ({"iris": 1.0}, {}))
PACKED_FLOATS = ("x", "y", "z")
WRINKLE_WORDS = 2  # the strongest wrinkle groups of a sample: group, depth, tilt_x, tilt_y as bytes


@dataclasses.dataclass(frozen=True)
class Samples:
    """N samples of the surface."""

    triangle: np.ndarray  # int32 [N, 3], into [body | shell | glasses] vertices
    source: np.ndarray  # int32 [N, 3], the body vertices that these came from (for normals)
    barycentric: np.ndarray  # float32 [N, 3]
    part: np.ndarray  # int32 [N], SKIN ... GLASSES
    attributes: dict[str, np.ndarray]  # float32 [N] each
    words: np.ndarray  # uint32 [W, N], what shading reads: floats, bytes, halves, wrinkles


def _pack(attributes: dict[str, np.ndarray], wrinkle: np.ndarray) -> np.ndarray:
    def byte(x: np.ndarray) -> np.ndarray:
        return np.round(np.clip(x, 0, 1) * 255).astype(np.uint32)

    words = [np.asarray(attributes[name], np.float32).view(np.uint32) for name in PACKED_FLOATS]
    for names in PACKED_BYTES:
        word = np.zeros(wrinkle.shape[0], np.uint32)
        for k, name in enumerate(names):
            word |= byte(attributes[name]) << np.uint32(8 * k)
        words.append(word)
    for halves in PACKED_HALVES:
        word = np.zeros(wrinkle.shape[0], np.uint32)
        for k, half in enumerate(halves):
            for name, limit in half.items():
                value = np.clip(attributes[name] / limit, -1, 1)
                word |= np.round((value + 1) * 32767.5).astype(np.uint32) << np.uint32(16 * k)
        words.append(word)
    strength = np.abs(wrinkle).sum(-1)
    strongest = np.argsort(-strength, axis=1, kind="stable")[:, :WRINKLE_WORDS]
    for k in range(WRINKLE_WORDS):
        group = strongest[:, k]
        depth, tilt_x, tilt_y = np.take_along_axis(wrinkle, group[:, None, None], 1)[:, 0].T
        word = group.astype(np.uint32)
        for place, value in enumerate((depth, (tilt_x + 1) / 2, (tilt_y + 1) / 2), 1):
            word |= byte(value) << np.uint32(8 * place)
        words.append(word)
    return np.stack(words).astype(np.uint32)


def _areas(points: np.ndarray, tri: np.ndarray) -> np.ndarray:
    p = points[tri]
    return np.linalg.norm(np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0]), axis=1)


class _Emitter:
    def __init__(self, head: Head):
        v = head.vertices
        self.points = np.concatenate([v, v[head.shell], head.glasses])
        self.source = np.concatenate([np.arange(len(v)), head.shell, np.zeros(len(head.glasses), int)])
        left, right = head.landmarks[:2]
        spread = np.linalg.norm(v[left] - v[right])
        self.shapes = [v]
        for offset in head.macro:
            shape = v + offset
            self.shapes.append(shape * (spread / np.linalg.norm(shape[left] - shape[right])))
        self.parts: list[tuple[np.ndarray, np.ndarray, np.ndarray]] = []

    def emit(
        self, quads: np.ndarray, part: int, density: float, boost: np.ndarray | None = None, cull: bool = True
    ) -> None:
        tri = triangles(quads)
        p = self.points[tri]
        normal = np.cross(p[:, 1] - p[:, 0], p[:, 2] - p[:, 0])
        area = np.linalg.norm(normal, axis=1)
        factor = np.full(len(tri), density)
        if boost is not None:
            factor = factor * np.concatenate([boost, boost])
        if part != GLASSES:
            base, *morphs = [_areas(s, self.source[tri]) for s in self.shapes]
            factor = factor * np.clip(np.max(morphs, 0) / (base + 1e-9), 0.8, 2.5)
        facing = normal[:, 2] / (area + 1e-9)
        tilt = np.degrees(np.arccos(np.clip(facing if cull else np.abs(facing), -1, 1)))
        visible = np.where(tilt < 112, np.cos(np.radians(np.clip(tilt - 25, 0, 89.9))), 0)
        centre = p.mean(1)
        visible = (
            visible * (centre[:, 1] > 5.15) * np.where(centre[:, 1] < 5.85, 0.45, 1) * (np.abs(centre[:, 0]) < 1.3)
        )
        count = np.ceil(area / 2 / SAMPLE_SPACING**2 * factor * visible).astype(int)
        which = np.repeat(np.arange(len(tri)), count)
        # R2 low-discrepancy sequence (Roberts 2018), folded into the triangle.
        j = np.arange(len(which))
        a, b = (j * 0.7548776662466927 + 0.37) % 1, (j * 0.5698402909980532 + 0.71) % 1
        fold = a + b > 1
        a[fold], b[fold] = 1 - a[fold], 1 - b[fold]
        weights = np.stack([1 - a - b, a, b], 1).astype(np.float32)
        at = np.einsum("nkc,nk->nc", self.points[tri[which]], weights)
        low, high = (5.9, 8.0) if part == LONG_HAIR else (5.2, 8.45)
        keep = (at[:, 1] > low) & (at[:, 1] < high) & (np.abs(at[:, 0]) < 1.2)
        if part == LONG_HAIR:  # the helper has front panels that would cover the face
            keep &= (at[:, 2] < 0.35) | (np.abs(at[:, 0]) > 0.74)
            keep &= (np.abs(at[:, 0]) > 0.55) | (at[:, 1] < 6.5)
        self.parts.append((tri[which][keep], weights[keep], np.full(keep.sum(), part)))


def _attributes(head: Head, at: np.ndarray, part: np.ndarray, interpolate) -> dict[str, np.ndarray]:
    """Scalars per sample, from base-pose positions `at` [N, 3]."""
    x, y, z = at.T
    rng = np.random.default_rng(1)
    strand = np.where(part == LONG_HAIR, np.arctan2(x, z - 0.2) * 90, np.arctan2(x, z - 0.2) * 70 + 3 * y)
    strand_id = np.floor(strand).astype(int)
    table, f = rng.random(4096), strand - strand_id
    brow_offset, brow_window = fields.brow_field(at)
    front = z > 0.5
    body = np.unique(head.quads[head.quad_group == 0])

    def blob(cx: float, cy: float, rx: float, ry: float) -> np.ndarray:
        return np.exp(-(((np.abs(x) - cx) / rx) ** 2 + ((y - cy) / ry) ** 2)) * front

    return {
        "x": x,
        "y": y,
        "z": z,
        "lips": interpolate(head.masks["lips"]),
        "inside_mouth": interpolate(head.masks["inside_mouth"]),
        "occlusion": np.where(part == GLASSES, 1, interpolate(head.occlusion)),
        "scalp": fields.hair_field(at),
        "streak": table[strand_id % 4096] * (1 - f) + table[(strand_id + 1) % 4096] * f,
        "noise_low": fields.value_noise(at, 5, 2),
        "noise_mid": fields.value_noise(at, 16, 3),
        "noise_high": fields.value_noise(at, 40, 4),
        "white": rng.random(len(at)),
        "brow_offset": np.clip(brow_offset, -6, 6),
        "brow_window": brow_window,
        "beard": fields.beard_field(at),
        "iris": np.where((part == EYE) & (z > 1.2), np.hypot(np.abs(x) - 0.308, y - 7.284), 9),
        "blush": blob(0.42, 6.95, 0.17, 0.14),
        "under_eye": blob(0.28, 7.17, 0.15, 0.05),
        "lid": blob(0.32, 7.37, 0.17, 0.045),
        "lash": np.where(part == LASH, cKDTree(head.vertices[body]).query(at)[0], 9.0),
    }


@functools.cache
def build() -> Samples:
    """Places the samples on the embedded head (once per process, under two seconds)."""
    head = load()
    quads, group = head.quads, head.quad_group
    body = quads[group == 0]
    lips, inside, lids = (head.masks[k][body].max(1) for k in ("lips", "inside_mouth", "eyelids"))
    density = 1.15
    emitter = _Emitter(head)
    emitter.emit(body, SKIN, density, 1 + 0.8 * lips + 3.5 * lids + 0.5 * inside)
    emitter.emit(quads[np.isin(group, [2, 3])], EYE, density * 1.2)
    emitter.emit(quads[np.isin(group, [4, 5])], TEETH, density * 1.5, cull=False)
    emitter.emit(quads[group == 6], TONGUE, density)
    emitter.emit(quads[group >= 7], LASH, density * 2, cull=False)
    emitter.emit(head.shell_quads, HAIR, density * 1.25)
    emitter.emit(quads[group == 1], LONG_HAIR, density * 0.62, cull=False)
    emitter.emit(head.glasses_quads, GLASSES, density)
    triangle, barycentric, part = (np.concatenate(p) for p in zip(*emitter.parts, strict=True))
    if len(part) >= 1 << ID_BITS:
        raise AssertionError(f"{len(part)} samples do not fit {ID_BITS} bits")
    source = emitter.source[triangle]

    def interpolate(per_vertex: np.ndarray) -> np.ndarray:
        return (per_vertex[source] * barycentric).sum(1)

    at = np.einsum("nkc,nk->nc", head.vertices[source], barycentric)
    at = np.where((part == GLASSES)[:, None], np.einsum("nkc,nk->nc", emitter.points[triangle], barycentric), at)
    attributes = _attributes(head, at, part, interpolate)
    attributes["part"] = part / 255
    attributes["barycentric_1"], attributes["barycentric_2"] = barycentric.T[1:]
    wrinkle = fields.wrinkles(at) * ((part == SKIN) * (1 - attributes["lips"]))[:, None, None]
    return Samples(
        triangle=triangle.astype(np.int32),
        source=source.astype(np.int32),
        barycentric=barycentric,
        part=part.astype(np.int32),
        attributes={name: np.asarray(value, np.float32) for name, value in attributes.items()},
        words=_pack(attributes, wrinkle),
    )
