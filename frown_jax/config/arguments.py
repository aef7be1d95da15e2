"""What users add to a config: words after the colon of `config.py:`, and a file of hyperparameters."""

from __future__ import annotations

import json
import pathlib
from collections.abc import Iterable

from ml_collections import ConfigDict

from frown_jax.config.fields import field_of
from frown_jax.errors import ConfigError


def read_hparams(config: ConfigDict, explicit: Iterable[str] = ()) -> None:
    """Sets the fields of the file `config.hparams`, except those that the command line sets itself.

    Args:
      config: changed in place.
      explicit: dotted fields of the command line.

    Raises:
      ConfigError: no such file, not one of a search, or a field that there is not.
    """
    if not config.hparams:
        return
    try:
        values = json.loads(pathlib.Path(config.hparams).read_text())
        items = {str(k): v for k, v in values.items()}
    except OSError as e:
        raise ConfigError(f"--config.hparams: no such file: {e.filename}") from None
    except (ValueError, AttributeError):
        raise ConfigError(f"--config.hparams={config.hparams}: not the {{field: value}} that a search leaves") from None
    own = set(explicit)
    for field, value in items.items():
        try:
            field_of(config, field)
            if field not in own:
                config.update_from_flattened_dict({field: value})
        except (AttributeError, KeyError, TypeError):
            raise ConfigError(f"--config.hparams={config.hparams}: {field}={value!r} is no setting") from None


def parse_arg(arg: str | None, flags: tuple[str, ...] = (), **options: str | int) -> tuple[set[str], dict]:
    """Splits what follows `config.py:` into words and key=value options.

    Args:
      arg: 'rafdb,seeds=8', say.
      flags: words that may occur.
      **options: keys that may occur, with their defaults (which decide the types).

    Returns:
      The words that occur, and every option's value.

    Raises:
      ConfigError: an unknown word or key, or a value of the wrong type; lists what is known.
    """
    words, values = set(), dict(options)
    for part in filter(None, (p.strip() for p in (arg or "").split(","))):
        key, equals, value = part.partition("=")
        if not equals and key in flags:
            words.add(key)
        elif equals and key in options:
            try:
                values[key] = type(options[key])(value)
            except ValueError:
                kind = "a whole number" if isinstance(options[key], int) else "text"
                raise ConfigError(f"config argument {part!r}: {key} takes {kind}") from None
        else:
            known = [*flags, *(f"{k}=..." for k in options)]
            raise ConfigError(f"config argument {part!r} is unknown; there are {', '.join(known)}")
    return words, values
