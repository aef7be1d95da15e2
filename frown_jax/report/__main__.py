"""One self-contained page of finished runs, with the tables and figures behind it; nothing is trained again.

  python -m frown_jax.report runs/mitigation_grid-faces-0a1b2c3d --out=report
  python -m frown_jax.report runs/a runs/b --out=report

Leaves index.html, which opens offline: charts whose attribute, method and metric a reader chooses, tables that sort.
Beside it lie every table as CSV (the headline also as LaTeX) and every chart as PNG and SVG.
"""

from __future__ import annotations

import pathlib

from absl import flags, logging

from frown_jax.report.build import build
from frown_jax.report.stored import read, refuse_mixture
from frown_jax.runtime import command

_OUT = flags.DEFINE_string("out", "", "Folder of the report; by default `report` in the first run's directory.")
_MIXED = flags.DEFINE_bool("mixed_data", False, "Take runs on different data into one report.")
_STILLS = flags.DEFINE_bool("stills", True, "Write every chart as PNG and SVG too; without, the page alone shows them.")


def _main(arguments: list[str]) -> None:
    if not arguments:
        command.fail("give at least one run directory (--help tells more)")
    runs = [read(pathlib.Path(a)) for a in arguments]
    if not _MIXED.value:
        refuse_mixture(runs)
    out = pathlib.Path(_OUT.value) if _OUT.value else pathlib.Path(arguments[0]) / "report"
    page = build(runs, out, _STILLS.value)
    logging.info("%s and the tables behind it are written", page)


def main() -> None:
    """Entry point."""
    command.run(_main, __doc__ or "", takes_files=True)


if __name__ == "__main__":
    main()
