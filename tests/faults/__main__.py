"""A campaign of kills: whenever training dies, the same command ends with the same bytes.

python -m tests.faults --kills=50 --seed=0
"""

import pathlib
import sys
import tempfile

from absl import app, flags, logging

from tests.faults import campaign

_KILLS = flags.DEFINE_integer("kills", 50, "How many.", lower_bound=1)
_SEED = flags.DEFINE_integer("seed", 0, "Of the moments.")


def main(_):
    logging.set_verbosity(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        whole = pathlib.Path(folder) / "whole"
        campaign.undisturbed(whole)
        sys.exit(bool(campaign.run(pathlib.Path(folder), _KILLS.value, _SEED.value, whole)))


if __name__ == "__main__":
    app.run(main)
