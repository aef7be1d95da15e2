"""Writes docs/settings.md, the reference of every setting, from the table that checks them.

python -m frown_jax.config.reference --out=docs/settings.md
"""

from __future__ import annotations

import pathlib

from absl import app, flags

from frown_jax.config.fields import SECTIONS, SETTINGS
from frown_jax.config.setting import Setting

_OUT = flags.DEFINE_string("out", "docs/settings.md", "The file that is written.")

_HEAD = """# Settings

Every setting is a field of the config, and a flag: `--config.optimiser.learning_rate=1e-3`. A config file sets the same
fields in Python: `c.optimiser.learning_rate = 1e-3`. A value that is not allowed is refused in one line, before any
work. The defaults below are the package's; a config file changes some, and `--print_config` shows what a command has.

`python -m frown_jax.config.reference` writes this page from the table that the checks use.
"""


def _cell(text: str) -> str:
    return text.replace("|", "\\|")


def _code(text: str) -> str:
    return f"`{_cell(text)}`"


def _row(setting: Setting) -> str:
    allowed = _cell(setting.check.allowed)
    if setting.example:
        allowed += f", for example {_code(setting.example)}"
    return f"| `{setting.name}` | {_code(repr(setting.default))} | {allowed} | {_cell(setting.help)} |"


def page() -> str:
    """The page in Markdown: one table a section, one row a setting."""
    parts = [_HEAD]
    for section, purpose in SECTIONS.items():
        rows = [_row(s) for name, s in SETTINGS.items() if name.rpartition(".")[0] == section]
        title = f"## {section}" if section else "## The run"
        table = ["| setting | default | allowed | what it does |", "|---|---|---|---|", *rows]
        parts.append("\n".join([title, "", purpose, "", *table, ""]))
    return "\n".join(parts)


def _main(_: list[str]) -> None:
    pathlib.Path(_OUT.value).write_text(page())


if __name__ == "__main__":
    app.run(_main)
