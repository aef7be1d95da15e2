"""Kills training, starts it again, and compares.

Every other kill waits until a checkpoint is being written and then a few milliseconds; the rest come at any moment
between the process's start and the time at which an undisturbed run ends. A run is killed and started again until one
start gets to its end; its checkpoints and tables are then compared with those of a run that nobody disturbed.
"""

import collections
import contextlib
import os
import random
import signal
import time

import jax
import numpy as np
import orbax.checkpoint as ocp

from frown_jax.runtime.preemption import EXIT_PREEMPTED
from tests import commands
from tests.commands import CACHE

FILES = ("metrics.jsonl", "results.csv", "predictions.parquet", "members.csv", "data.json", "summary.csv")
SETTINGS = (
    "--config=configs/baseline.py:runlocal",
    "--config.epochs=6",
    "--config.members_per_device=2",  # measuring how many fit would take half the time
    f"--config.data.cache_dir={CACHE}",
)


def _start(run):
    return commands.started("frown_jax.launch", *SETTINGS, f"--workdir={run}")


def undisturbed(run):
    """Seconds that it takes."""
    began = time.monotonic()
    with _start(run) as command:
        done = command.wait(600)
    assert done.returncode == 0, done.stderr[-3000:]
    return time.monotonic() - began


def _unfinished(run):
    """Checkpoints that are being written, or were when somebody died."""
    folder = run / "checkpoints" / "program0"
    found = set()
    for path in folder.iterdir() if folder.is_dir() else ():
        with contextlib.suppress(FileNotFoundError):
            if "tmp" in path.name:
                found.add(path.stat().st_ino)
    return found


def _phase(run, older):
    """What a run was at, by what it has left; `older` unfinished checkpoints are of earlier ones."""
    if _unfinished(run) - older:
        return "writing a checkpoint"
    if (run / "parts" / "0").is_dir() or (run / "predictions.parquet").is_file():
        return "putting results together"
    if (run / "metrics" / "0.jsonl").is_file():
        return "training"
    return "before the first epoch's end"


def _kill(run, in_checkpoint, delay):
    """Starts a run and kills it; the phase it was in, or None if it ended first."""
    older = _unfinished(run)
    with _start(run) as command:
        process, began = command.process, time.monotonic()
        if in_checkpoint:
            while process.is_alive() and not _unfinished(run) - older:
                time.sleep(0.001)
            process.join(delay)
        else:
            process.join(max(0.0, delay - (time.monotonic() - began)))
        if not process.is_alive():
            assert process.exitcode == 0, command.err.read_text()[-3000:]
            return None
        process.kill()
        process.join()
        return _phase(run, older)


def _last_checkpoint(run):
    folder = run / "checkpoints" / "program0"
    step = max(int(p.name) for p in folder.iterdir() if p.name.isdigit())
    checkpointer = ocp.StandardCheckpointer()
    return step, {name: checkpointer.restore(folder / str(step) / name) for name in ("state", "predictor")}


def differences(run, whole):
    """Files and arrays in which two runs differ, bit for bit."""
    found = [name for name in FILES if (run / name).read_bytes() != (whole / name).read_bytes()]
    (step, mine), (other_step, other) = _last_checkpoint(run), _last_checkpoint(whole)
    if step != other_step:
        found.append(f"last checkpoint {step}, not {other_step}")
    pairs = zip(jax.tree.leaves_with_path(mine), jax.tree.leaves_with_path(other), strict=True)
    for (path, a), (_, b) in pairs:
        if np.asarray(a).tobytes() != np.asarray(b).tobytes():
            found.append(jax.tree_util.keystr(path))
    left = [p.name for p in run.iterdir() if p.name in ("parts", "metrics") or "partial" in p.name]
    return found + [f"{name} is left over" for name in left]


def stop_after(run, epochs):
    """Asks a run to stop once so many epochs are in its metrics."""
    metrics = run / "metrics" / "0.jsonl"
    with _start(run) as command:
        while command.process.is_alive() and not (metrics.is_file() and metrics.read_text().count("\n") >= 2 * epochs):
            time.sleep(0.01)
        os.kill(command.process.pid, signal.SIGTERM)
        done = command.wait(100)
    assert done.returncode == EXIT_PREEMPTED, done.stderr[-3000:]


def run(folder, kills, seed, whole, say=print):
    """Differences of all runs from an undisturbed one, by run; {} is what should come of it."""
    rng = random.Random(seed)
    seconds = undisturbed(folder / "timed")
    say(f"an undisturbed run takes {seconds:.1f} s")
    phases, bad, runs = collections.Counter(), {}, 0
    while sum(phases.values()) < kills:
        run, runs = folder / f"run{runs}", runs + 1
        while sum(phases.values()) < kills:
            number = sum(phases.values())
            delay = rng.uniform(0, 0.08) if number % 2 else rng.uniform(0, seconds)
            phase = _kill(run, bool(number % 2), delay)
            if phase is None:
                break
            phases[phase] += 1
            say(f"kill {number + 1}: {phase}")
        if phase is not None:  # the last kill
            undisturbed(run)
        found = differences(run, whole)
        say(f"{run.name}: {found or 'the same'}")
        if found:
            bad[run.name] = found
    say(f"{kills} kills in {runs} runs ({', '.join(f'{n} {p}' for p, n in phases.items())}): {len(bad)} differ")
    return bad
