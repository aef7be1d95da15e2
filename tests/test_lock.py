"""The lock file goes with the requirements."""

import pathlib
import re

from packaging.requirements import Requirement

ROOT = pathlib.Path(__file__).parent.parent


def test_every_requirement_is_locked_to_a_version_that_it_allows_with_hashes():
    text = (ROOT / "requirements.lock").read_text().replace("\\\n", " ")
    locked = {}
    for line in text.splitlines():
        match = re.match(r"([A-Za-z0-9._-]+)(?:\[[^]]*\])?==(\S+)", line)
        if match:
            assert re.search(r"--hash=sha256:[0-9a-f]{64}", line), line[:80]
            locked[match[1].lower().replace("_", "-")] = match[2]
    wanted = [line.partition("#")[0].strip() for line in (ROOT / "requirements.txt").read_text().splitlines()]
    for requirement in map(Requirement, filter(None, wanted)):
        version = locked.get(requirement.name.lower().replace("_", "-"))
        assert version and requirement.specifier.contains(version), (str(requirement), version)
