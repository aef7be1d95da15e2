"""Fuzzes every reader of files that users bring, and the settings: coverage-guided, with atheris (libFuzzer).

  python -m tests.fuzz --seconds=600
  python -m tests.fuzz --targets=facs,weights --seconds=60

Anything but the product's own errors ends a target: another exception, a case that takes 20 seconds, memory beyond
--memory. The case is kept in --out, and runs again with `python -m tests.fuzz.one TARGET --out/CASE`.
"""

import pathlib
import re
import subprocess
import sys

from absl import app, flags

from tests.fuzz.targets import TARGETS

_SECONDS = flags.DEFINE_integer("seconds", 600, "For each target.", lower_bound=1)
_TARGETS = flags.DEFINE_list("targets", list(TARGETS), "Which.")
_MEMORY = flags.DEFINE_integer("memory", 2500, "Megabytes of a process.")
_OUT = flags.DEFINE_string("out", "fuzz", "Folder for corpora and findings.")
_SEED = flags.DEFINE_integer("seed", 0, "0: another one every time.")


def fuzz(name, seconds, memory, out, seed):
    """Cases tried, and what was found: '' for nothing."""
    corpus = out / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, case in enumerate(TARGETS[name].seeds):
        (corpus / f"seed{number}").write_bytes(case)
    options = [f"-max_total_time={seconds}", f"-rss_limit_mb={memory}", "-timeout=20", "-max_len=20000"]
    options += [f"-seed={seed}", f"-artifact_prefix={out}/{name}-", "-print_final_stats=1", "-verbosity=0"]
    command = [sys.executable, "-m", "tests.fuzz.one", name, str(corpus), *options]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", timeout=seconds + 600)
    said = done.stdout + done.stderr
    cases = re.search(r"number_of_executed_units: (\d+)", said)
    lines = [line for line in said.splitlines() if not line.startswith(("INFO: ", "WARNING: "))]
    return int(cases[1]) if cases else 0, "" if done.returncode == 0 else "\n".join(lines)[:4000]


def main(_):
    bad = 0
    for name in _TARGETS.value:
        cases, found = fuzz(name, _SECONDS.value, _MEMORY.value, pathlib.Path(_OUT.value), _SEED.value)
        print(f"{name}: {cases:,} cases in {_SECONDS.value} s{': ' + found if found else ''}", flush=True)
        bad += bool(found)
    sys.exit(bad > 0)


if __name__ == "__main__":
    app.run(main)
