"""How the benchmarks take time, and on what."""

from __future__ import annotations

import os
import pathlib
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np


def best(fn: Callable, *args: object, seconds: float = 0.5, give_up: float = float("inf")) -> float:
    """Least wall time of one call in seconds, compilation excluded.

    Repeats for `seconds`, at least twice; a first call slower than `give_up` is not repeated.
    """
    jax.block_until_ready(fn(*args))
    least, end = float("inf"), time.perf_counter() + seconds
    while True:
        began = time.perf_counter()
        jax.block_until_ready(fn(*args))
        now = time.perf_counter()
        least = min(least, now - began)
        if now > end or least > give_up:
            return least


def device_name() -> str:
    """The accelerator's name, or the CPU's with its cores."""
    device = jax.devices()[0]
    if device.platform != "cpu":
        return device.device_kind
    return cpu_name()


def cpu_name() -> str:
    """Model of this machine's CPU and the number of its cores."""
    info = pathlib.Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in info.read_text().splitlines() if line.startswith("model name")]
    return f"{names[0] if names else 'CPU'}, {os.cpu_count()} cores"


def matmul_peak(dtype: str = "float32", side: int = 0) -> float:
    """FLOP/s of the best of a few large square matrix products on the default device: the yardstick for the rest."""
    sides = (side,) if side else ((1024, 2048) if jax.default_backend() == "cpu" else (4096, 8192, 12288))
    rates = []
    for n in sides:
        a = jnp.asarray(np.random.default_rng(0).standard_normal((n, n), np.float32), dtype)
        rates.append(2 * n**3 / best(jax.jit(jnp.matmul), a, a, seconds=1.0))
    return max(rates)
