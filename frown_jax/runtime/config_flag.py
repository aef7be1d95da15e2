"""The flag --config: a config file by its path, or one of the package's own by its name."""

from __future__ import annotations

import importlib.util
import pathlib
import sys
from types import ModuleType
from typing import Any

from absl import flags
from ml_collections import config_flags

from frown_jax.errors import ConfigFileError

SHIPPED = pathlib.Path(__file__).parent.parent / "configs"


def names() -> list[str]:
    """The names of the configs that the package ships, sorted."""
    return sorted(path.stem for path in SHIPPED.glob("*.py") if path.stem != "__init__")


def path_of(value: str) -> pathlib.Path:
    """The file that a value of --config means; what follows its colon does not matter here.

    `mine.py` and `configs/baseline.py` are paths. `baseline` and `baseline:rafdb` are configs of the package, unless
    there is a file of that name.

    Raises:
      ConfigFileError: there is no such file, or no such config in the package.
    """
    name = value.partition(":")[0]
    path = pathlib.Path(name)
    if path.is_file():
        return path
    if "/" in name or path.suffix:
        raise ConfigFileError(f"--config: no such file: {name}")
    if name not in names():
        raise ConfigFileError(f"--config: there is no config {name!r}; the package has {', '.join(names())}")
    return SHIPPED / f"{name}.py"


def module_of(value: str) -> ModuleType:
    """The module of the file that a value of --config means, run anew.

    Raises:
      ConfigFileError: as `path_of`.
    """
    spec = importlib.util.spec_from_file_location("_frown_jax_config", path_of(value))
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


class _Parser(flags.ArgumentParser):
    """Puts the file in place of a name; the rest is ml_collections' own parser."""

    def __init__(self, inner: flags.ArgumentParser):
        self.inner = inner

    def parse(self, argument: str) -> Any:
        if "" not in sys.path:
            sys.path.insert(0, "")  # config files may import from the folder that the command is run in
        _, colon, arg = argument.partition(":")
        return self.inner.parse(f"{path_of(argument)}{colon}{arg}")

    def flag_type(self) -> str:
        return self.inner.flag_type()


def define(values: flags.FlagValues = flags.FLAGS) -> flags.FlagHolder:
    """Defines --config, whose fields are flags too (--config.FIELD=VALUE). Its value is None where it is not given."""
    holder = config_flags.DEFINE_config_file(
        "config", None, "A config file, or the name of one that the package has; an argument follows a colon.", values
    )
    values["config"].parser = _Parser(values["config"].parser)
    return holder
