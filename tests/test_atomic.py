"""Files are whole or not there, and what the dead were writing goes."""

import multiprocessing
import os
import signal

import numpy as np
import pytest

from frown_jax.runtime import atomic, lease

_fork = multiprocessing.get_context("forkserver")


def _die_writing(path):
    def write(temporary):
        temporary.write_text("half of")
        os.kill(os.getpid(), signal.SIGKILL)

    atomic.replace(path, write)


def _killed(path):
    worker = _fork.Process(target=_die_writing, args=(path,))
    worker.start()
    worker.join(60)
    assert worker.exitcode == -signal.SIGKILL


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.txt"
    atomic.replace(path, lambda p: p.write_text("one"))

    def fail(temporary):
        temporary.write_text("two")
        raise ValueError

    with pytest.raises(ValueError):
        atomic.replace(path, fail)
    assert path.read_text() == "one" and [p.name for p in tmp_path.iterdir()] == ["a.txt"]


@pytest.mark.parametrize("where", ["a.txt", "metrics/a~b.jsonl"])
def test_what_a_dead_process_was_writing_is_swept(tmp_path, where):
    (tmp_path / where).parent.mkdir(exist_ok=True)
    _killed(tmp_path / where)
    left = list(tmp_path.rglob("*.partial"))
    assert len(left) == 1 and left[0].read_text() == "half of"
    atomic.sweep(tmp_path)
    assert not [p for p in tmp_path.rglob("*") if p.is_file()]


def _save_often(path, number, go):
    go.wait()
    for _ in range(20):
        atomic.save_arrays(path, a=np.full(100_000, number))


def test_many_processes_may_write_the_same_arrays(tmp_path):
    path, go = tmp_path / "shared" / "a.npz", _fork.Event()
    workers = [_fork.Process(target=_save_often, args=(path, n, go)) for n in range(4)]
    for worker in workers:
        worker.start()
    go.set()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    with np.load(path) as file:
        assert len(np.unique(file["a"])) == 1 and len(file["a"]) == 100_000
    assert [p.name for p in path.parent.iterdir()] == ["a.npz"]


def test_what_the_living_write_stays(tmp_path):
    def write(temporary):
        temporary.write_text("mine")
        atomic.sweep(tmp_path)

    atomic.replace(tmp_path / "a.txt", write)
    assert (tmp_path / "a.txt").read_text() == "mine"


def test_other_machines_are_silent_for_long_before_they_are_swept(tmp_path):
    theirs, foreign = tmp_path / ".a.txt~elsewhere~1~5~0a.partial", tmp_path / ".download.partial"
    theirs.touch()
    foreign.touch()
    atomic.sweep(tmp_path)
    assert theirs.exists()
    past = theirs.stat().st_mtime - lease.STALE - 1
    os.utime(theirs, (past, past))
    os.utime(foreign, (past, past))
    atomic.sweep(tmp_path)
    assert not theirs.exists() and foreign.exists()
