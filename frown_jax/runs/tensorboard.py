"""TensorBoard's event files. A module of its own, because tensorboardX imports torch wherever that is installed."""

from __future__ import annotations

import itertools
import pathlib
import shutil
import struct
import time
from collections.abc import Sequence

from tensorboardX.proto.event_pb2 import Event
from tensorboardX.proto.summary_pb2 import Summary
from tensorboardX.record_writer import masked_crc32c

from frown_jax.runs.watchers import Row, values


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
    return struct.pack("<I", masked_crc32c(data))
