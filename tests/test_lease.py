"""One process at a time: leases, parts that are kept once, and runs that stop when they are asked."""

import json
import multiprocessing
import os
import signal
import socket
import time

import pandas as pd
import pytest

from frown_jax.errors import HeldError
from frown_jax.runs.parts import Part, Parts
from frown_jax.runtime import lease, preemption

_fork = multiprocessing.get_context("forkserver")


def _take(path, got, go):
    go.wait()
    try:
        with lease.hold(path):
            got.put(os.getpid())
            time.sleep(1)
    except HeldError:
        got.put(None)


def _die(path):
    held = lease.hold(path)  # named: what is not named ends in order
    held.__enter__()
    os.kill(os.getpid(), signal.SIGKILL)


def test_of_many_one_holds_it(tmp_path):
    got, go = _fork.Queue(), _fork.Event()
    workers = [_fork.Process(target=_take, args=(tmp_path / "a" / "x.lease", got, go)) for _ in range(6)]
    for worker in workers:
        worker.start()
    time.sleep(1)
    go.set()
    found = [got.get(timeout=30) for _ in workers]
    for worker in workers:
        worker.join(30)
    assert sum(pid is not None for pid in found) == 1
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["x.lock"]


def test_a_dead_holder_is_followed_at_once(tmp_path):
    path = tmp_path / "x.lease"
    worker = _fork.Process(target=_die, args=(path,))
    worker.start()
    worker.join(30)
    assert path.is_file() and worker.exitcode == -signal.SIGKILL
    with lease.hold(path):
        assert json.loads(path.read_text())["pid"] == os.getpid()
        with pytest.raises(HeldError, match=f"process {os.getpid()} on {socket.gethostname()}"), lease.hold(path):
            pass
    assert not path.exists()


def test_a_process_with_a_dead_ones_number_is_not_taken_for_it(tmp_path):
    path = tmp_path / "x.lease"
    path.write_text(json.dumps({"host": socket.gethostname(), "pid": os.getpid(), "started": "1"}))
    with lease.hold(path):
        pass


def test_another_machines_holder_is_followed_once_it_is_silent(tmp_path):
    path = tmp_path / "x.lease"
    path.write_text(json.dumps({"host": "elsewhere", "pid": 1, "started": "1"}))
    with pytest.raises(HeldError, match="on elsewhere"), lease.hold(path):
        pass
    old = time.time() - lease.STALE - 1
    os.utime(path, (old, old))
    with lease.hold(path):
        assert json.loads(path.read_text())["host"] == socket.gethostname()


def test_a_holder_shows_that_it_lives(tmp_path, monkeypatch):
    monkeypatch.setattr(lease, "HEARTBEAT", 0.05)
    path = tmp_path / "x.lease"
    with lease.hold(path):
        os.utime(path, (0, 0))
        deadline = time.monotonic() + 10
        while path.stat().st_mtime == 0 and time.monotonic() < deadline:
            time.sleep(0.02)
        assert path.stat().st_mtime > 0


def part(value):
    return Part(pd.DataFrame({"member": [value]}), pd.DataFrame({"member": [value]}), 1.0)


def test_a_part_is_kept_once(tmp_path):
    parts = Parts(tmp_path)
    assert not parts.has(0)
    parts.write(0, part(1))
    parts.write(0, part(2))  # a second job that ended the same program
    assert parts.has(0) and parts.read(0).predictions["member"].tolist() == [1]
    assert [p.name for p in (tmp_path / "parts").iterdir()] == ["0"]
    parts.forget()
    assert not parts.has(0)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGUSR2])
def test_a_first_signal_asks_and_a_second_one_stops(number):
    before = signal.getsignal(number)
    with preemption.graceful():
        assert not preemption.requested()
        preemption.stop_if_requested()
        os.kill(os.getpid(), number)
        assert preemption.requested()
        with pytest.raises(preemption.PreemptedError, match=signal.Signals(number).name):
            preemption.stop_if_requested()
        with pytest.raises(KeyboardInterrupt):
            os.kill(os.getpid(), number)
            time.sleep(1)
    assert signal.getsignal(number) is before and not preemption.requested()
