"""Files that are written whole or not at all."""

from __future__ import annotations

import pathlib
import time
import uuid
from collections.abc import Callable
from typing import Any

import numpy as np

from frown_jax.runtime import lease


def replace(path: pathlib.Path, write: Callable[[pathlib.Path], object]) -> None:
    """`write(path)` to a temporary name beside `path`, which then becomes its."""
    by = lease.this_process()
    writer = f"{by['host']}~{by['pid']}~{by['started']}~{uuid.uuid4().hex[:8]}"
    temporary = path.with_name(f".{path.name}~{writer}.partial")
    try:
        write(temporary)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def save_arrays(path: pathlib.Path, /, **arrays: Any) -> None:
    """Writes arrays by name, an .npz file, into a folder that many processes may fill; makes the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    sweep(path.parent)

    def write(temporary: pathlib.Path) -> None:
        with open(temporary, "wb") as file:  # numpy would add .npz to a name
            np.savez(file, **arrays)

    replace(path, write)


def sweep(folder: pathlib.Path) -> None:
    """Takes away what processes that died were writing, here and one folder below."""
    for left in [*folder.glob(".*.partial"), *folder.glob("*/.*.partial")]:
        try:
            _, host, pid, started, _ = left.name.rsplit("~", 4)
            silent = time.time() - left.stat().st_mtime
            alive = lease.is_alive({"host": host, "pid": int(pid), "started": started}, silent)
        except (ValueError, FileNotFoundError):  # another program's; ended meanwhile
            continue
        if not alive:
            left.unlink(missing_ok=True)
