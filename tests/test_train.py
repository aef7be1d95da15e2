"""The host side of training: what happens to programs that do not fit, and how parts become a run."""

import json

import jax
import numpy as np
import pandas as pd
import pytest

from frown_jax import config as configs
from frown_jax.errors import MemoryTooSmallError
from frown_jax.jobs import job as job_jobs
from frown_jax.runs import directory
from frown_jax.runs.checkpoint import Checkpoints
from frown_jax.runs.directory import RunDir
from frown_jax.training.grid import expand
from frown_jax.training.program import ProgramTrainer


class Trainer:
    """In place of the real one: fails with more members than the devices are said to hold."""

    holds, error, tried = 2, jax.errors.JaxRuntimeError("RESOURCE_EXHAUSTED: Out of memory allocating 9 bytes"), []

    def __init__(self, index, group, run, data, initial):
        self.index, self.members, self.run, self.seconds = index, [s.member for s in group.specs], run, 1.0

    def train(self):
        Trainer.tried.append(self.members)
        self.run.metrics.append(self.index, [{"program": self.index, "epoch": 0, "member": m} for m in self.members])
        self.run.checkpoints(self.index).mkdir(parents=True)
        if len(self.members) > Trainer.holds:
            raise Trainer.error

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def predict(self, state, data, splits):
        return pd.DataFrame({"member": self.members})

    def summary(self, state):
        return pd.DataFrame({"member": self.members, "group": self.index})


@pytest.fixture
def job(tmp_path, monkeypatch):
    monkeypatch.setattr(job_jobs, "ProgramTrainer", Trainer)
    monkeypatch.setattr(Trainer, "tried", [])
    c = configs.default()
    c.seeds, c.members_per_device = tuple(range(7)), "7"
    run = RunDir.create(tmp_path / "run", c, [{}], {})
    return job_jobs.Job(c, run, None, expand(c, [{}]), ("test",), None)


def test_a_program_that_does_not_fit_is_halved_until_it_does(job):
    job.train_parts()
    assert Trainer.tried == [[0, 1, 2, 3, 4, 5, 6], [0, 1, 2, 3], [0, 1], [4, 5, 6], [4, 5], [2, 3], [6]]
    programs = json.loads((job.run.path / "programs.json").read_text())
    assert programs == [[0, 1], [4, 5], [2, 3], [6]]
    assert [job.parts.read(k).predictions["member"].tolist() for k in range(4)] == programs
    assert sorted(row["member"] for row in job.run.metrics.read()) == list(range(7))  # nothing of what failed
    job.train_parts()  # what has ended is not trained again
    assert len(Trainer.tried) == 7


def test_not_even_one_member_fits(job, monkeypatch):
    monkeypatch.setattr(Trainer, "holds", 0)
    with pytest.raises(MemoryTooSmallError, match="not even one member"):
        job.train_parts()


def test_other_errors_are_not_taken_for_it(job, monkeypatch):
    monkeypatch.setattr(Trainer, "error", jax.errors.JaxRuntimeError("INTERNAL: something else"))
    with pytest.raises(jax.errors.JaxRuntimeError, match="something else"):
        job.train_parts()
    assert not job.parts.has(0) and not job.parts.lease(0).exists()


def test_what_a_run_goes_on_with_is_kept_beside_what_it_was_begun_with(job, monkeypatch):
    run = job.run
    for device in ("A", "A", "B", "B", "A"):
        monkeypatch.setattr(directory, "versions", lambda d=device: {"device": d, "jax": "1", "command": [d]})
        run.record_versions()
    kept = json.loads((run.path / "versions.json").read_text())
    assert kept == {"device": "A", "jax": "1", "command": ["A"], "continued": [{"device": "B"}]}


@pytest.mark.slow
@pytest.mark.parametrize(("every", "kept"), [(1, [1, 2, 3]), (2, [2, 3]), (5, [3])])
def test_checkpoints_are_written_every_so_many_epochs_and_at_the_end(tmp_path, monkeypatch, toy_data, every, kept):
    c = configs.default()
    configs.small(c)
    configs.smoke(c)
    c.model.width, c.epochs, c.checkpoint_every, c.seeds = 4, 3, every, (0,)
    (group,) = expand(c, [{}])
    written = []
    save = Checkpoints.save
    monkeypatch.setattr(
        Checkpoints, "save", lambda self, number, *rest: (written.append(number), save(self, number, *rest))
    )
    trainer = ProgramTrainer(0, group, RunDir.create(tmp_path / "run", c, [{}], {}), toy_data)
    state = trainer.train()
    assert written == kept
    again = ProgramTrainer(0, group, RunDir(tmp_path / "run"), toy_data).train()  # all done: only restored
    jax.tree.map(np.testing.assert_array_equal, state, again)
    assert written == kept
