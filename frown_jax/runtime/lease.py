"""One process at a time works on a thing, on machines that share only a file system."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pathlib
import socket
import threading
import time
import uuid
from collections.abc import Iterator

from frown_jax.errors import HeldError
from frown_jax.runtime import processes

HEARTBEAT = 20.0  # seconds between signs of life
_POLL = 0.2
STALE = 180.0  # seconds without one: its holder is taken for dead, if it cannot be asked


def _started(pid: int) -> str:
    """When a process of this machine started, in the kernel's ticks; '' if it is not there, or nothing tells."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""


def this_process() -> dict:
    """Its machine, number and start."""
    return {"host": socket.gethostname(), "pid": os.getpid(), "started": _started(os.getpid())}


def is_alive(process: dict, silent: float) -> bool:
    """Whether a process may still be at work.

    Args:
      process: what `this_process` said of it, there.
      silent: seconds since its last sign of life, which decide for another machine's.
    """
    if process.get("host") != socket.gethostname():
        return silent < STALE
    try:
        os.kill(process["pid"], 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        pass
    return process.get("started", "") == _started(process["pid"])  # not another process that got its number


def holder_of(path: pathlib.Path) -> dict | None:
    """Who holds a lease; None if nobody does, or a dead process."""
    try:
        holder, age = json.loads(path.read_text()), time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return None
    return holder if is_alive(holder, age) else None


@contextlib.contextmanager
def _alone(path: pathlib.Path) -> Iterator[None]:
    """Keeps other processes out for the moment in which a lease changes hands."""
    with open(path, "a") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # goes with the process, however it ends
        yield


def _take(path: pathlib.Path) -> dict | None:
    """Takes the lease if nobody alive holds it; otherwise, who does."""
    with _alone(path.with_suffix(".lock")):
        holder = holder_of(path)
        if holder is None:
            own = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
            own.write_text(json.dumps(this_process()))
            own.replace(path)
        return holder


@contextlib.contextmanager
def hold(path: pathlib.Path, patience: float = 0.0) -> Iterator[None]:
    """Holds the lease `path` while the block runs.

    Args:
      path: a file; it lies there while it is held.
      patience: seconds to wait for another holder to end.

    A lease is a file with its holder's machine, process and last sign of life. A dead holder's is taken over: at once
    on the same machine, after STALE seconds from another.

    Raises:
      HeldError: a living process holds it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    deadline = time.monotonic() + patience
    while (holder := _take(path)) is not None:
        if time.monotonic() >= deadline:
            raise HeldError(f"process {holder['pid']} on {holder['host']} works on it ({path})")
        time.sleep(_POLL)
    over = threading.Event()

    def beat() -> None:
        while not over.wait(HEARTBEAT):
            with contextlib.suppress(OSError):
                os.utime(path)

    thread = threading.Thread(target=beat, daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()
        path.unlink(missing_ok=True)


@contextlib.contextmanager
def hold_together(path: pathlib.Path, patience: float = 0.0) -> Iterator[None]:
    """A lease that the first of several processes holds for all.

    Args:
      path, patience: of `hold`.

    Raises:
      HeldError: in all, if somebody else holds it.
    """
    with contextlib.ExitStack() as stack:
        refusal = ""
        if processes.is_first():
            try:
                stack.enter_context(hold(path, patience))
            except HeldError as e:
                refusal = str(e)
        refusal = processes.from_first(refusal)
        if refusal:
            raise HeldError(refusal)
        yield
