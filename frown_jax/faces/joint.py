"""Joint distributions of emotion x race x gender x age for the embedded faces."""

from __future__ import annotations

import functools

import numpy as np

from frown_jax import schema

SHAPE = (len(schema.EMOTIONS), len(schema.RACES), len(schema.GENDERS), len(schema.AGES))
AXES = ("emotion", "race", "gender", "age")
VALUES = dict(zip(AXES, (schema.EMOTIONS, schema.RACES, schema.GENDERS, schema.AGES), strict=True))


def _rake(table: np.ndarray, margins: list[tuple[tuple[int, ...], np.ndarray]], rounds: int = 200) -> np.ndarray:
    """Iterative proportional fitting (Deming & Stephan 1940): scales `table` until its margins match.

    Args:
      table: float64, positive where mass may be.
      margins: (axes kept, target over those axes), all with the same total.
    """
    for _ in range(rounds):
        for axes, target in margins:
            others = tuple(k for k in range(table.ndim) if k not in axes)
            current = table.sum(others, keepdims=True)
            shaped = np.expand_dims(target, others)
            table = table * np.divide(shaped, current, out=np.zeros_like(current), where=current > 0)
    return table


@functools.cache
def rafdb(split: str) -> np.ndarray:
    """RAF-DB's joint distribution, float64 [7, 3, 3, 5] summing to 1, axes AXES.

    The race x gender x age cells and the emotion counts are RAF-DB's own and hold exactly. How emotion depends on
    the attributes is known only from Xu et al.'s Table 1 (two-way, test set): its association is carried over by
    raking, and no interaction beyond it is assumed. "Unsure" takes the emotions of its race and age.

    Args:
      split: 'train' or 'test'.
    """
    xu = schema.XU_TEST_TABLE
    total = xu["race"].sum()
    start = np.ones((SHAPE[0], SHAPE[1], 2, SHAPE[3]))
    associated = _rake(
        start, [((0, k), xu[name] * total / xu[name].sum()) for k, name in ((2, "gender"), (1, "race"), (3, "age"))]
    )
    seed = np.concatenate([associated, associated.mean(2, keepdims=True)], axis=2)
    cells = schema.rafdb_cells(split).astype(np.float64)
    emotions = schema.RAFDB_EMOTIONS[split].astype(np.float64)
    fitted = _rake(seed, [((0,), emotions), ((1, 2, 3), cells)])
    return fitted / fitted.sum()


def balanced() -> np.ndarray:
    """Uniform over emotion x race x age, and over male and female; ages 0-3 are all "Unsure"; sums to 1."""
    out = np.ones(SHAPE)
    unsure, infant = schema.GENDERS.index("Unsure"), schema.AGES.index("0-3")
    out[:, :, unsure, :] = 0
    out[:, :, :, infant] = 0
    out[:, :, unsure, infant] = 2
    return out / out.sum()


def reweighted(joint: np.ndarray, factors: list[tuple[str, str, float]]) -> np.ndarray:
    """Multiplies the cells of an attribute or emotion value by a factor (0 removes it) and renormalises.

    Args:
      joint: [7, 3, 3, 5].
      factors: (axis, value, factor) triples.

    Raises:
      ValueError: nothing is left.
    """
    out = joint.copy()
    for axis, value, factor in factors:
        index: list = [slice(None)] * 4
        index[AXES.index(axis)] = VALUES[axis].index(value)
        out[tuple(index)] *= factor
    if out.sum() <= 0:
        raise ValueError("the factors of faces.reweight leave no training image")
    return out / out.sum()


def spuriously_correlated(joint: np.ndarray, axis: str, strength: float) -> np.ndarray:
    """Ties an attribute to the emotion: emotion k goes with value k modulo the number of values.

    With probability `strength` the attribute is the tied value, else as before; emotion and the other attributes
    keep their distribution.
    """
    k = AXES.index(axis)
    values = SHAPE[k] - (axis == "gender")  # never tied to "Unsure"
    without = joint.sum(k, keepdims=True)
    tied = np.zeros_like(joint)
    for emotion in range(SHAPE[0]):
        index: list = [slice(None)] * 4
        index[0], index[k] = emotion, emotion % values
        source: list = [slice(None)] * 4
        source[0], source[k] = emotion, 0
        tied[tuple(index)] = without[tuple(source)]
    return (1 - strength) * joint + strength * tied


def draw(joint: np.ndarray, count: int, rng: np.random.Generator) -> np.ndarray:
    """Systematic sample of cells: every cell is within one of its expectation.

    Race x gender x age is the outer order: those counts are within one too, and exact where they are whole.

    Returns:
      int64 [count, 4], indices in the order of AXES, sorted by race, gender, age, emotion.
    """
    by_group = np.moveaxis(joint, 0, -1)
    edges = np.cumsum(by_group.reshape(-1)) * count
    points = np.arange(count) + rng.uniform(1e-6, 1 - 1e-6)
    flat = np.searchsorted(edges, points, side="right").clip(0, edges.size - 1)
    race, gender, age, emotion = np.unravel_index(flat, by_group.shape)
    return np.stack([emotion, race, gender, age], 1)
