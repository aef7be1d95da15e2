"""What all commands share: one clear line for bad input."""

from __future__ import annotations

import errno
import re
import sys
from collections.abc import Callable
from typing import NoReturn

from absl import app, flags, logging

from frown_jax import config, errors
from frown_jax.errors import UserError
from frown_jax.runtime import logs
from frown_jax.runtime.preemption import EXIT_PREEMPTED, PreemptedError

EXIT_USAGE = 2


def fail(message: object) -> NoReturn:
    """Prints an error that the user can correct, and exits."""
    print(f"error: {message}", file=sys.stderr)
    sys.exit(EXIT_USAGE)


def _without_traceback(message: str) -> str:
    """The error that a config file raised, out of the traceback that ml_collections wraps it in."""
    if "Traceback" not in message:
        return f"{message} (--help lists the flags)"
    kind, _, text = message.strip().splitlines()[-1].partition(": ")
    if kind.rpartition(".")[2] in vars(errors):
        return text
    if kind == "FileNotFoundError":
        return f"--config: no such file ({text})"
    return f"--config: the config file failed with {kind}: {text}\n\n{message}"


def _check_bare_numbers(argv: list[str]) -> None:
    """Refuses a number where a setting is a tuple: --config.seeds=4 would become the one seed 4, and not four seeds.

    Raises:
      ConfigError: names the setting and how to write it.
    """
    for flag, following in zip(argv, [*argv[1:], ""], strict=True):
        found = re.fullmatch(r"--?config\.([\w.]+)(=.*)?", flag, re.DOTALL)
        setting = config.SETTINGS.get(found[1]) if found else None
        if found is None or setting is None or not isinstance(setting.default, tuple):
            continue
        text = found[2].removeprefix("=") if found[2] else following
        try:
            value = int(text) if text.isdecimal() else float(text)
        except ValueError:
            continue
        setting.validate(value)


def _check_type(message: str) -> None:
    """Fails in the words of the setting, if the error is that a setting's flag was given text of another type."""
    found = re.match(r"flag --config\.([\w.]+)=(.*?): ", message, re.DOTALL)
    if found and found[1] in config.SETTINGS:
        try:
            config.SETTINGS[found[1]].validate(found[2])
        except UserError as e:
            fail(e)


def parse(argv: list[str], values: flags.FlagValues = flags.FLAGS) -> list[str]:
    """Flag parsing whose failures are one line: a typo in --config.x, a config argument that does not exist."""
    try:
        _check_bare_numbers(argv)
        return values(argv)
    except flags.Error as e:
        _check_type(str(e))
        fail(_without_traceback(str(e)))
    except (AttributeError, KeyError) as e:
        guess = re.search(r'Did you mean "(\S+)" instead of "(\S+)"', str(e))  # ml_collections' own, wrapped in repr
        if guess:
            fail(f"--config has no field {guess[2]!r}; did you mean {guess[1]!r}?")
        fail(f"--config has no field {str(e).strip(chr(34))}; --print_config shows them all")
    except UserError as e:
        fail(e)
    except OSError as e:  # ml_collections reports a missing file late, and in many lines
        fail(f"--config: no such file: {e.filename or str(e).strip().splitlines()[-1].strip()}")
    except (TypeError, ValueError) as e:
        fail(f"--config: {e}")


def run(main: Callable[[list[str]], None], usage: str, takes_files: bool = False) -> None:
    """Runs a command: parses flags, then `main`, turning user errors into one line and exit code 2.

    Args:
      main: the command; gets what is left of the arguments.
      usage: shown by --help, above the flags.
      takes_files: whether there may be arguments that are no flags.
    """
    sys.modules["__main__"].__doc__ = usage
    for module, defined in flags.FLAGS.flags_by_module_dict().items():
        if module.startswith("frown_jax."):  # so that --help shows them
            for flag in defined:
                flags.FLAGS.register_key_flag_for_module(sys.argv[0], flag)

    def guarded(argv: list[str]) -> None:
        if len(argv) > 1 and not takes_files:
            fail(f"unexpected argument {argv[1]!r} (--help lists the flags)")
        logs.begin()
        try:
            main(argv[1:])
        except UserError as e:
            fail(e)
        except OSError as e:
            if e.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            fail(f"{e.strerror}: {e.filename or 'the disk'}; free some, and the same command goes on from what is kept")
        except PreemptedError as e:
            logging.warning("%s", e)
            sys.exit(EXIT_PREEMPTED)

    app.run(guarded, flags_parser=parse)
