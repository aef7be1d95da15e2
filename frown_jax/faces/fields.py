"""Procedural masks of the head in its base pose: hairline, brows, beard, wrinkles, noise.

The MakeHuman data has no masks for these, so they are analytic in base coordinates (1 unit = 1 dm, y up, +z
forward, eyes at (+-0.308, 7.284, 1.245)). All functions take points [N, 3] and run once, in numpy.
"""

from __future__ import annotations

import itertools

import numpy as np

WRINKLES = (
    "forehead",
    "glabella",
    "crow",
    "nasolabial",
    "eyebag",
    "nosebridge",
    "marionette",
    "chin",
    "dimple",
)


def smoothstep(low: float, high: float, x: np.ndarray) -> np.ndarray:
    """Cubic ramp from 0 at `low` to 1 at `high` (`low` > `high` gives a falling ramp)."""
    t = np.clip((x - low) / (high - low), 0, 1)
    return t * t * (3 - 2 * t)


def value_noise(points: np.ndarray, frequency: float, seed: int) -> np.ndarray:
    """Trilinear value noise in [0, 1], float64 [N], periodic on a 32^3 lattice."""
    lattice = np.random.default_rng(seed).random((32, 32, 32))
    q = points * frequency + 100.0
    cell = np.floor(q).astype(int)
    f = q - cell
    f = f * f * (3 - 2 * f)
    out = np.zeros(len(points))
    for corner in np.ndindex(2, 2, 2):
        weight = np.prod([f[:, k] if corner[k] else 1 - f[:, k] for k in range(3)], axis=0)
        x, y, z = [(cell[:, k] + corner[k]) % 32 for k in range(3)]
        out += weight * lattice[x, y, z]
    return out


def _polyline(x: np.ndarray, y: np.ndarray, points: list[tuple[float, float]]) -> tuple[np.ndarray, ...]:
    """Distance to a polyline, unit direction away from it, and position along it in [0, 1]."""
    best = np.full(x.shape, 9.0)
    gx, gy, along = np.zeros_like(x), np.zeros_like(x), np.zeros_like(x)
    pieces = len(points) - 1
    for k, ((ax, ay), (bx, by)) in enumerate(itertools.pairwise(points)):
        dx, dy = bx - ax, by - ay
        t = np.clip(((x - ax) * dx + (y - ay) * dy) / (dx * dx + dy * dy), 0, 1)
        ex, ey = x - ax - t * dx, y - ay - t * dy
        d = np.hypot(ex, ey)
        nearer = d < best
        best = np.where(nearer, d, best)
        gx = np.where(nearer, ex / (d + 1e-6), gx)
        gy = np.where(nearer, ey / (d + 1e-6), gy)
        along = np.where(nearer, (k + t) / pieces, along)
    return best, gx, gy, along


def _wrinkle_lines() -> dict[str, tuple[float, list[list[tuple[float, float]]]]]:
    """Width and polylines (on the right half of the face, mirrored) of each wrinkle group."""
    crow = []
    for degrees in (-28, -5, 18, 40):
        c, s = np.cos(np.radians(degrees)), np.sin(np.radians(degrees))
        crow.append([(0.475 + 0.02 * c, 7.27 + 0.02 * s), (0.475 + 0.16 * c, 7.27 + 0.16 * s)])
    return {
        "forehead": (
            0.012,
            [[(0, y), (0.2, y + 0.012), (0.42, y - 0.02)] for y in (7.60, 7.67, 7.745, 7.82)],
        ),
        "glabella": (0.012, [[(0.055, 7.37), (0.062, 7.45), (0.05, 7.54)]]),
        "crow": (0.009, crow),
        "nasolabial": (0.016, [[(0.165, 6.94), (0.235, 6.85), (0.31, 6.72), (0.335, 6.60), (0.33, 6.50)]]),
        "eyebag": (0.012, [[(0.15, 7.21), (0.22, 7.15), (0.32, 7.125), (0.43, 7.17)]]),
        "nosebridge": (0.010, [[(0.0, y), (0.07, y - 0.01), (0.11, y - 0.045)] for y in (7.24, 7.30, 7.36)]),
        "marionette": (0.013, [[(0.275, 6.585), (0.30, 6.50), (0.295, 6.38)]]),
        "dimple": (0.014, [[(0.345, 6.70), (0.37, 6.64), (0.355, 6.58)]]),
    }


def wrinkles(points: np.ndarray) -> np.ndarray:
    """Depth and tilt of each wrinkle group, float32 [N, len(WRINKLES), 3] = (depth, tilt_x, tilt_y)."""
    x, y, z = points.T
    side, sign, front = np.abs(x), np.sign(x), z > 0.55
    out = np.zeros((len(points), len(WRINKLES), 3), np.float32)
    for name, (sigma, lines) in _wrinkle_lines().items():
        i = WRINKLES.index(name)
        for line in lines:
            d, gx, gy, t = _polyline(side, y, line)
            depth = np.exp(-d * d / (2 * sigma * sigma)) * front
            depth = depth * np.sin(np.pi * np.clip(t * 0.94 + 0.03, 0, 1)) ** 0.5
            out[:, i, 0] = np.maximum(out[:, i, 0], depth)
            tilt = -(d / sigma) * depth
            out[:, i, 1] += tilt * gx * sign
            out[:, i, 2] += tilt * gy
    i = WRINKLES.index("chin")  # orange peel, not lines
    mask = np.exp(-((x / 0.16) ** 2 + ((y - 6.32) / 0.09) ** 2)) * front
    grain = value_noise(points, 22, 5) - 0.5
    out[:, i, 0] = mask * np.clip(-grain * 2, 0, 1)
    out[:, i, 1] = mask * (value_noise(points, 22, 6) - 0.5) * 1.6
    out[:, i, 2] = mask * grain * 1.6
    return out


def hair_field(points: np.ndarray) -> np.ndarray:
    """Signed distance-like field of the scalp, positive where hair grows, [N]."""
    x, y, z = points.T
    side = np.abs(x)
    top = np.interp(side, [0, 0.15, 0.35, 0.5, 0.6, 0.7], [7.97, 7.98, 7.96, 7.86, 7.66, 7.45])
    behind = np.interp(
        y,
        [5.6, 6.3, 6.6, 7.0, 7.06, 7.3, 7.6, 7.8, 7.95, 8.1],
        [-0.6, -0.45, -0.25, -0.05, 0.36, 0.50, 0.62, 0.80, 1.05, 1.6],
    )
    return np.maximum(y - top, 0.9 * (behind - z) - 0.02 * (side < 0.55))


def brow_field(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Offset from the brow's centre line in half-thicknesses, and the window it lives in, both [N]."""
    x, y, z = points.T
    side = np.abs(x)
    knots = [0.08, 0.15, 0.25, 0.36, 0.44, 0.52, 0.58]
    centre = np.interp(side, knots, [7.444, 7.455, 7.475, 7.492, 7.490, 7.468, 7.440])
    half = np.interp(side, [0.08, 0.14, 0.25, 0.38, 0.48, 0.58], [0.028, 0.040, 0.040, 0.033, 0.024, 0.012])
    window = smoothstep(0.075, 0.13, side) * (1 - smoothstep(0.53, 0.585, side)) * (z > 0.7)
    return (y - centre) / half, window


def beard_field(points: np.ndarray) -> np.ndarray:
    """Density of facial hair in [0, 1], [N]: jaw, sideburns, moustache."""
    x, y, z = points.T
    side = np.abs(x)
    jaw = smoothstep(6.66, 6.46, y) * (z > 0.2) * smoothstep(5.75, 6.1, y)
    sideburns = smoothstep(0.44, 0.60, side) * smoothstep(7.0, 6.82, y) * smoothstep(0.1, 0.3, z) * (y > 5.9)
    moustache = np.exp(-(((y - 6.745 + 0.16 * side) / 0.055) ** 2)) * smoothstep(0.31, 0.22, side) * (z > 0.9)
    return np.clip(np.maximum.reduce([jaw, sideburns, moustache]), 0, 1)
