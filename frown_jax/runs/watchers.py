"""Training while it runs, for those who look on: every epoch as it ends, Weights & Biases.

Watchers show what metrics.jsonl holds; nothing is read back from them.
"""

from __future__ import annotations

import pathlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from ml_collections import ConfigDict

from frown_jax.errors import ConfigError

Row = Mapping[str, Any]
_NAMES = ("program", "epoch", "member", "method", "seed", "draw")  # of a row; its other columns are values


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
