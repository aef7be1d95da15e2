"""Every error that a user can cause and correct. A command prints its message as one line and exits with status 2."""

from __future__ import annotations


class UserError(Exception):
    """The base of all of them. Its message says what is wrong, where, and what would work."""


class ConfigError(UserError, ValueError):
    """A setting is impossible; the message names the field and the valid values."""


class ConfigFileError(UserError):
    """--config names no file and no config of the package; the message names the file, or lists the configs."""


class DataError(UserError, ValueError):
    """The user's data or data settings are at fault; the message says what, where and how to correct it."""


class CohortError(UserError, ValueError):
    """The subjects that a config asks for cannot be drawn; the message says how many there are."""


class MitigationError(UserError, ValueError):
    """A mitigation is unknown, misspelt, or does not fit the data; the message says what would work."""


class OutcomesError(UserError, ValueError):
    """Labels, predictions or attributes cannot be measured; the message names the column, the row and the value."""


class WeightsError(UserError, ValueError):
    """A weight file cannot be used; the message names the file, the key and the shapes."""


class MemoryTooSmallError(UserError, ValueError):
    """Not even one member fits in the devices' memory."""


class HeldError(UserError, RuntimeError):
    """Another living process works on the same run."""


class AbandonedError(UserError, RuntimeError):
    """Another process of the same run has failed, and has printed why."""
