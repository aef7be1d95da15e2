"""The training metrics of a run: a line an epoch and member, kept by program while it trains."""

from __future__ import annotations

import contextlib
import json
import os
import pathlib
import shutil
from collections.abc import Sequence

from frown_jax.runs.watchers import Watcher
from frown_jax.runtime import atomic, processes


class MetricsLog:
    """metrics.jsonl of a run; until all programs have ended, metrics/PROGRAM.jsonl of each."""

    def __init__(self, run: pathlib.Path):
        self._whole, self._folder = run / "metrics.jsonl", run / "metrics"
        self._watchers: tuple[Watcher, ...] = ()

    def read(self, program: int | None = None) -> list[dict]:
        """A row an epoch and member; a line that was being written when a run was killed is left out.

        `program`: of one alone.
        """
        rows = [row for path in self._files(program) for row in _rows(path)]
        return rows if program is None else [row for row in rows if row["program"] == program]

    def _files(self, program: int | None = None) -> list[pathlib.Path]:
        if self._whole.is_file():
            return [self._whole]
        pattern = "*.jsonl" if program is None else f"{program}.jsonl"
        return sorted(self._folder.glob(pattern), key=lambda p: int(p.stem))

    def watch(self, watchers: Sequence[Watcher]) -> None:
        """Tells others of every epoch from now on."""
        self._watchers = tuple(watchers)
        self._restart_watchers()

    def _restart_watchers(self) -> None:
        for watcher in self._watchers:
            watcher.restart(self.read())

    def keep(self, program: int, epochs_done: int) -> None:
        """Drops metrics of epochs that are not in the program's checkpoint: they will be run again."""
        path = self._folder / f"{program}.jsonl"
        if not path.is_file():
            return
        kept = [row for row in _rows(path) if row["epoch"] < epochs_done]
        if len(kept) < len(path.read_text().splitlines()):
            self._replace(path, _lines(kept))
            self._restart_watchers()

    def append(self, program: int, rows: Sequence[dict]) -> None:
        """Rows of one epoch of a program."""
        if not processes.is_first():
            return
        self._folder.mkdir(exist_ok=True)
        with open(self._folder / f"{program}.jsonl", "a") as file:
            file.write(_lines(rows))
            file.flush()
            os.fsync(file.fileno())
        for watcher in self._watchers:
            watcher.add(rows)

    def join(self) -> None:
        """Puts the programs' metrics into one file."""
        if not self._whole.is_file():
            self._replace(self._whole, "".join(p.read_text() for p in self._files()))

    def forget_parts(self) -> None:
        """Takes the programs' own files away."""
        shutil.rmtree(self._folder, ignore_errors=True)

    @staticmethod
    def _replace(path: pathlib.Path, text: str) -> None:
        if processes.is_first():
            atomic.replace(path, lambda p: p.write_text(text))


def _rows(path: pathlib.Path) -> list[dict]:
    rows = []
    for line in path.read_text().splitlines():
        with contextlib.suppress(json.JSONDecodeError):
            rows.append(json.loads(line))
    return rows


def _lines(rows: Sequence[dict]) -> str:
    return "".join(json.dumps(row) + "\n" for row in rows)
