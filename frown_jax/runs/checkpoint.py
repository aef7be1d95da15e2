"""Checkpoints of a program's stacked arrays. Nothing else reads or writes with orbax."""

from __future__ import annotations

import contextlib
import errno
import os
import pathlib
from collections.abc import Iterator
from typing import Any

import jax
import numpy as np
import orbax.checkpoint as ocp
from absl import logging


class Checkpoints:
    """One checkpoint per epoch in `directory`, written in the background; the last two are kept."""

    def __init__(self, directory: pathlib.Path, keep: int = 2):
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True)
        self._manager = ocp.CheckpointManager(directory.resolve(), options=options)

    def save(self, number: int, parts: dict[str, Any], meta: dict) -> None:
        """Starts writing checkpoint `number`: pytrees by name, each restored by itself, and `meta`, which is JSON."""
        trees = {name: ocp.args.StandardSave(tree) for name, tree in parts.items()}
        with _disk_errors(self._manager.directory):
            self._manager.save(number, args=ocp.args.Composite(**trees, meta=ocp.args.JsonSave(meta)))

    def restore(self, abstract: dict[str, Any]) -> tuple[dict[str, Any], dict] | None:
        """The newest readable checkpoint.

        Args:
          abstract: the parts that are wanted, pytrees of jax.ShapeDtypeStruct.

        Returns:
          Those parts, numpy, and meta; None if there is no readable checkpoint.
        """
        # On the host: devices hold their shares of the members, and how many devices there are may change.
        target = jax.tree.map(lambda s: np.empty(s.shape, s.dtype), abstract)
        for step in sorted(self._manager.all_steps(), reverse=True):
            trees = {name: ocp.args.StandardRestore(tree) for name, tree in target.items()}
            args = ocp.args.Composite(**trees, meta=ocp.args.JsonRestore())
            try:
                restored = self._manager.restore(step, args=args)
            except Exception as e:  # a damaged checkpoint fails in many ways; the one before it may be whole
                logging.warning("checkpoint %d of %s is unreadable (%s)", step, self._manager.directory, e)
                continue
            return {name: restored[name] for name in target}, restored["meta"]
        return None

    def close(self) -> None:
        """Waits for the last write.

        Raises:
          OSError: the disk is full.
        """
        with _disk_errors(self._manager.directory):
            self._manager.wait_until_finished()
            self._manager.close()


@contextlib.contextmanager
def _disk_errors(directory: object) -> Iterator[None]:
    """Orbax tells of a full disk, one save late, in errors of many kinds."""
    try:
        yield
    except Exception as e:
        for number in (errno.ENOSPC, errno.EDQUOT):
            if os.strerror(number) in str(e):
                raise OSError(number, os.strerror(number), str(directory)) from e
        raise
