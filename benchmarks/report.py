"""Seconds and bytes of the report of a large grid: 20 methods x 16 seeds, 3,068 images, cells of race x gender x age.

  python -m benchmarks.report [--methods=20] [--seeds=16] [--images=3068]

The run is made up and its analysis is not counted: a report reads what a run has stored.
"""

from __future__ import annotations

import pathlib
import tempfile
import time

from absl import app, flags

from frown_jax import schema
from frown_jax.report import build, stored
from tests import runs

_METHODS = flags.DEFINE_integer("methods", 20, "Methods.")
_SEEDS = flags.DEFINE_integer("seeds", 16, "Seeds of each.")
_IMAGES = flags.DEFINE_integer("images", 3068, "Test images.")


def main(_: list[str]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        root = pathlib.Path(folder)
        names = tuple(f"method {k}" for k in range(_METHODS.value))
        attributes = tuple(schema.ATTRIBUTES)
        began = time.perf_counter()
        path = runs.finished(root / "run", names, _SEEDS.value, attributes, images=_IMAGES.value, crossed=3, epochs=50)
        print(f"a run of {len(names)} x {_SEEDS.value} members, made up in {time.perf_counter() - began:.0f} s")
        for stills in (False, True):
            began = time.perf_counter()
            page = build.build([stored.read(path)], root / f"report-{stills}", stills)
            seconds = time.perf_counter() - began
            files = list(page.parent.iterdir())
            total = sum(f.stat().st_size for f in files)
            what = "page, tables, PNG and SVG" if stills else "page and tables"
            print(f"{what}: {seconds:.1f} s; page {page.stat().st_size / 1e6:.1f} MB, {len(files)} files, "
                  f"{total / 1e6:.0f} MB")  # fmt: skip


if __name__ == "__main__":
    app.run(main)
