"""Killed or asked to stop in mid-epoch, the same command ends with the same bytes."""

import os
import signal
import subprocess
import sys
import time

import pytest

from frown_jax.runtime.preemption import EXIT_PREEMPTED
from tests.commands import CACHE, ROOT

FILES = ("metrics.jsonl", "results.csv", "predictions.parquet", "members.csv", "data.json")


def _command(workdir):
    return [
        sys.executable,
        "launch.py",
        "--config=configs/baseline.py:runlocal",
        "--config.epochs=12",
        f"--config.data.cache_dir={CACHE}",
        f"--workdir={workdir}",
    ]


def _env():
    return {**os.environ, "JAX_PLATFORMS": "cpu"}


def _start(workdir):
    return subprocess.Popen(_command(workdir), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=_env())


def _finish(workdir):
    process = _start(workdir)
    _, log = process.communicate(timeout=300)
    assert process.returncode == 0, log[-2000:]
    return log


def _signal_after(workdir, epochs, number):
    """Starts, sends a signal once so many epochs are in the metrics, and waits for the end; its exit status."""
    process = _start(workdir)
    metrics, deadline = workdir / "metrics" / "0.jsonl", time.monotonic() + 200
    while time.monotonic() < deadline and process.poll() is None:
        if metrics.exists() and metrics.read_text().count("\n") >= 2 * epochs:  # two members a line each
            break
        time.sleep(0.02)
    process.send_signal(number)
    process.communicate(timeout=60)
    assert not (workdir / "results.csv").exists(), "it finished before it could be stopped"
    return process.returncode


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    path = tmp_path_factory.mktemp("whole") / "run"
    _finish(path)
    return path


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_stopped_run_goes_on_to_the_same_bytes(tmp_path, whole, number):
    broken = tmp_path / "broken"
    for epochs in (1, 3):
        status = _signal_after(broken, epochs, number)
        assert status == (-signal.SIGKILL if number == signal.SIGKILL else EXIT_PREEMPTED)
        if number == signal.SIGTERM:  # the epoch that ran is kept: the checkpoint has as many as the metrics
            steps = [int(p.name) for p in (broken / "checkpoints" / "program0").iterdir() if p.name.isdigit()]
            assert max(steps) == (broken / "metrics" / "0.jsonl").read_text().count("\n") // 2
    log = _finish(broken)
    assert b"continuing after epoch" in log
    for name in FILES:
        assert (broken / name).read_bytes() == (whole / name).read_bytes(), name
    assert not (broken / "parts").exists() and not (broken / "metrics").exists()


@pytest.mark.slow
def test_other_data_and_a_second_process_are_refused(tmp_path):
    process = _start(tmp_path / "run")
    lease = tmp_path / "run" / "parts" / "0.lease"
    deadline = time.monotonic() + 200
    while not lease.exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    process.send_signal(signal.SIGSTOP)  # lest it end before the second begins
    done = subprocess.run(_command(tmp_path / "run"), cwd=ROOT, capture_output=True, env=_env(), timeout=200)
    process.kill()
    process.communicate(timeout=60)
    assert done.returncode == 2 and f"process {process.pid} on".encode() in done.stderr
    path = tmp_path / "run" / "data.json"
    path.write_text(path.read_text().replace('"fingerprint": "', '"fingerprint": "x'))
    done = subprocess.run(_command(tmp_path / "run"), cwd=ROOT, capture_output=True, env=_env(), timeout=200)
    assert done.returncode == 2 and b"holds a run on other data (faces x" in done.stderr
