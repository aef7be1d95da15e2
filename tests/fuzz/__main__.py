"""Fuzzes every reader of files that users bring, and the settings: coverage-guided, with atheris (libFuzzer).

  python -m tests.fuzz --seconds=600
  python -m tests.fuzz --targets=facs,weights --seconds=60

Anything but the product's own errors ends a target: another exception, a case that takes 20 seconds, memory beyond
--memory. The case is kept in --out, and runs again with `python -m tests.fuzz.one TARGET --out/CASE`.
"""

import pathlib
import sys

from absl import app, flags

from tests.fuzz.run import fuzz
from tests.fuzz.targets import TARGETS

_SECONDS = flags.DEFINE_integer("seconds", 600, "For each target.", lower_bound=1)
_TARGETS = flags.DEFINE_list("targets", list(TARGETS), "Which.")
_MEMORY = flags.DEFINE_integer("memory", 2500, "Megabytes of a process.")
_OUT = flags.DEFINE_string("out", "fuzz", "Folder for corpora and findings.")
_SEED = flags.DEFINE_integer("seed", 0, "0: another one every time.")


def main(_):
    bad = 0
    for name in _TARGETS.value:
        cases, found = fuzz(name, _SECONDS.value, _MEMORY.value, pathlib.Path(_OUT.value), _SEED.value)
        print(f"{name}: {cases:,} cases in {_SECONDS.value} s{': ' + found if found else ''}", flush=True)
        bad += bool(found)
    sys.exit(bad > 0)


if __name__ == "__main__":
    app.run(main)
