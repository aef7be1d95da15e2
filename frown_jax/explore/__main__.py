"""What a data set holds: counts, conditional distributions, subgroups, association, pixels, samples.

  python -m frown_jax.explore --data=faces
  python -m frown_jax.explore --data=rafdb:DIR
  python -m frown_jax.explore --config=configs/au_gender.py
  python -m frown_jax.explore --config=configs/baseline.py:manifest --config.data.dir=DIR --out=exploration

Leaves a folder: every figure as PNG and SVG, the CSV behind each, and index.html, one page that shows them offline.
"""

from __future__ import annotations

import pathlib

from absl import flags, logging
from ml_collections import ConfigDict

from frown_jax import config as configs
from frown_jax.config import DATA
from frown_jax.data.load import load
from frown_jax.explore.run import explore
from frown_jax.report.folder import Folder
from frown_jax.runtime import command, config_flag
from frown_jax.training import check

_CONFIG = config_flag.define()
_DATA = flags.DEFINE_string("data", "", "In place of a config: faces, rafdb:DIR, ckplus:DIR, manifest:DIR, ...")
_OUT = flags.DEFINE_string("out", "", "Folder of the results; by default explorations/DATA-FINGERPRINT.")
_SAMPLES = flags.DEFINE_integer("samples", 40, "Images shown.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Of the samples and the resamples.")
_RESAMPLES = flags.DEFINE_integer("resamples", 500, "Of the intervals of Cramer's V.", lower_bound=2)


def _config() -> ConfigDict:
    if bool(_DATA.value) == (_CONFIG.value is not None):
        command.fail("give either --data=NAME[:DIR] or --config=FILE (--help tells more)")
    if _CONFIG.value is not None:
        check.validate(_CONFIG.value)
        return _CONFIG.value
    c = configs.default()
    c.data.name, _, c.data.dir = _DATA.value.partition(":")
    if c.data.name not in DATA:
        command.fail(f"--data={_DATA.value}: it begins with one of {', '.join(DATA)}, then ':' and the folder")
    if c.data.name in ("face_sequences", "actor_study", "combined"):
        c.data.target, c.data.min_occurrences = "aus", 0
    return c


def _main(_: list[str]) -> None:
    config = _config()
    data = load(config.data, config.model.image_size)
    path = pathlib.Path(_OUT.value) if _OUT.value else pathlib.Path("explorations") / f"{data.name}-{data.fingerprint}"
    page = explore(data, Folder(path, f"What {data.name} holds"), _SAMPLES.value, _RESAMPLES.value, _SEED.value)
    logging.info("%s and the tables behind it are written", page)


def main() -> None:
    """Entry point."""
    command.run(_main, __doc__ or "")


if __name__ == "__main__":
    main()
