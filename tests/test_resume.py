"""Killed in mid-epoch, the same command ends with the same bytes."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest

ROOT = pathlib.Path(__file__).parent.parent
CACHE = str(pathlib.Path.home() / ".cache" / "frown_jax_tests")
FILES = ("metrics.jsonl", "results.csv", "predictions.parquet", "members.csv", "data.json")


def _command(workdir):
    return [
        sys.executable,
        "launch.py",
        "--config=configs/baseline.py:runlocal",
        "--config.epochs=6",
        f"--config.data.cache_dir={CACHE}",
        f"--workdir={workdir}",
    ]


def _start(workdir):
    env = {**os.environ, "JAX_PLATFORMS": "cpu"}
    return subprocess.Popen(_command(workdir), cwd=ROOT, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=env)


@pytest.mark.slow
def test_kill_and_resume_give_the_same_bytes(tmp_path):
    whole = _start(tmp_path / "whole")
    _, log = whole.communicate(timeout=300)
    assert whole.returncode == 0, log[-2000:]

    broken = tmp_path / "broken"
    for epochs in (1, 3):
        process = _start(broken)
        metrics = broken / "metrics.jsonl"
        deadline = time.monotonic() + 200
        while time.monotonic() < deadline and process.poll() is None:
            if metrics.exists() and metrics.read_text().count("\n") >= 2 * epochs:  # two members a line each
                break
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
        process.communicate(timeout=60)
        assert not (broken / "results.csv").exists(), "it finished before it could be killed"
    last = _start(broken)
    _, log = last.communicate(timeout=300)
    assert last.returncode == 0, log[-2000:]
    assert b"continuing after epoch" in log
    for name in FILES:
        assert (broken / name).read_bytes() == (tmp_path / "whole" / name).read_bytes(), name
