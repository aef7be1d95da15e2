"""The machine: processes, files, memory, devices, commands.

It may import errors and config.
"""

__all__ = [
    "atomic",
    "cache",
    "command",
    "config_flag",
    "lease",
    "memory",
    "packing",
    "preemption",
    "processes",
    "progress",
    "resident",
]
