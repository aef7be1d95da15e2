"""What is told of a run's programs, without a cluster."""

import os

from frown_jax import config as configs
from frown_jax.jobs import slurm
from frown_jax.runs.directory import RunDir
from frown_jax.runtime import lease


def test_states_of_programs(tmp_path):
    run = RunDir.create(tmp_path / "run", configs.default(), [{}], {})
    run.write_json("programs.json", [[0, 1], [2], [3], [4]])
    parts = run.path / "parts"
    (parts / "0").mkdir(parents=True)
    (parts / "2.failed").write_text("Traceback ...\nValueError: no such thing\n")
    run.metrics.append(1, [{"program": 1, "epoch": 0, "member": 2}])
    with lease.hold(parts / "1.lease"):  # a job that cut its program trains the second half under no job's number
        found = slurm.states(run)
    assert [s.what for s in found] == ["done", "running", "failed", "missing"]
    assert found[1].detail.startswith(f"process {os.getpid()} on ") and found[1].detail.endswith("1 epochs done")
    assert found[2].detail == "ValueError: no such thing" and [s.members for s in found] == [2, 1, 1, 1]
    assert slurm.table(found).endswith("1 done, 1 running, 1 failed, 1 missing")
