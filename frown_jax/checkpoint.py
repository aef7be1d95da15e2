"""Checkpoints of a compile group's stacked state. Nothing else touches orbax."""

from __future__ import annotations

import pathlib
from typing import Any

import jax
import orbax.checkpoint as ocp
from absl import logging


class Checkpoints:
    """One checkpoint per epoch in `directory`, written in the background; the last two are kept."""

    def __init__(self, directory: pathlib.Path, keep: int = 2):
        options = ocp.CheckpointManagerOptions(max_to_keep=keep, create=True)
        self._manager = ocp.CheckpointManager(directory.resolve(), options=options)

    def save(self, epochs_done: int, state: Any, meta: dict) -> None:
        """Starts writing the state after `epochs_done` epochs; `meta` is JSON."""
        args = ocp.args.Composite(state=ocp.args.StandardSave(state), meta=ocp.args.JsonSave(meta))
        self._manager.save(epochs_done, args=args)

    def restore(self, abstract: Any) -> tuple[int, Any, dict] | None:
        """The newest readable checkpoint.

        Args:
          abstract: pytree of jax.ShapeDtypeStruct like the state.

        Returns:
          Epochs done, state, meta; None if there is no readable checkpoint.
        """
        target = jax.tree.map(
            lambda s: jax.ShapeDtypeStruct(
                s.shape, s.dtype, sharding=jax.sharding.SingleDeviceSharding(jax.devices()[0])
            ),
            abstract,
        )
        for step in sorted(self._manager.all_steps(), reverse=True):
            args = ocp.args.Composite(state=ocp.args.StandardRestore(target), meta=ocp.args.JsonRestore())
            try:
                restored = self._manager.restore(step, args=args)
            except Exception as e:  # a damaged checkpoint fails in many ways; the one before it may be whole
                logging.warning("checkpoint %s of epoch %d is unreadable (%s)", self._manager.directory, step, e)
                continue
            return step, restored["state"], restored["meta"]
        return None

    def close(self) -> None:
        """Waits for the last write."""
        self._manager.wait_until_finished()
        self._manager.close()
