"""Progress on long work: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import sys
import time
from types import TracebackType

from absl import logging
from tqdm import tqdm

from frown_jax.runtime import processes

_SECONDS_BETWEEN_LINES = 20.0


def duration(seconds: float) -> str:
    """'8 s', '3 min 20 s', '2 h 05 min'."""
    s = round(seconds)
    if s < 60:
        return f"{s} s"
    if s < 3600:
        return f"{s // 60} min {s % 60:02d} s"
    return f"{s // 3600} h {s % 3600 // 60:02d} min"


class Progress:
    """Counts `total` units of work.

    >>> with Progress(3, "faces", "face") as progress:
    ...     progress.advance(3)
    """

    def __init__(self, total: int, label: str, unit: str, done: int = 0):
        self._total, self._label, self._unit = total, label, unit
        self._done = self._first = done
        self._note = ""
        self._bar = None
        if sys.stderr.isatty() and processes.is_first():
            self._bar = tqdm(total=total, initial=done, desc=label, unit=f" {unit}", dynamic_ncols=True)

    def __enter__(self) -> Progress:
        self._start = self._last = time.monotonic()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._bar is not None:
            self._bar.close()
        elif kind is None:
            elapsed = time.monotonic() - self._start
            rate = (self._done - self._first) / max(elapsed, 1e-9)
            logging.info("%s: %s in %s, %.0f %s/s", self._label, self._done, duration(elapsed), rate, self._unit)

    def note(self, text: str) -> None:
        """Shows something beside the bar (the best so far, say)."""
        self._note = text
        if self._bar is not None:
            self._bar.set_postfix_str(text)

    def expect(self, more: int) -> None:
        """Sets the total to what is done and `more`: work that falls away is not waited for."""
        self._total = self._done + more
        if self._bar is not None:
            self._bar.total = self._total
            self._bar.refresh()

    def advance(self, count: int) -> None:
        self._done += count
        if self._bar is not None:
            self._bar.update(count)
            return
        now = time.monotonic()
        if now - self._last >= _SECONDS_BETWEEN_LINES:
            self._last = now
            rate = (self._done - self._first) / (now - self._start)
            left = duration((self._total - self._done) / max(rate, 1e-9))
            note = f", {self._note}" if self._note else ""
            logging.info(
                "%s: %d of %d, %.0f %s/s, about %s left%s",
                self._label,
                self._done,
                self._total,
                rate,
                self._unit,
                left,
                note,
            )
