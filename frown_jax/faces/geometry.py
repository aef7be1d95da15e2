"""From face parameters to posed vertices and a depth-resolved pixel grid."""

from __future__ import annotations

import functools

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from frown_jax.faces import action_units, fields, head, samples
from frown_jax.faces.face import Expression, Face

SIZE = 100  # output pixels
GRID = 2 * SIZE  # supersampled raster
EMPTY = 2**31 - 1
_ID_MASK = (1 << samples.ID_BITS) - 1
_Z_NEAR, _Z_FAR = 2.4, -1.2
_DEPTH_STEPS = 4095
_ATTRIBUTES = ("y", "z", "white", "streak", "scalp", "beard", "lips", "lash", "inside_mouth")
_AGE_KNOTS = (1.0, 11.0, 25.0, 85.0)  # years of MakeHuman's baby, child, young, old


class Tables(struct.PyTreeNode):
    """The head on the device. V vertices, R rendered vertices, N samples, U face units, A action units."""

    vertices: jax.Array  # [V, 3]
    macro: jax.Array  # [24, V * 3]
    build: jax.Array  # [32, V * 3]
    identity_low: jax.Array  # [106, V * 3]
    identity_high: jax.Array
    units: jax.Array  # [U, V * 3]
    composition: jax.Array  # [A, U]
    unit_side: jax.Array  # [U]: 1 left, -1 right, 0 middle
    ring: jax.Array  # int32 [V, 8, 2]
    shell: jax.Array  # int32 [H]
    shell_scalp: jax.Array  # [H]
    shell_beard: jax.Array  # [H]
    glasses: jax.Array  # [G, 3]
    eyeball: jax.Array  # bool [2, V]
    landmarks: jax.Array  # int32 [5]
    triangle: jax.Array  # int32 [N, 3]
    source: jax.Array  # int32 [N, 3]
    barycentric: jax.Array  # [N, 3]
    part: jax.Array  # int32 [N]
    depth_bias: jax.Array  # [N]
    words: jax.Array  # uint32 [W, N]
    attributes: dict[str, jax.Array]  # [N] each, of _ATTRIBUTES
    unit_names: tuple[str, ...] = struct.field(pytree_node=False)

    def unit(self, name: str) -> int:
        return self.unit_names.index(name)


@functools.cache
def tables() -> Tables:
    """Builds the tables (once per process) and puts them on the default device."""
    h, s = head.load(), samples.build()
    count = len(h.vertices)

    def f32(x: np.ndarray) -> jax.Array:
        return jnp.asarray(np.asarray(x, np.float32))

    def flat(x: np.ndarray) -> jax.Array:
        return f32(x.reshape(len(x), -1))

    eyes = [np.isin(np.arange(count), np.unique(h.quads[h.quad_group == g])) for g in (2, 3)]
    sides = [n.endswith("Left") * 1.0 - n.endswith("Right") * 1.0 for n in h.unit_names]
    return Tables(
        vertices=f32(h.vertices),
        macro=flat(h.macro),
        build=flat(h.build),
        identity_low=flat(h.identity_low),
        identity_high=flat(h.identity_high),
        units=flat(h.units),
        composition=f32(action_units.composition(h.unit_names)),
        unit_side=f32(np.array(sides)),
        ring=jnp.asarray(h.ring),
        shell=jnp.asarray(h.shell),
        shell_scalp=f32(fields.hair_field(h.vertices)[h.shell]),
        shell_beard=f32(fields.beard_field(h.vertices)[h.shell]),
        glasses=f32(h.glasses),
        eyeball=jnp.asarray(np.stack(eyes)),
        landmarks=jnp.asarray(h.landmarks),
        triangle=jnp.asarray(s.triangle),
        source=jnp.asarray(s.source),
        barycentric=f32(s.barycentric),
        part=jnp.asarray(s.part),
        # Pushed back so that a stretched cheek never shows the teeth through it.
        depth_bias=f32(np.where(np.isin(s.part, [samples.TEETH, samples.TONGUE]), 0.10, 0.0)),
        words=jnp.asarray(s.words),
        attributes={name: f32(s.attributes[name]) for name in _ATTRIBUTES},
        unit_names=h.unit_names,
    )


def smooth(low: float, high: float, x: jax.Array) -> jax.Array:
    """Cubic ramp from 0 at `low` to 1 at `high`."""
    t = jnp.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def unit_activations(t: Tables, expression: Expression) -> jax.Array:
    """Face-unit activations of an expression, [U] in 0 to 1.3."""
    units = expression.au @ t.composition * (1 + expression.asymmetry * t.unit_side)
    right, up = expression.gaze
    looks = {
        "eyeLookOutRight": jnp.maximum(right, 0),
        "eyeLookInLeft": jnp.maximum(right, 0),
        "eyeLookInRight": jnp.maximum(-right, 0),
        "eyeLookOutLeft": jnp.maximum(-right, 0),
        **{f"eyeLookUp{s}": jnp.maximum(up, 0) for s in ("Left", "Right")},
        **{f"eyeLookDown{s}": jnp.maximum(-up, 0) for s in ("Left", "Right")},
    }
    for name, amount in looks.items():
        units = units.at[t.unit(name)].add(amount)
    return jnp.clip(units, 0, 1.3)


def _macro_weights(face: Face) -> tuple[jax.Array, jax.Array]:
    """Blend weights of the race x gender x age shapes [24] and of the gender x age x build shapes [32]."""
    position = jnp.interp(face.age, jnp.array(_AGE_KNOTS), jnp.arange(4.0))
    ages = jnp.clip(1 - jnp.abs(position - jnp.arange(4.0)), 0, 1)
    genders = jnp.stack([1 - face.gender, face.gender])
    macro = jnp.einsum("r,g,a->rga", face.race, genders, ages).reshape(-1)
    builds = jnp.stack(
        [
            jnp.maximum(face.weight, 0),
            jnp.maximum(-face.weight, 0),
            jnp.maximum(face.muscle, 0),
            jnp.maximum(-face.muscle, 0),
        ]
    )
    return macro, jnp.einsum("g,a,b->gab", genders, ages, builds).reshape(-1)


def neutral_vertices(t: Tables, face: Face) -> jax.Array:
    """The person's head at rest, aligned to the base head by eyes, nose and mouth corners, [V, 3].

    Aligning before face units are added makes an AU move the same number of pixels on every head, baby to old:
    a gap between groups can then come from appearance only.
    """
    macro, build = _macro_weights(face)
    offset = macro @ t.macro + build @ t.build
    offset += jnp.maximum(-face.identity, 0) @ t.identity_low + jnp.maximum(face.identity, 0) @ t.identity_high
    v = t.vertices + offset.reshape(-1, 3)
    here, there = v[t.landmarks], t.vertices[t.landmarks]
    centre, target = here[:, :2].mean(0), there[:, :2].mean(0)
    scale = jnp.sqrt(((there[:, :2] - target) ** 2).sum() / ((here[:, :2] - centre) ** 2).sum())
    origin = jnp.append(centre, here[:2, 2].mean())
    return (v - origin) * scale + jnp.append(target, there[:2, 2].mean())


def _normals(t: Tables, v: jax.Array) -> jax.Array:
    a, b = v[t.ring[:, :, 0]] - v[:, None], v[t.ring[:, :, 1]] - v[:, None]
    n = jnp.cross(a, b).sum(1)
    return n * jax.lax.rsqrt((n * n).sum(-1, keepdims=True) + 1e-10)


def pose_head(t: Tables, face: Face, units: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Vertices with the expression, before the camera.

    Returns:
      Rendered vertices [R, 3] (body, hair shell, glasses) and body normals [V, 3].
    """
    v = neutral_vertices(t, face) + (units @ t.units).reshape(-1, 3)
    for side, eye in (("Left", 0), ("Right", 1)):
        # A closed lid of a foreign identity lets the eyeball through: shrink it and push it back.
        blink = units[t.unit("eyeBlink" + side)]
        centre = v[t.landmarks[eye]]
        tucked = centre + (v - centre) * (1 - 0.08 * blink) - jnp.array([0, 0, 0.07]) * blink
        v = jnp.where(t.eyeball[eye][:, None], tucked, v)
    normals = _normals(t, v)
    hair = face.hair
    base = t.vertices[t.shell]
    bangs = hair.bangs * smooth(7.58, 7.66, base[:, 1]) * (base[:, 2] > 0.3)
    on_scalp = t.shell_scalp + hair.hairline
    scalp = hair.thickness * smooth(-0.02, 0.22, on_scalp) + 0.012
    beard = face.features.beard * 0.10 * t.shell_beard
    height = jnp.maximum(jnp.maximum(scalp * (on_scalp > -0.1), 0.07 * bangs), beard) + 0.008
    lift = normals[t.shell] + jnp.array([0.0, 0.35, -0.1]) * (scalp > 0.1)[:, None]
    shell = v[t.shell] + lift * height[:, None]
    moved = v[t.landmarks] - t.vertices[t.landmarks]
    glasses = t.glasses + moved[:2].mean(0)
    glasses = glasses.at[:, 2].add(jnp.maximum(moved[2, 2], 0) * 0.3)
    return jnp.concatenate([v, shell, glasses]), normals


def rotation(pose: jax.Array) -> jax.Array:
    """Rotation matrix [3, 3] of yaw, pitch, roll in radians."""
    (cy, cx, cr), (sy, sx, sr) = jnp.cos(pose), jnp.sin(pose)
    yaw = jnp.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    pitch = jnp.array([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    roll = jnp.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    return roll @ pitch @ yaw


def project(face: Face, points: jax.Array) -> jax.Array:
    """Camera coordinates [., 3]: x and y in dm on the image plane, z towards the viewer."""
    pivot = jnp.array([0.0, 7.1, 0.35])
    q = (points - pivot) @ rotation(face.scene.pose).T + pivot
    distance = 11.0
    scale = face.scene.zoom * (distance - 1.3) / (distance - q[:, 2])  # unit magnification at z = 1.3
    centre = jnp.array(samples.VIEW_CENTRE)
    return jnp.concatenate([(q[:, :2] - centre) * scale[:, None] + face.scene.shift, q[:, 2:]], 1)


def _visible(t: Tables, face: Face) -> jax.Array:
    """Which samples exist on this face: hair, beard and lashes are thresholds on static fields, [N] bool."""
    hair, features, part, at = face.hair, face.features, t.part, t.attributes
    y, z, white, streak = at["y"], at["z"], at["white"], at["streak"]
    # Thresholds dithered per sample: two by two samples a pixel then make a soft edge.
    fray = 0.09 * (white - 0.5) + 0.05 * (streak - 0.5)
    scalp = at["scalp"] + hair.hairline + fray > 0
    bangs = (
        (hair.bangs > 0.5) & (y > 7.63 + 0.06 * (streak - 0.5) + 0.03 * (white - 0.5) + hair.bangs_height) & (z > 0.3)
    )
    beard = (features.beard > 0.05) & (at["beard"] > 0.12 + 0.62 * white) & (at["lips"] < 0.3)
    has_hair = ((scalp | bangs) & (hair.bald < 0.5)) | beard
    lash = at["lash"] < features.lashes * jnp.where(y < 7.28, 0.012, 0.034)
    ends = at["y"] > 6.25 + 0.5 * (streak - 0.5)
    return (
        (part <= samples.TONGUE)
        | ((part == samples.LASH) & lash)
        | ((part == samples.HAIR) & has_hair)
        | ((part == samples.LONG_HAIR) & (hair.long > 0.5) & (hair.bald < 0.5) & ends)
        | ((part == samples.GLASSES) & (face.scene.glasses > 0.5))
    )


def rasterise(t: Tables, face: Face, rendered: jax.Array) -> jax.Array:
    """The nearest sample of every pixel, as int32 keys [GRID, GRID]: depth << ID_BITS | sample, or EMPTY.

    One scatter-min of integers, hence independent of order: the same bytes every time. Two passes fill
    pinholes from opposite neighbours that are nearer than what shows through.
    """
    p = project(face, rendered)
    corners = [p[t.triangle[:, k]] * t.barycentric[:, k : k + 1] for k in range(3)]
    at = corners[0] + corners[1] + corners[2]
    column = jnp.floor((at[:, 0] / samples.VIEW_SIDE + 0.5) * GRID).astype(jnp.int32)
    row = jnp.floor((0.5 - at[:, 1] / samples.VIEW_SIDE) * GRID).astype(jnp.int32)
    shown = (column >= 0) & (column < GRID) & (row >= 0) & (row < GRID) & _visible(t, face)
    per_unit = _DEPTH_STEPS / (_Z_NEAR - _Z_FAR)
    depth = jnp.clip((_Z_NEAR - at[:, 2] + t.depth_bias) * per_unit, 0, _DEPTH_STEPS - 1).astype(jnp.int32)
    key = (depth << samples.ID_BITS) | jnp.arange(t.part.shape[0], dtype=jnp.int32)
    pixel = jnp.where(shown, row * GRID + column, GRID * GRID)
    grid = jnp.full((GRID * GRID + 1,), EMPTY, jnp.int32).at[pixel].min(key, mode="promise_in_bounds")
    grid = grid[:-1].reshape(GRID, GRID)
    step = int(0.05 * per_unit) << samples.ID_BITS
    return _fill(_fill(grid, step), step)


def _fill(grid: jax.Array, step: int) -> jax.Array:
    padded = jnp.pad(grid, 2, constant_values=EMPTY)

    def at(dy: int, dx: int) -> jax.Array:
        return padded[2 + dy : 2 + dy + GRID, 2 + dx : 2 + dx + GRID]

    opposite = (
        ((0, -1), (0, 1)),
        ((-1, 0), (1, 0)),
        ((0, -2), (0, 1)),
        ((0, -1), (0, 2)),
        ((-2, 0), (1, 0)),
        ((-1, 0), (2, 0)),
    )
    best = jnp.full_like(grid, EMPTY)
    for a, b in opposite:
        best = jnp.minimum(best, jnp.maximum(at(*a), at(*b)))
    limit = jnp.where(grid == EMPTY, EMPTY - 1, grid - step)
    return jnp.where(best <= limit, best, grid)


def winners(grid: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Sample id of each pixel (0 where empty) and the empty mask, both [GRID * GRID]."""
    empty = (grid == EMPTY).reshape(-1)
    return jnp.where(empty, 0, (grid & _ID_MASK).reshape(-1)), empty
