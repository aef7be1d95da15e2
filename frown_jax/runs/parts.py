"""What each program of a run leaves when it ends, until everything is put together: each exactly once."""

from __future__ import annotations

import dataclasses
import json
import pathlib
import shutil
import uuid

import pandas as pd

from frown_jax.runtime import processes


@dataclasses.dataclass(frozen=True)
class Part:
    """What one program leaves.

    Attributes:
      predictions: a row per member, split and image.
      members: a row per member.
      seconds: of training, since it was begun or continued last.
    """

    predictions: pd.DataFrame
    members: pd.DataFrame
    seconds: float


class Parts:
    """The parts of a run, in its folder `parts`."""

    def __init__(self, run: pathlib.Path):
        self._folder = run / "parts"

    def lease(self, index: int | str) -> pathlib.Path:
        """Of the process that works on a program, or on something that all share."""
        return self._folder / f"{index}.lease"

    def has(self, index: int) -> bool:
        """Whether the program has ended."""
        return (self._folder / str(index)).is_dir()

    def write(self, index: int, part: Part) -> None:
        """Keeps a part, whole or not at all; one that is there already stays."""
        if not processes.is_first():
            return
        partial = self._folder / f".{index}.{uuid.uuid4().hex}"
        partial.mkdir(parents=True)
        part.predictions.to_parquet(partial / "predictions.parquet", index=False)
        part.members.to_csv(partial / "members.csv", index=False)
        (partial / "timing.json").write_text(json.dumps({"training_seconds": round(part.seconds, 2)}))
        try:
            partial.rename(self._folder / str(index))  # fails if there is one
        except OSError:
            shutil.rmtree(partial)
            if not self.has(index):
                raise

    def read(self, index: int) -> Part:
        """A part that is there."""
        folder = self._folder / str(index)
        seconds = json.loads((folder / "timing.json").read_text())["training_seconds"]
        return Part(pd.read_parquet(folder / "predictions.parquet"), pd.read_csv(folder / "members.csv"), seconds)

    def forget(self) -> None:
        """Takes them away: everything is in the run's own files."""
        shutil.rmtree(self._folder, ignore_errors=True)
