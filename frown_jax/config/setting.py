"""What a setting is: one entry of a table that defaults, checks and the reference page are made from."""

from __future__ import annotations

import dataclasses

from frown_jax.config.checks import Check, shown
from frown_jax.errors import ConfigError


@dataclasses.dataclass(frozen=True)
class Setting:
    """A field of the config.

    Attributes:
      name: the dotted name, 'optimiser.learning_rate'.
      default: the value where nobody sets one; its type is the field's.
      check: what it may be.
      help: what it does, in full sentences, with the unit.
      example: a value as a command line writes it, for settings whose form is easily missed.
      shortcut: another way to set it, for the message to the user who wrote no tuple.
    """

    name: str
    default: object
    check: Check
    help: str
    example: str = ""
    shortcut: str = ""

    def validate(self, value: object) -> None:
        """Refuses a value that is not allowed.

        Raises:
          ConfigError: one line with the field, the value, and what is allowed.
        """
        fault = self.check.fault(value)
        if not fault:
            return
        if isinstance(self.default, tuple) and not isinstance(value, tuple):
            quote = '"' if "'" in self.example else "'"
            fault = f"write --config.{self.name}={quote}{self.example}{quote}{self.shortcut}"
        raise ConfigError(f"--config.{self.name} is {shown(value)}: {fault}")
