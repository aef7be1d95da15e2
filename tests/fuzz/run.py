"""Fuzzes one target in a process of its own."""

import re
import subprocess
import sys

from tests.fuzz.targets import TARGETS


def fuzz(name, seconds, memory, out, seed):
    """Cases tried, and what was found: '' for nothing."""
    corpus = out / name
    corpus.mkdir(parents=True, exist_ok=True)
    for number, case in enumerate(TARGETS[name].seeds):
        (corpus / f"seed{number}").write_bytes(case)
    options = [f"-max_total_time={seconds}", f"-rss_limit_mb={memory}", "-timeout=20", "-max_len=20000"]
    options += [f"-seed={seed}", f"-artifact_prefix={out}/{name}-", "-print_final_stats=1", "-verbosity=0"]
    command = [sys.executable, "-m", "tests.fuzz.one", name, str(corpus), *options]
    # A shell between: the largest size that this process ever had would count as that of what it starts.
    between = ["sh", "-c", '"$@"; exit $?', "sh", *command]
    done = subprocess.run(between, capture_output=True, text=True, errors="replace", timeout=seconds + 600)
    said = done.stdout + done.stderr
    cases = re.search(r"number_of_executed_units: (\d+)", said)
    lines = [line for line in said.splitlines() if not line.startswith(("INFO: ", "WARNING: "))]
    return int(cases[1]) if cases else 0, "" if done.returncode == 0 else "\n".join(lines)[:4000]
