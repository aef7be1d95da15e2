"""The machine: processes, files, memory, devices, commands.

It may import errors and config.
"""

__all__ = [
    "atomic",
    "cache",
    "command",
    "lease",
    "memory",
    "packing",
    "preemption",
    "processes",
    "progress",
    "resident",
]
