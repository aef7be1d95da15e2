"""Training while it runs, for those who look on: TensorBoard's event files, Weights & Biases.

Both show what metrics.jsonl holds; nothing is read back from them.
"""

from __future__ import annotations

import itertools
import pathlib
import shutil
import struct
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from ml_collections import ConfigDict
from tensorboardX.crc32c import crc32c
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary

from frown_jax.config import ConfigError

Row = Mapping[str, Any]
_NAMES = ("group", "epoch", "member", "method", "seed", "draw")  # of a row; its other columns are values
_MASK = 0xA282EAD8


class Watcher(Protocol):
    """Is told of every epoch."""

    def restart(self, rows: Sequence[Row]) -> None:
        """The run goes on from these rows of metrics.jsonl: whatever came after them will come again."""

    def add(self, rows: Sequence[Row]) -> None:
        """An epoch of some members has ended."""

    def close(self) -> None:
        """Training is over."""


def values(row: Row) -> dict[str, float]:
    """{'train/loss': ..., 'val/auroc': ...} of a row."""
    out = {}
    for name, value in row.items():
        if name not in _NAMES and isinstance(value, (int, float)):
            head, _, tail = name.partition("_")
            out[f"{head}/{tail}" if head in ("train", "val") else name] = float(value)
    return out


class TensorBoard:
    """Event files, without TensorFlow: a folder a member, METHOD/seedS, a step an epoch.

    A file is open only while a row is appended to it, so that thousands of members cost no file handles.
    """

    def __init__(self, folder: pathlib.Path):
        self._folder = folder

    def restart(self, rows: Sequence[Row]) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)
        self.add(rows)

    def add(self, rows: Sequence[Row]) -> None:
        by_member = itertools.groupby(sorted(rows, key=lambda r: r["member"]), key=lambda r: r["member"])
        for member, own in by_member:
            events = [self._event(row) for row in own]
            path = self._path(member, events[0][0])
            data = b"".join(_framed(event) for _, event in events)
            if not path.exists():
                path.parent.mkdir(parents=True, exist_ok=True)
                data = _framed(Event(wall_time=time.time(), file_version="brain.Event:2")) + data
            with open(path, "ab") as file:
                file.write(data)

    def close(self) -> None:
        pass

    def _event(self, row: Row) -> tuple[Row, Event]:
        summary = Summary(value=[Summary.Value(tag=tag, simple_value=v) for tag, v in values(row).items()])
        return row, Event(wall_time=time.time(), step=int(row["epoch"]) + 1, summary=summary)

    def _path(self, member: int, row: Row) -> pathlib.Path:
        method = "".join(c if c.isalnum() or c in " +-_.," else "_" for c in str(row.get("method", "")))
        draw = f"draw{row['draw']}-" if "draw" in row else ""
        return self._folder / method / f"{draw}seed{row.get('seed', 0)}" / f"events.out.tfevents.0.member{member}"


def _framed(event: Event) -> bytes:
    """A record of TensorFlow's files: length, its checksum, data, their checksum (tsl/lib/io/record_writer.h)."""
    data = event.SerializeToString()
    length = struct.pack("<Q", len(data))
    return length + _checksum(length) + data + _checksum(data)


def _checksum(data: bytes) -> bytes:
    crc = crc32c(data)
    return struct.pack("<I", (((crc >> 15) | (crc << 17)) + _MASK) & 0xFFFFFFFF)


class WeightsAndBiases:
    """One run of Weights & Biases for all members: of each method the mean over its members, against the epoch."""

    def __init__(self, project: str, workdir: pathlib.Path, config: ConfigDict):
        """Begins a run, or goes on with the one of the same run directory.

        Raises:
          ConfigError: wandb is not installed.
        """
        try:
            import wandb
        except ImportError:
            raise ConfigError("--wandb: it is not installed; pip install wandb, or leave --wandb out") from None
        self._run = wandb.init(
            project=project,
            name=workdir.name,
            id=workdir.name,
            resume="allow",
            dir=str(workdir),
            config=config.to_dict(),
        )
        self._run.define_metric("*", step_metric="epoch")

    def restart(self, rows: Sequence[Row]) -> None:
        pass  # it keeps what it was told; epochs that are run again are told again

    def add(self, rows: Sequence[Row]) -> None:
        for epoch, means in _means(rows):
            self._run.log({"epoch": epoch + 1, **means})

    def close(self) -> None:
        self._run.finish()


def _means(rows: Iterable[Row]) -> list[tuple[int, dict[str, float]]]:
    """Of each epoch the mean of every value over each method's members: {'baseline/val/auroc': ...}."""
    sums: dict[int, dict[str, list[float]]] = {}
    for row in rows:
        of_epoch = sums.setdefault(int(row["epoch"]), {})
        for name, value in values(row).items():
            of_epoch.setdefault(f"{row['method']}/{name}", []).append(value)
    return [(epoch, {name: sum(v) / len(v) for name, v in of.items()}) for epoch, of in sorted(sums.items())]
