"""Exact pixel regions: where skin moves in this very photograph when an Action Unit acts; face, hair, background."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from frown_jax.faces import action_units, geometry, samples
from frown_jax.faces.face import Face
from frown_jax.faces.geometry import GRID, SIZE, Tables

RELATIVE_THRESHOLD = 0.25  # of the largest displacement
ABSOLUTE_THRESHOLD = 0.35  # output pixels

# Parts of a photograph: the face from chin to hairline without ears, of which the forehead is what lies above the
# brows; hair on the head; what is not the person.
PARTS = ("face", "forehead", "hair", "background")
_CHIN, _JAW, _BROWS, _FRONT = 6.15, 6.45, 7.58, 0.55  # of the base head, dm: three heights, a depth


def _displacement(t: Tables, face: Face, off: jax.Array, on: jax.Array) -> jax.Array:
    """How far the surface seen at each pixel moves between two unit activations, output pixels [SIZE, SIZE]."""
    before, _ = geometry.pose_head(t, face, off)
    after, _ = geometry.pose_head(t, face, on)
    moved = jnp.sqrt(((after - before) ** 2).sum(-1)) / samples.VIEW_SIDE * SIZE

    def seen(rendered: jax.Array) -> tuple[jax.Array, jax.Array]:
        ids, empty = geometry.winners(geometry.rasterise(t, face, rendered))
        weights = t.barycentric[ids]
        moves = jnp.where(empty, 0.0, (moved[t.triangle[ids]] * weights).sum(-1))
        part = t.part[ids]
        inner = (part == samples.TEETH) | (part == samples.TONGUE) | (part == samples.EYE)
        inner |= (part == samples.SKIN) & (t.attributes["inside_mouth"][ids] > 0.5)
        return moves, jnp.where(empty, 0.0, inner)

    move_before, inner_before = seen(before)
    move_after, inner_after = seen(after)
    # What opens (mouth, eye) counts as moving half as far as the fastest point.
    opened = jnp.abs(inner_after - inner_before) * moved.max() * 0.5
    field = jnp.maximum(jnp.maximum(move_before, move_after), opened)
    return field.reshape(SIZE, GRID // SIZE, SIZE, GRID // SIZE).mean((1, 3))


@jax.jit
def _fields(t: Tables, face: Face, aus: jax.Array) -> jax.Array:
    base = face.expression

    def one(intensity: jax.Array) -> jax.Array:
        others = base.au * (intensity == 0)
        off = geometry.unit_activations(t, base.replace(au=others))
        on = geometry.unit_activations(t, base.replace(au=others + intensity))
        return _displacement(t, face, off, on)

    return jax.lax.map(one, aus)


@functools.cache
def _rows(aus: tuple[int, ...]) -> np.ndarray:
    return np.stack([action_units.vector({au: 1.0}) for au in aus])


def au_displacement(face: Face, aus: Sequence[int] = action_units.AUS) -> np.ndarray:
    """Displacement that each AU at full intensity causes on this face, with its other AUs as they are.

    Args:
      face: a single face.
      aus: AU numbers.

    Returns:
      float32 [len(aus), 100, 100], output pixels.
    """
    return np.asarray(_fields(geometry.tables(), jax.tree.map(jnp.asarray, face), _rows(tuple(aus))))


def au_regions(face: Face, aus: Sequence[int] = action_units.AUS) -> np.ndarray:
    """Pixels that belong to each AU on this very face: displacement above a quarter of its maximum and 0.35 pixels.

    They are independent of skin tone, light and whether the AU is active.

    Returns:
      bool [len(aus), 100, 100].
    """
    field = au_displacement(face, aus)
    limit = np.maximum(RELATIVE_THRESHOLD * field.max((1, 2), keepdims=True), ABSOLUTE_THRESHOLD)
    return field > limit


@jax.jit
def _parts(t: Tables, face: Face) -> tuple[jax.Array, jax.Array]:
    """Parts [4, SIZE, SIZE] bool and landmarks [5, 2] of one face."""
    rendered, _ = geometry.pose_head(t, face, geometry.unit_activations(t, face.expression))
    ids, empty = geometry.winners(geometry.rasterise(t, face, rendered))
    part, at = t.part[ids], {name: t.attributes[name][ids] for name in ("y", "z", "scalp")}
    front = _FRONT + 2 * jnp.maximum(_JAW - at["y"], 0)  # the neck lies behind the chin
    skin = (part == samples.SKIN) & (at["z"] > front) & (at["y"] > _CHIN) & (at["scalp"] < 0)
    inner = (part == samples.EYE) | (part == samples.TEETH) | (part == samples.TONGUE) | (part == samples.LASH)
    inner |= part == samples.GLASSES
    hair = (part == samples.HAIR) | (part == samples.LONG_HAIR)
    found = jnp.stack([skin | inner, skin & (at["y"] > _BROWS), hair, empty])
    found = found.at[:3].set(found[:3] & ~empty)
    coverage = found.reshape(len(PARTS), SIZE, GRID // SIZE, SIZE, GRID // SIZE).mean((2, 4))
    points = geometry.project(face, rendered[t.landmarks])[:, :2] / samples.VIEW_SIDE
    # A tie is the face's: parts do not overlap.
    majority = (coverage >= 0.5).at[2:].set(coverage[2:] > 0.5)
    return majority, jnp.stack([0.5 + points[:, 0], 0.5 - points[:, 1]], 1)


def part_regions(face: Face) -> tuple[np.ndarray, np.ndarray]:
    """The PARTS of a photograph, and where the face's landmarks are.

    Args:
      face: a single face.

    Returns:
      bool [4, 100, 100]; float32 [5, 2], columns and rows as shares of the image: left eye, right eye, tip of the nose,
      left and right corner of the mouth (the person's left).
    """
    found, points = _parts(geometry.tables(), jax.tree.map(jnp.asarray, face))
    return np.asarray(found), np.asarray(points)
