"""Do the shrunken intervals of small cells hold the truth, and what do they gain over the raw ones?

python -m benchmarks.small_cells                the tables of docs/small_cells.md, about 10 minutes on 2 cores
python -m benchmarks.small_cells --datasets=5   a quick look

Simulated answers of the cells of several designs go through the same code as real ones. "Shared" noise among the cells
of a data set makes the Monte Carlo error of a coverage larger than its number of intervals says: it is given beside it,
over data sets. Small arrays are many: OMP_NUM_THREADS=1 makes it several times faster on a shared machine.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pandas as pd
from absl import app, flags
from scipy import special

from frown_jax import schema
from frown_jax.metrics import small_cells
from frown_jax.metrics.intervals import wilson

_DATASETS = flags.DEFINE_integer("datasets", 400, "Simulated data sets of each design.", lower_bound=1)
_ONLY = flags.DEFINE_string("only", "", "Part of the names of the designs that are simulated; by default all are.")
_DRAWS = flags.DEFINE_integer("draws", 400, "Draws of each posterior.", lower_bound=100)
RAFDB = (len(schema.RACES), len(schema.GENDERS), len(schema.AGES))
_BINS = ((0, 0, "none"), (1, 9, "1 to 9"), (10, 49, "10 to 49"), (50, 10**9, "50 or more"))

Array = np.ndarray
# (attributes' sizes, images of each cell, accuracy of each cell, people or None, correlation of a person's frames,
#  runs, standard deviation of runs in accuracy)
Design = tuple[tuple[int, ...], Array, Array, Array | None, float, int, float]


def _effects(rng: np.random.Generator, sizes: tuple[int, ...], mean: float, main: float, own: float) -> Array:
    levels = levels_of(sizes)
    eta = mean + sum(rng.normal(0, main, g)[levels[:, a]] for a, g in enumerate(sizes))
    return special.expit(eta + rng.normal(0, own, len(levels)))


def levels_of(sizes: tuple[int, ...]) -> Array:
    """The group of every cell in every attribute, [C, A]."""
    return np.stack(np.unravel_index(np.arange(int(np.prod(sizes))), sizes), 1)


def _rafdb(rng: np.random.Generator, mean: float, main: float, own: float, runs: int = 1, moved: float = 0) -> Design:
    n = schema.rafdb_cells("test").ravel()
    return RAFDB, n, _effects(rng, RAFDB, mean, main, own), None, 0.0, runs, moved


def _one_apart(rng: np.random.Generator) -> Design:
    """All cells at 80 %, but one of 20 to 50 images at 40 %: what the model does not expect."""
    n = schema.rafdb_cells("test").ravel()
    truth = np.full(len(n), 0.8)
    truth[rng.choice(np.flatnonzero((n >= 20) & (n <= 50)))] = 0.4
    return RAFDB, n, truth, None, 0.0, 1, 0.0


def _people(rng: np.random.Generator, people: int, frames: int, sizes: tuple[int, ...]) -> Design:
    """Every person has frames that are alike: right with a chance of their own."""
    cell = rng.integers(0, np.prod(sizes), people)
    n = np.bincount(cell, minlength=int(np.prod(sizes))) * frames
    return sizes, n, _effects(rng, sizes, 1.0, 0.4, 0.3), np.sort(cell).repeat(frames), 0.5, 1, 0.0


DESIGNS: dict[str, Callable[[np.random.Generator], Design]] = {
    "RAF-DB's test cells, main effects and cells of their own": lambda r: _rafdb(r, 1.2, 0.4, 0.3),
    "RAF-DB's test cells, main effects alone": lambda r: _rafdb(r, 1.2, 0.4, 0.0),
    "RAF-DB's test cells, all alike": lambda r: _rafdb(r, 1.2, 0.0, 0.0),
    "RAF-DB's test cells, nothing in common": lambda r: _rafdb(r, 1.2, 0.0, 1.0),
    "RAF-DB's test cells, accuracy near 97 %": lambda r: _rafdb(r, 3.5, 0.4, 0.3),
    "RAF-DB's test cells, one cell at 40 % and all others at 80 %": _one_apart,
    "RAF-DB's test cells, 2 seeds that move by 3 points": lambda r: _rafdb(r, 1.2, 0.4, 0.3, 2, 0.03),
    "RAF-DB's test cells, 4 seeds that move by 3 points": lambda r: _rafdb(r, 1.2, 0.4, 0.3, 4, 0.03),
    "27 people of 50 frames in 18 cells": lambda r: _people(r, 27, 50, (3, 2, 3)),
    "120 people of 10 frames in 18 cells": lambda r: _people(r, 120, 10, (3, 2, 3)),
}


def _answers(rng: np.random.Generator, design: Design) -> tuple[Array, Array, Array | None]:
    """right [R, N], the cell of each image, and whose it is."""
    _, n, truth, cells_of_frames, alike, runs, moved = design
    if cells_of_frames is None:
        cell = np.repeat(np.arange(len(n)), n)
        ease = rng.random(len(cell))  # an image is easy or hard for every run
        shift = rng.normal(0, moved, (runs, 1))
        own = rng.random((runs, len(cell)))
        drawn = np.where(rng.random(len(cell)) < 0.7, ease, own)
        return (drawn < truth[cell] + shift).astype(float), cell, None
    frames = 50 if len(cells_of_frames) == 27 * 50 else 10
    person = np.arange(len(cells_of_frames)) // frames
    mean = truth[cells_of_frames[::frames]]
    chance = rng.beta(mean * (1 / alike - 1), (1 - mean) * (1 / alike - 1))
    return (rng.random(len(person)) < chance[person]).astype(float)[None], cells_of_frames, person


def simulate(name: str, datasets: int, draws: int) -> tuple[pd.DataFrame, dict]:
    """Coverage and width of both intervals by the size of the cell; and how well the worst cell is found."""
    rows, worst = [], []
    for i in range(datasets):
        rng = np.random.default_rng([i, *name.encode()])
        design = DESIGNS[name](rng)
        sizes, truth = design[0], design[2]
        right, cell, person = _answers(rng, design)
        n, effective, mean = small_cells.effective_counts(right, cell, len(truth), person)
        hits = np.clip(np.nan_to_num(mean) * effective, 0, effective)
        low, high = wilson(hits, effective)
        found, accuracy = small_cells.borrowed(right, cell, levels_of(sizes), person, draws, i)
        lower, upper = np.quantile(accuracy, [0.025, 0.975], axis=0)
        frame = pd.DataFrame({"dataset": i, "n": n, "apart": truth == truth.min()})
        for kind, ends, value in (("raw", (low, high), mean), ("shrunken", (lower, upper), accuracy.mean(0))):
            frame[f"{kind} covers"] = (ends[0] <= truth) & (truth <= ends[1])
            frame[f"{kind} width"] = ends[1] - ends[0]
            frame[f"{kind} error"] = (value - truth) ** 2
        rows.append(frame)
        there = np.flatnonzero(n > 0)
        share = np.bincount(found.accuracy[:, there].argmin(1), minlength=len(there)) / draws
        lowest = truth[there].argmin()
        worst.append((share[lowest], share.argmax() == lowest, share.max(), np.nanargmin(mean[there]) == lowest))
    return pd.concat(rows), dict(zip(("p of the truly worst", "worst found", "p of the likeliest", "worst found raw"),
                                     np.mean(worst, 0), strict=True))  # fmt: skip


def by_size(rows: pd.DataFrame) -> pd.DataFrame:
    """A row for each size of cell: n, intervals, coverage of both with their Monte Carlo errors, widths, errors."""
    out = []
    for low, high, name in _BINS:
        own = rows[(rows["n"] >= low) & (rows["n"] <= high)]
        if own.empty:
            continue
        row: dict[str, object] = {"images": name, "intervals": len(own)}
        for kind in ("raw", "shrunken") if low else ("shrunken",):
            held = own.groupby("dataset")[f"{kind} covers"].mean()
            error = held.std() / np.sqrt(len(held)) if len(held) > 1 else np.nan
            row |= {f"{kind} coverage": own[f"{kind} covers"].mean(), f"{kind} +-": error,
                    f"{kind} width": own[f"{kind} width"].mean(),
                    f"{kind} rmse": float(np.sqrt(own[f"{kind} error"].mean()))}  # fmt: skip
        out.append(row)
    return pd.DataFrame(out)


def main(_: list[str]) -> None:
    for name in (n for n in DESIGNS if _ONLY.value in n):
        rows, worst = simulate(name, _DATASETS.value, _DRAWS.value)
        print(f"{name}\n{by_size(rows).to_string(index=False, float_format='{:.3f}'.format, na_rep='')}")
        if name.endswith("80 %"):
            own = rows[rows["apart"]]
            print(f"the cell apart: raw {own['raw covers'].mean():.3f}, shrunken {own['shrunken covers'].mean():.3f}")
        print(", ".join(f"{k} {v:.3f}" for k, v in worst.items()), end="\n\n", flush=True)


if __name__ == "__main__":
    app.run(main)
