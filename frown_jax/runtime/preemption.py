"""Asked to stop, a run ends its epoch, keeps it, and leaves with an exit status of its own."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator
from types import FrameType

from absl import logging

from frown_jax.runtime import processes

EXIT_PREEMPTED = 75  # EX_TEMPFAIL: the same command goes on where this one ended
_SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGUSR2)  # Slurm's own warning is sent as USR2 (submitit)


class PreemptedError(Exception):
    """The run was asked to stop; everything up to its last epoch is kept.

    Attributes:
      signal: by which.
    """

    def __init__(self, number: int):
        self.signal = signal.Signals(number)
        super().__init__(f"stopped by {self.signal.name}; the same command goes on from here")


_asked: list[int] = []


def requested() -> bool:
    """Whether this process, or one that trains with it, was asked to stop."""
    asked = int(max(processes.everybody(_asked[0] if _asked else 0)))
    if asked and not _asked:
        _asked.append(asked)
    return bool(_asked)


def stop_if_requested() -> None:
    """To be called where nothing is lost, by all processes.

    Raises:
      PreemptedError: one of them was asked to stop.
    """
    if requested():
        raise PreemptedError(_asked[0])


@contextlib.contextmanager
def graceful() -> Iterator[None]:
    """While the block runs, SIGTERM, SIGINT and SIGUSR2 ask it to stop; a second one stops it at once."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def handler(number: int, frame: FrameType | None) -> None:
        if _asked:
            for each, old in before.items():
                signal.signal(each, old)
            raise KeyboardInterrupt
        _asked.append(number)
        name = signal.Signals(number).name
        logging.warning("%s: stopping after this epoch, which is kept; once more stops at once", name)

    before = {each: signal.signal(each, handler) for each in _SIGNALS}
    try:
        yield
    finally:
        for each, old in before.items():
            signal.signal(each, old)
        _asked.clear()
