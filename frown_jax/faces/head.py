"""The static head: the baked asset plus what is derived from it once (numpy, about a second)."""

from __future__ import annotations

import dataclasses
import functools
from importlib import resources

import numpy as np

from frown_jax.faces import fields

_NEIGHBOURS = 8


@dataclasses.dataclass(frozen=True)
class Head:
    """Base pose and morph targets. V vertices; vertex arrays end in the 7 joint centroids.

    The rendered vertex array is [body V | hair shell | glasses]; `shell` and `glasses` fill it up.
    """

    vertices: np.ndarray  # float32 [V, 3], dm
    quads: np.ndarray  # int32 [Q, 4]
    quad_group: np.ndarray  # uint8 [Q]: body, long hair, eyes 2-3, teeth 4-5, tongue 6, lashes 7-10
    macro: np.ndarray  # float32 [24, V, 3], race x gender x age offsets
    build: np.ndarray  # float32 [32, V, 3], gender x age x weight/muscle offsets
    identity_low: np.ndarray  # float32 [106, V, 3]
    identity_high: np.ndarray  # float32 [106, V, 3]
    units: np.ndarray  # float32 [52, V, 3], face units
    macro_names: tuple[str, ...]
    build_names: tuple[str, ...]
    identity_names: tuple[str, ...]
    unit_names: tuple[str, ...]
    masks: dict[str, np.ndarray]  # float64 [V] each, in [0, 1]: lips, eyelids, inside_mouth
    ring: np.ndarray  # int32 [V, 8, 2], ordered neighbours for normals, padded with the vertex itself
    occlusion: np.ndarray  # float64 [V], ambient occlusion in [0, 1]
    landmarks: np.ndarray  # int [5]: left eye, right eye, nose tip, left and right mouth corner
    shell: np.ndarray  # int [H], body vertices duplicated as hair and beard shell
    shell_quads: np.ndarray  # int32 [., 4], into the rendered vertex array
    glasses: np.ndarray  # float32 [G, 3]
    glasses_quads: np.ndarray  # int32 [., 4], into the rendered vertex array


def _rings(quads: np.ndarray, count: int) -> np.ndarray:
    following: list[dict[int, int]] = [{} for _ in range(count)]
    for quad in quads:
        for k in range(4):
            following[quad[k]].setdefault(int(quad[(k + 1) % 4]), int(quad[k - 1]))
    ring = np.repeat(np.arange(count, dtype=np.int32)[:, None, None], _NEIGHBOURS, 1).repeat(2, 2)
    for i, edges in enumerate(following):
        for k, edge in enumerate(list(edges.items())[:_NEIGHBOURS]):
            ring[i, k] = edge
    return ring


def _normals(vertices: np.ndarray, ring: np.ndarray) -> np.ndarray:
    a, b = vertices[ring[:, :, 0]] - vertices[:, None], vertices[ring[:, :, 1]] - vertices[:, None]
    n = np.cross(a, b).sum(1)
    return n / (np.linalg.norm(n, axis=1, keepdims=True) + 1e-8)


def triangles(quads: np.ndarray) -> np.ndarray:
    """Each quad as two triangles, [2Q, 3]: all first halves, then all second halves."""
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def _ambient_occlusion(vertices: np.ndarray, normals: np.ndarray, body: np.ndarray, joints: int) -> np.ndarray:
    """Share of 96 directions of the upper hemisphere that each vertex sees, from z-buffers of surface points."""
    rng = np.random.default_rng(0)
    tri = triangles(body)
    area = np.linalg.norm(
        np.cross(vertices[tri[:, 1]] - vertices[tri[:, 0]], vertices[tri[:, 2]] - vertices[tri[:, 0]]), axis=1
    )
    which = np.repeat(np.arange(len(tri)), np.maximum(1, np.ceil(area / 4e-4)).astype(int))
    uv = rng.random((len(which), 2))
    fold = uv.sum(1) > 1
    uv[fold] = 1 - uv[fold]
    corner = vertices[tri[which]]
    points = corner[:, 0] * (1 - uv.sum(1))[:, None] + corner[:, 1] * uv[:, :1] + corner[:, 2] * uv[:, 1:]
    points = np.concatenate([points, vertices[: len(vertices) - joints]])
    lifted, size, centre = vertices + normals * 0.02, 0.018, vertices.mean(0)
    seen, total = np.zeros(len(vertices)), np.zeros(len(vertices))
    for k in range(96):
        up, turn = 1 - (k + 0.5) / 96 * 1.3, k * 2.399963
        flat = np.sqrt(max(0.0, 1 - up * up))
        direction = np.array([flat * np.cos(turn), flat * np.sin(turn), up])
        u = np.cross(direction, [0.3, 0.9, 0.1])
        u /= np.linalg.norm(u)
        w = np.cross(direction, u)

        def pixel(p: np.ndarray, u: np.ndarray = u, w: np.ndarray = w) -> np.ndarray:
            column = (p @ u / size + 300).astype(int).clip(0, 599)
            row = ((p - centre) @ w / size + 300).astype(int).clip(0, 599)
            return column * 600 + row

        nearest = np.full(360000, -9.0)
        np.maximum.at(nearest, pixel(points), points @ direction)
        cosine = np.clip(normals @ direction, 0, 1)
        seen += cosine * (lifted @ direction >= nearest[pixel(lifted)] - 0.03)
        total += cosine
    return np.where(total > 0.5, seen / np.maximum(total, 0.5), 1.0)


def _glasses() -> tuple[np.ndarray, np.ndarray]:
    """One frame as thin tubes: two superelliptic rims, two temples, a bridge."""
    vertices: list[np.ndarray] = []
    quads: list[list[int]] = []

    def tube(path: list[tuple[float, float, float]], radius: float, closed: bool, sides: int = 6) -> None:
        p = np.array(path)
        n, first = len(p), len(vertices)
        for i in range(n):
            before, after = (p[i - 1], p[(i + 1) % n]) if closed else (p[max(i - 1, 0)], p[min(i + 1, n - 1)])
            along = (after - before) / np.linalg.norm(after - before)
            a = np.cross(along, [0.1, 0.2, 1.0])
            a /= np.linalg.norm(a)
            b = np.cross(along, a)
            for j in range(sides):
                angle = 2 * np.pi * j / sides
                vertices.append(p[i] + radius * (np.cos(angle) * a + np.sin(angle) * b))
        for i in range(n if closed else n - 1):
            for j in range(sides):
                here, there, turn = first + i * sides, first + ((i + 1) % n) * sides, (j + 1) % sides
                quads.append([here + j, there + j, there + turn, here + turn])

    def rounded(t: float) -> float:
        return float(np.sign(t) * abs(t) ** (2 / 2.6))

    for side in (-1, 1):
        rim = []
        for angle in np.linspace(0, 2 * np.pi, 40, endpoint=False):
            c, s = np.cos(angle), np.sin(angle)
            depth = 1.58 - 0.18 * ((c * side + 1) / 2) ** 2
            rim.append((side * 0.335 + 0.235 * rounded(c), 7.255 + 0.17 * rounded(s), depth))
        tube(rim, 0.016, closed=True)
        tube([(side * 0.565, 7.32, 1.42), (side * 0.68, 7.33, 1.0), (side * 0.76, 7.32, 0.45)], 0.014, closed=False)
    tube([(-0.105, 7.29, 1.58), (0, 7.32, 1.63), (0.105, 7.29, 1.58)], 0.014, closed=False)
    return np.array(vertices, np.float32), np.array(quads, np.int32)


@functools.cache
def load() -> Head:
    """Loads the embedded asset (once per process)."""
    asset_file = resources.files("frown_jax.faces") / "asset" / "head.npz"
    with resources.as_file(asset_file) as path, np.load(path, allow_pickle=False) as archive:
        asset = {k: archive[k] for k in archive.files}
    vertices = asset["vertices"].astype(np.float32) / 1e4
    quads = asset["quads"].astype(np.int32)
    group = asset["quad_group"]
    joints = [str(j) for j in asset["joint_names"]]
    count = len(vertices)
    body = quads[group == 0]
    ring = _rings(quads, count)

    scalp, beard = fields.hair_field(vertices), fields.beard_field(vertices)
    hairy = body[(scalp[body].max(1) > -0.42) | (beard[body].max(1) > 0.05)]
    shell = np.unique(hairy)
    to_shell = np.full(count, -1)
    to_shell[shell] = np.arange(len(shell)) + count
    glasses, glasses_quads = _glasses()

    masks = {k[5:]: asset[k] / 255.0 for k in asset if k.startswith("mask_")}
    left = int(np.argmax(np.where(masks["lips"] > 0.5, vertices[:, 0], -9)))
    right = int(np.argmin(((vertices - vertices[left] * [-1, 1, 1]) ** 2).sum(1)))
    on_nose = (np.abs(vertices[:, 0]) < 0.03) & (vertices[:, 1] > 6.8) & (vertices[:, 1] < 7.1)
    eyes = [count - len(joints) + joints.index(j) for j in ("joint-l-eye", "joint-r-eye")]

    def offsets(name: str) -> np.ndarray:
        return asset[name].astype(np.float32) / 1000

    return Head(
        vertices=vertices,
        quads=quads,
        quad_group=group,
        macro=offsets("macro"),
        build=offsets("build"),
        identity_low=offsets("identity_low"),
        identity_high=offsets("identity_high"),
        units=offsets("units"),
        macro_names=tuple(map(str, asset["macro_names"])),
        build_names=tuple(map(str, asset["build_names"])),
        identity_names=tuple(map(str, asset["identity_names"])),
        unit_names=tuple(map(str, asset["unit_names"])),
        masks=masks,
        ring=ring,
        occlusion=_ambient_occlusion(vertices, _normals(vertices, ring), body, len(joints)),
        landmarks=np.array([*eyes, int(np.argmax(np.where(on_nose, vertices[:, 2], -9))), left, right]),
        shell=shell,
        shell_quads=to_shell[hairy].astype(np.int32),
        glasses=glasses,
        glasses_quads=glasses_quads + count + len(shell),
    )
