"""Nothing is lost: killed at any moment, on a full disk, with damaged checkpoints, a run ends as it would have."""

import contextlib
import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from frown_jax.errors import ConfigError
from frown_jax.runs.directory import RunDir
from tests import commands
from tests.faults import campaign as faults
from tests.needs import need

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    run = tmp_path_factory.mktemp("whole") / "run"
    faults.undisturbed(run)
    return run


@pytest.mark.parametrize(("kills", "seed"), [(26, 0), (24, 1)])
def test_fifty_kills_change_nothing(tmp_path, whole, kills, seed):
    """Half of them each, because two workers share them."""
    assert faults.run(tmp_path, kills, seed, whole) == {}


@contextlib.contextmanager
def _small_disk(folder, kilobytes):
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "tmpfs", str(folder)]
    mounted = shutil.which("mount") and os.geteuid() == 0 and subprocess.run(command, check=False).returncode == 0
    need(mounted, "a file system of one's own (root, mount)")
    try:
        yield
    finally:
        subprocess.run(["umount", str(folder)], check=True)


def _launch(run, code):
    """As a user does: a process that forks has other log handlers."""
    command = [sys.executable, "launch.py", *faults.SETTINGS, f"--workdir={run}"]
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(command, cwd=commands.ROOT, env=environment, capture_output=True, text=True, timeout=300)
    assert done.returncode == code, done.stderr[-2000:]
    return done.stderr


@pytest.mark.parametrize("room", [700, 2_600, 4_200, 6_000])
def test_a_full_disk_is_told_and_costs_nothing(tmp_path, whole, room):
    """Full at the first checkpoint, at some, and at the last (they take 2 MB each)."""
    disk = tmp_path / "disk"
    with _small_disk(disk, room):
        said = _launch(disk / "run", code=2)
        *log, last = said.splitlines()
        assert re.fullmatch(r"error: No space left on device: .*program0; free some, and the same command .*", last)
        assert len(log) < 20 and "Traceback" not in said, said[:3000]
        subprocess.run(["mount", "-o", "remount,size=200m", str(disk)], check=True)
        _launch(disk / "run", code=0)
        assert faults.differences(disk / "run", whole) == []


def test_a_file_that_does_not_fit_leaves_the_one_before_it(tmp_path):
    with _small_disk(tmp_path / "disk", 40):
        run = RunDir.made(tmp_path / "disk" / "run")
        run.write_text("table.txt", "the first")
        with pytest.raises(OSError, match="No space left"):
            run.write_text("table.txt", "x" * 60_000)
        assert [p.name for p in run.path.iterdir()] == ["table.txt"]
        assert (run.path / "table.txt").read_text() == "the first"


def _damage(step: pathlib.Path, how):
    """Cuts the arrays of a checkpoint short, or takes a file away."""
    for path in sorted(p for p in step.rglob("*") if p.is_file()):
        if how == "truncated" and path.stat().st_size > 1000:
            os.truncate(path, path.stat().st_size // 2)
        elif how == "other bytes" and path.stat().st_size > 1000:
            path.write_bytes(bytes(path.stat().st_size))
        elif how == "missing" and path.name.startswith("manifest"):
            path.unlink()


@pytest.mark.parametrize("how", ["truncated", "other bytes", "missing"])
def test_a_damaged_checkpoint_is_told_and_the_one_before_it_taken(tmp_path, whole, how):
    run = tmp_path / "run"
    faults.stop_after(run, epochs=2)
    steps = sorted(int(p.name) for p in (run / "checkpoints" / "program0").iterdir() if p.name.isdigit())
    assert len(steps) == 2
    _damage(run / "checkpoints" / "program0" / str(steps[-1]), how)
    said = _launch(run, code=0)
    assert f"checkpoint {steps[-1]} of" in said and "is unreadable" in said
    assert f"continuing after epoch {steps[-2]}" in said
    assert faults.differences(run, whole) == []


def test_a_folder_that_cannot_be_written_is_told(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(ConfigError, match="cannot be written"):
        RunDir.create(tmp_path / "file" / "run", None, [], {})
