"""Jobs of a real Slurm, on this machine: whatever happens to them, the run ends as the local one does."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from tests.commands import CACHE, ROOT
from tests.needs import need

pytestmark = pytest.mark.slow
FILES = ("metrics.jsonl", "results.csv", "predictions.parquet", "members.csv", "data.json", "summary.csv")
CHUNKS = 3


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    need(all(map(shutil.which, ("slurmctld", "slurmd", "munged", "sbatch"))), "Slurm (slurm-wlm and munge)")
    pytest.importorskip("submitit")
    folder = tmp_path_factory.mktemp("slurm")
    start = str(ROOT / "tests" / "slurm" / "start")
    said = subprocess.run([start, str(folder)], capture_output=True, text=True, timeout=120)
    assert said.returncode == 0, said.stderr
    env = {**os.environ, "JAX_PLATFORMS": "cpu", "SLURM_CONF": said.stdout.strip().partition("=")[2]}
    yield env
    subprocess.run(["scancel", "--me"], env=env, timeout=60)
    subprocess.run([start, str(folder), "stop"], timeout=60)


def _command(workdir, *more):
    return [
        sys.executable,
        "launch.py",
        "--config=configs/baseline.py:runlocal,seeds=6",
        "--config.epochs=5",
        "--config.members_per_device=2",
        f"--config.data.cache_dir={CACHE}",
        f"--workdir={workdir}",
        *more,
    ]


SLURM = ("--executor=slurm", "--slurm_gpus=0", "--slurm_cpus=1", "--slurm_time=30")


def _run(env, *command, code=0):
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=500)
    assert done.returncode == code, done.stderr[-3000:]
    return done


def _launch(env, *arguments, code=0):
    return _run(env, sys.executable, "launch.py", *arguments, code=code)


def _until(condition, seconds=300):
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.1)
    return found


def _lines(run, chunk):
    path = run / "metrics" / f"{chunk}.jsonl"
    return path.read_text().count("\n") if path.is_file() else 0


def _queued(env):
    said = _run(env, "squeue", "--me", "--noheader", "--array", "--format=%i %T").stdout
    return dict(line.split() for line in said.splitlines())


def _job_of(run, chunk):
    return [job for job, index in json.loads((run / "slurm" / "jobs.json").read_text()) if index == chunk][-1]


def test_jobs_that_die_are_cancelled_or_begin_again_end_as_the_local_run(cluster, tmp_path):
    env, run, local = cluster, tmp_path / "jobs", tmp_path / "local"
    collector = subprocess.Popen(
        _command(run, *SLURM), cwd=ROOT, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    # A running job's process dies; the one that would put everything together too.
    _until(lambda: _lines(run, 0) >= 2)
    os.kill(json.loads((run / "parts" / "0.lease").read_text())["pid"], signal.SIGKILL)
    collector.kill()
    collector.wait(60)
    # One is cancelled while it runs, one begins again.
    _until(lambda: _lines(run, 1) >= 2)
    _run(env, "scancel", _job_of(run, 1))
    _until(lambda: _lines(run, 2) >= 2)
    _run(env, "scontrol", "requeue", _job_of(run, 2))
    _until(lambda: _queued(env) == {} or set(_queued(env)) == {_job_of(run, 2)})
    said = _launch(env, f"--status={run}").stdout
    assert "left no result (cancelled, killed or out of time)" in said
    # What is missing is run, by two who do not know of each other; a third comes when all is done.
    both = [
        subprocess.Popen(
            [sys.executable, "launch.py", f"--resume={run}", *SLURM],
            cwd=ROOT, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        )
        for _ in range(2)
    ]  # fmt: skip
    for process in both:
        out, _ = process.communicate(timeout=500)
        assert process.returncode == 0, out[-3000:]
    assert f"{CHUNKS} done" in _launch(env, f"--status={run}").stdout
    assert "nothing is trained" in _launch(env, f"--resume={run}").stderr
    _run(env, *_command(local))
    for name in FILES:
        assert (run / name).read_bytes() == (local / name).read_bytes(), name
    assert not (run / "parts").exists() and not (run / "metrics").exists()


def test_a_job_of_two_processes_trains_its_members_as_one(cluster, tmp_path):
    run, alone = tmp_path / "two", tmp_path / "alone"
    shape = ("--config.seeds=(0,1)", "--config.epochs=2")
    _run(cluster, *_command(run, *SLURM, "--slurm_tasks=2", *shape))
    logs = "".join(p.read_text() for p in (run / "slurm").glob("*.err"))
    assert "process 0 of 2, 2 devices" in logs
    _run(cluster, *_command(alone, *shape))
    one, other = (pd.read_parquet(path / "predictions.parquet") for path in (run, alone))
    columns = [c for c in one if c.startswith("p_")]
    assert set(one["member"]) == {0, 1}
    np.testing.assert_allclose(one[columns], other[columns], atol=2e-2)  # other devices sum in another order


def test_a_job_that_fails_says_why_and_a_cluster_that_refuses_too(cluster, tmp_path):
    run = tmp_path / "run"
    _launch(cluster, *_command(run, *SLURM, "--nowait")[2:])
    said = _launch(cluster, f"--status={run}").stdout
    assert "queued" in said or "running" in said
    _run(cluster, "scancel", "--me")
    _until(lambda: _queued(cluster) == {})
    shutil.rmtree(run / "parts", ignore_errors=True)
    data = run / "data.json"
    data.write_text(data.read_text().replace('"fingerprint": "', '"fingerprint": "x'))
    failed = _launch(cluster, f"--resume={run}", *SLURM, code=2)
    assert "holds a run on other data" in failed.stderr
    refused = _launch(cluster, *_command(tmp_path / "b", *SLURM, "--slurm_partition=none")[2:], code=2)
    assert "error: --executor=slurm" in refused.stderr and "partition" in refused.stderr
