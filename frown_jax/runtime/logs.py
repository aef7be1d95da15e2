"""What a command prints beside its results: this package's log, others' warnings, and every error once."""

from __future__ import annotations

import logging as std_logging
import sys
import threading
import traceback
import types
import warnings

from absl import logging

_WRITERS = ("/orbax/", "/asyncio/", "/tensorstore/")  # of checkpoints, in the background


class _OnlyOurs(std_logging.Filter):
    """Below warnings, only this package's lines; and not what background writes say of errors."""

    def filter(self, record: std_logging.LogRecord) -> bool:
        if record.exc_info and any(part in record.pathname for part in _WRITERS):
            return False
        return record.levelno >= std_logging.WARNING or "frown_jax" in record.pathname


def _is_of_a_write(trace: types.TracebackType | None) -> bool:
    """Whether an error befell a checkpoint's background write: orbax raises it again in the main thread."""
    files = [frame.filename for frame in traceback.extract_tb(trace)]
    return (
        threading.current_thread() is not threading.main_thread()
        and bool(files)
        and all(any(part in file for part in (*_WRITERS, "/threading.py", "/concurrent/futures/")) for file in files)
    )


def begin() -> None:
    """Sets the log up, and keeps background writes' tracebacks from it."""
    logging.set_verbosity(logging.INFO)
    handler = logging.get_absl_handler()
    handler.addFilter(_OnlyOurs())
    handler.setFormatter(std_logging.Formatter("%(asctime)s %(message)s", "%H:%M:%S"))
    warnings.filterwarnings("ignore", "coroutine '.*' was never awaited", RuntimeWarning)

    of_thread, of_callback = threading.excepthook, sys.unraisablehook

    def thread_hook(failed: threading.ExceptHookArgs) -> None:
        if not _is_of_a_write(failed.exc_traceback):
            of_thread(failed)

    def callback_hook(failed: sys.UnraisableHookArgs) -> None:  # tensorstore's calls into Python
        if not _is_of_a_write(failed.exc_traceback):
            of_callback(failed)

    threading.excepthook, sys.unraisablehook = thread_hook, callback_hook
