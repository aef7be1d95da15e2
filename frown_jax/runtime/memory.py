"""How many members fit on the devices: from the compiled program's own account of its memory."""

from __future__ import annotations

import dataclasses
import os
import pathlib
from collections.abc import Callable

import jax

from frown_jax.errors import MemoryTooSmallError
from frown_jax.runtime import processes

# Of a device's memory; the rest is for predictions, the compiler's slack and other processes.
_USABLE = {"cpu": 0.6, "gpu": 0.9, "tpu": 0.95}


@dataclasses.dataclass(frozen=True)
class Capacity:
    """What a training program needs on each device.

    Attributes:
      members: trained at once, on all devices together.
      bytes_per_member: of state and activations.
      bytes_shared: of the data set.
      limit: usable bytes of a device.
    """

    members: int
    bytes_per_member: float
    bytes_shared: float
    limit: float

    def __str__(self) -> str:
        return (
            f"{_size(self.bytes_per_member)} per member + {_size(self.bytes_shared)} of images, "
            f"{_size(self.limit)} usable per device: about {self.most} members fit on a device"
        )

    @property
    def most(self) -> int:
        return max(0, int((self.limit - self.bytes_shared) / max(self.bytes_per_member, 1)))


def _size(count: float) -> str:
    return f"{count / 1e9:.1f} GB" if count >= 1e9 else f"{count / 1e6:.0f} MB"


def usable_bytes() -> float:
    """Bytes of every device that a program may take: of the least of all processes'."""
    return min(processes.everybody(_usable_here(jax.local_devices()[0])))


def _usable_here(device: jax.Device) -> float:
    stats = device.memory_stats() or {}
    if "bytes_limit" in stats:
        return stats["bytes_limit"] * _USABLE.get(device.platform, 0.9)
    total = float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    for limit in ("memory.max", "memory/memory.limit_in_bytes"):  # of a container, version 2 and 1
        try:
            total = min(total, float((pathlib.Path("/sys/fs/cgroup") / limit).read_text()))
        except (OSError, ValueError):  # absent, or 'max'
            continue
    share = jax.local_device_count() if device.platform == "cpu" else 1
    return total * _USABLE["cpu"] / share


def program_bytes(compiled: jax.stages.Compiled) -> float:
    """Peak bytes of a compiled program on one device: arguments, results that do not reuse them, and temporaries."""
    analysis = compiled.memory_analysis()
    if analysis is None:
        return 0.0
    return float(
        analysis.argument_size_in_bytes
        + analysis.output_size_in_bytes
        - analysis.alias_size_in_bytes
        + analysis.temp_size_in_bytes
    )


def find(
    compile_for: Callable[[int], jax.stages.Compiled],
    wanted: int,
    shared: float,
    devices: int,
    limit: float,
) -> Capacity:
    """The largest number of members, at most `wanted`, whose program fits, each size checked by compiling it.

    Args:
      compile_for: members -> the compiled training program.
      wanted: members of the program.
      shared: bytes on every device that do not grow with the members.
      devices: over which members are cut.
      limit: usable bytes of one device.

    Raises:
      MemoryTooSmallError: one member per device does not fit.
    """
    most = -(-wanted // devices)  # of one device
    low, high, each = 0, most + 1, 0.0  # the largest count known to fit, the smallest known not to
    guess = most
    while high - low > max(1, low // 20):  # within a twentieth: every further step compiles a program
        needed = program_bytes(compile_for(guess * devices))
        each = max(0.0, needed - shared) / guess
        if needed <= limit:
            low, fits = guess, each
        else:
            high = guess
        if guess == 1 and not low:
            raise MemoryTooSmallError(
                f"one member needs {_size(needed)}, the device has {_size(limit)} to use: lower --config.batch_size, "
                "--config.model.image_size or --config.model.width"
            )
        # What the last size says, but past the largest that fits; where it points past a failure, the middle.
        guess = max(int((limit - shared) / max(each, 1)), low + max(1, low // 20))
        if guess >= high:
            guess = max(1, (low + high) // 2)
    return Capacity(min(low * devices, wanted), fits, shared, limit)
