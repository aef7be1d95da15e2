"""What a sweep leaves behind, and what putting it together costs, as it grows.

  python -m benchmarks.scale                         about 5 minutes
  python -m benchmarks.scale --members=16,64 --images=3068

Made-up predictions of M members on a test and a validation set, each program of 16 its own part: bytes on disk, seconds
to put the parts together, to make results.csv and to analyse. Then checkpoints: bytes and seconds for a program of 4
members of each width.
"""

from __future__ import annotations

import pathlib
import tempfile
import time

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
from absl import app, flags, logging

from benchmarks import timing
from frown_jax import config as configs
from frown_jax import schema
from frown_jax.data.annotations import Annotations
from frown_jax.member.values import stack
from frown_jax.metrics import predictions_table, results_table
from frown_jax.metrics.analysis import AnalysisSettings
from frown_jax.metrics.bootstrap import Bootstrap
from frown_jax.report import files
from frown_jax.runs.checkpoint import Checkpoints
from frown_jax.runs.directory import RunDir
from frown_jax.runs.parts import Part, Parts
from frown_jax.training.build import member_of
from frown_jax.training.compile import make_engine
from frown_jax.training.grid import expand
from frown_jax.training.step import Shape

_MEMBERS = flags.DEFINE_list("members", ["16", "64", "128"], "Members of a sweep; 16 seeds of each method.")
_IMAGES = flags.DEFINE_integer("images", 3068, "Test images; the validation set has four fifths as many.")
_WIDTHS = flags.DEFINE_list("widths", ["16", "64"], "Of ResNet18.")
_SEEDS = 16


def _predictions(first: int, count: int, images: int) -> pd.DataFrame:
    """Of members first, first + 1, ..."""
    rng = np.random.default_rng(first)
    frames = []
    for split, size in (("val", images * 4 // 5), ("test", images)):
        of_split = np.random.default_rng(size)
        truth = of_split.integers(0, 7, size)
        people = {a: np.array(v, object)[of_split.integers(0, len(v), size)] for a, v in schema.ATTRIBUTES.items()}
        for member in range(first, first + count):
            p = rng.dirichlet(np.ones(7), size).astype(np.float32)
            frame = pd.DataFrame({f"p_{c}": p[:, k] for k, c in enumerate(schema.EMOTIONS)})
            frame = frame.assign(member=member, method=f"method{member // _SEEDS}", seed=member % _SEEDS, split=split)
            frame["id"] = [f"{split}_{i:05d}" for i in range(size)]
            frame["emotion"] = np.array(schema.EMOTIONS, object)[truth]
            frame["prediction"] = np.array(schema.EMOTIONS, object)[p.argmax(1)]
            frames.append(frame.assign(**people))
    return pd.concat(frames, ignore_index=True)


def _sweep(count: int, images: int, folder: pathlib.Path) -> None:
    run, parts = RunDir(folder), Parts(folder)
    programs = range(0, count, _SEEDS)
    for index, first in enumerate(programs):
        parts.write(
            index,
            Part(_predictions(first, _SEEDS, images), pd.DataFrame({"member": range(first, first + _SEEDS)}), 0.0),
        )
    began = time.perf_counter()
    frame = pd.concat([parts.read(i).predictions for i in range(len(programs))], ignore_index=True)
    run.write_parquet("predictions.parquet", frame)
    together = time.perf_counter() - began
    began = time.perf_counter()
    results = results_table.results(frame, schema.ATTRIBUTES)
    run.write_csv("results.csv", results)
    values = time.perf_counter() - began
    began = time.perf_counter()
    outcomes = [predictions_table.outcomes(frame[frame["split"] == s], schema.ATTRIBUTES) for s in ("test", "val")]
    settings = AnalysisSettings(bootstrap=Bootstrap(1000))
    files.analyse_and_write(run, *outcomes, settings, "made up", results=results, split="test")
    analysed = time.perf_counter() - began
    sizes = [(folder / name).stat().st_size / count for name in ("predictions.parquet", "results.csv")]
    print(
        f"{count:>5} members: parts together {together:6.1f} s, values {values:6.1f} s ({len(results) / count:,.0f} "
        f"rows a member), analysis {analysed:6.1f} s; a member takes {sizes[0] / 1e3:,.0f} kB of predictions and "
        f"{sizes[1] / 1e3:,.0f} kB of results",
        flush=True,
    )


def _checkpoint(width: int, folder: pathlib.Path) -> None:
    c = configs.default()
    c.model.width, c.model.image_size, c.seeds = width, 64, tuple(range(4))
    (group,) = expand(c, [{}])
    labels = np.arange(32, dtype=np.int32) % 7
    stacked = stack([member_of(s, Annotations.without_attributes(labels, 7)) for s in group.specs])
    state = make_engine(group.config, Shape(7), devices=jax.local_devices()[:1]).init(stacked, None)
    # As after training: zeros of a fresh optimiser would be compressed to nothing.
    rng = np.random.default_rng(0)
    state = jax.tree.map(
        lambda a: jnp.asarray(rng.standard_normal(a.shape, np.float32)) if a.dtype == jnp.float32 else a, state
    )
    checkpoints = Checkpoints(folder)
    began = time.perf_counter()
    checkpoints.save(1, {"predictor": state.best, "state": state.replace(best=())}, {})
    blocked = time.perf_counter() - began
    checkpoints.close()
    written = time.perf_counter() - began
    kept = [p for p in folder.rglob("*") if p.is_file()]
    size = sum(p.stat().st_size for p in kept)
    print(
        f"ResNet18 width {width}, 4 members: {size / 4e6:,.0f} MB a member in {len(kept)} files, written "
        f"in {written:.1f} s, of which training waits {blocked:.2f} s",
        flush=True,
    )


def main(_: list[str]) -> None:
    logging.set_verbosity(logging.WARNING)
    print(timing.cpu_name())
    for count in map(int, _MEMBERS.value):
        with tempfile.TemporaryDirectory() as folder:
            _sweep(count, _IMAGES.value, pathlib.Path(folder))
    for width in map(int, _WIDTHS.value):
        with tempfile.TemporaryDirectory() as folder:
            _checkpoint(width, pathlib.Path(folder) / "checkpoints")


if __name__ == "__main__":
    app.run(main)
