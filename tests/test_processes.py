"""Several real processes that train as one end as one process does."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from frown_jax.runtime.preemption import EXIT_PREEMPTED
from tests.commands import CACHE, ROOT

pytestmark = pytest.mark.slow


def _command(workdir, *more):
    return [
        sys.executable,
        "launch.py",
        "--config=configs/baseline.py:runlocal",
        "--config.epochs=4",
        f"--config.data.cache_dir={CACHE}",
        f"--workdir={workdir}",
        *more,
    ]


def _environment(devices):
    return {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
    }


def _start(workdir, devices, *more, count=2):
    """Processes with so many simulated devices each."""
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        port = s.getsockname()[1]
    together = [f"--coordinator=127.0.0.1:{port}", f"--processes={count}"]
    return [
        subprocess.Popen(
            _command(workdir, *more, *together, f"--process={i}"),
            cwd=ROOT, env=_environment(devices), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for i in range(count)
    ]  # fmt: skip


def _end(started):
    out = [p.communicate(timeout=500)[0] for p in started]
    return [p.returncode for p in started], out


def _alone(workdir, *more):
    done = subprocess.run(_command(workdir, *more), cwd=ROOT, env=_environment(1), capture_output=True, timeout=500)
    assert done.returncode == 0, done.stderr[-3000:]


def _assert_alike(a, b):
    """Other devices sum in another order; another member's probabilities would differ by tenths."""
    one, other = (pd.read_parquet(run / "predictions.parquet") for run in (a, b))
    columns = [c for c in one if c.startswith("p_")]
    pd.testing.assert_frame_equal(*(t[["member", "split", "id", "emotion"]] for t in (one, other)))
    np.testing.assert_allclose(one[columns], other[columns], atol=2e-2)
    one, other = (pd.read_csv(run / "members.csv") for run in (a, b))
    np.testing.assert_array_equal(one["best_epoch"], other["best_epoch"])
    np.testing.assert_allclose(one["best_val_auroc"], other["best_val_auroc"], atol=2e-2)


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    run = tmp_path_factory.mktemp("alone") / "run"
    _alone(run, "--config.seeds=(0,1,2,3,4)")
    return run


def test_members_over_two_processes_of_four_devices(tmp_path, alone):
    """Five members on eight devices. Asked to stop, one process tells the other; they go on as if nothing had been."""
    run, seeds = tmp_path / "run", "--config.seeds=(0,1,2,3,4)"
    started = _start(run, 4, seeds)
    metrics, deadline = run / "metrics" / "0.jsonl", time.monotonic() + 300
    while not (metrics.is_file() and metrics.read_text().count("\n")) and time.monotonic() < deadline:
        time.sleep(0.05)
    started[1].send_signal(signal.SIGTERM)
    codes, out = _end(started)
    assert codes == [EXIT_PREEMPTED] * 2, out
    assert not (run / "results.csv").exists()
    codes, out = _end(_start(run, 4, seeds))
    assert codes == [0, 0], out
    assert "continuing after epoch" in out[0] and "balanced accuracy" in out[0]
    assert "balanced accuracy" not in out[1]  # one of them speaks
    assert json.loads((run / "programs.json").read_text()) == [[0, 1, 2, 3, 4]]
    _assert_alike(run, alone)
    # One process reads what two have left.
    evaluated = subprocess.run(
        [sys.executable, "-m", "frown_jax.evaluate", f"--run={run}"],
        cwd=ROOT, env=_environment(1), capture_output=True, text=True, timeout=300,
    )  # fmt: skip
    assert evaluated.returncode == 0, evaluated.stderr[-3000:]


def test_a_member_spread_over_the_devices_of_two_processes(tmp_path):
    """Each batch of 16 over four devices: statistics of batches and gradients are those of the whole batch."""
    codes, out = _end(_start(tmp_path / "run", 2, "--config.seeds=(0,)", "--config.devices_per_member=4"))
    assert codes == [0, 0], out
    _alone(tmp_path / "alone", "--config.seeds=(0,)")
    _assert_alike(tmp_path / "run", tmp_path / "alone")
    losses = [pd.read_json(tmp_path / r / "metrics.jsonl", lines=True)["train_loss"] for r in ("run", "alone")]
    np.testing.assert_allclose(*(x[:1] for x in losses), rtol=1e-3)  # later roundings grow (see test_engine)


def test_what_cannot_be_is_told(tmp_path):
    def refused(*more):
        done = subprocess.run(
            _command(tmp_path / "run", *more),
            cwd=ROOT,
            env=_environment(2),
            capture_output=True,
            text=True,
            timeout=300,
        )
        assert done.returncode == 2
        return done.stderr

    assert "go together" in refused("--processes=2")
    assert "the last is 1" in refused("--coordinator=127.0.0.1:1", "--processes=2", "--process=2")
    assert "start it with srun" in refused("--distributed")
    assert "--slurm_tasks" in refused("--distributed", "--executor=slurm")
    assert "no multiple of devices_per_member=3" in refused("--config.devices_per_member=3")
    assert "the 2 devices are no multiple of it" in refused("--config.devices_per_member=4")
