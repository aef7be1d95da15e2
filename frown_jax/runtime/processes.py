"""Several processes that train as one (`jax.distributed`): who writes, and what all have to agree on.

Every process runs the same program on the same settings; arrays are cut over the devices of all. Only the first
writes files. Whatever the outer world decides (is it there already, who holds the lease, was this process asked to
stop) has to be decided alike, or some would wait for a step that others never take: such questions are asked here.
With one process all of it does nothing.
"""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from typing import Any, TypeVar

import jax
import numpy as np
from absl import logging
from jax.experimental import multihost_utils

from frown_jax.errors import AbandonedError

_PATIENCE = 24 * 3600  # seconds in which the first may render, pretrain, or wait for a lease
_several = False
_questions = itertools.count()
_Made = TypeVar("_Made")


def initialise(coordinator: str | None = None, count: int | None = None, index: int | None = None) -> None:
    """Makes this process one of several; before anything else touches a device.

    Args:
      coordinator: HOST:PORT of the first process, reachable by all.
      count: of the processes.
      index: of this one; 0 is the first. All three may be left out under Slurm's srun, which tells.

    Raises:
      RuntimeError: they did not find each other.
    """
    global _several
    jax.distributed.initialize(coordinator, count, index)
    _several = jax.process_count() > 1
    logging.info("process %d of %d, %d devices", jax.process_index(), jax.process_count(), jax.device_count())
    if not is_first():
        logging.set_verbosity(logging.ERROR)


def is_first() -> bool:
    """Whether this process writes files and speaks."""
    return not _several or jax.process_index() == 0


def from_first(value: Any) -> Any:
    """What the first process says, in all; JSON. Each waits for the others, however long they take."""
    if not _several:
        return value
    from orbax.checkpoint import multihost  # seconds to import, and seldom needed

    # A barrier first: collectives give up on a process that is minutes late.
    barrier = multihost.get_barrier_sync_fn()
    barrier(key=f"frown_jax_{next(_questions)}", timeout_ms=1000 * _PATIENCE)
    text = np.frombuffer(json.dumps(value).encode() if is_first() else b"", np.uint8)
    size = int(multihost_utils.broadcast_one_to_all(np.int32(len(text))))
    said = multihost_utils.broadcast_one_to_all(text if is_first() else np.zeros(size, np.uint8))
    return json.loads(np.asarray(said, np.uint8).tobytes())


def everybody(value: float) -> list[float]:
    """The values of all processes."""
    if not _several:
        return [value]
    return np.asarray(multihost_utils.process_allgather(np.float32(value))).tolist()


def first_then_others(work: Callable[[], _Made]) -> _Made:
    """`work()`, once the first process has done it: what it leaves in files is not made twice.

    Raises:
      AbandonedError: it failed there.
    """
    if not _several:
        return work()
    made, error = None, None
    if is_first():
        try:
            made = work()
        except Exception as e:  # to be raised when the others know
            error = e
    failed = from_first(error is not None)
    if error is not None:
        raise error
    if failed:
        raise AbandonedError("the first process failed")
    return made if is_first() else work()  # type: ignore[return-value]


def local(tree: Any) -> Any:
    """Arrays as numpy ones, whole in every process."""

    def one(array: jax.Array) -> np.ndarray:
        if not isinstance(array, jax.Array) or array.is_fully_addressable:
            return np.asarray(array)
        return np.asarray(multihost_utils.process_allgather(array, tiled=True))

    return jax.tree.map(one, tree)
