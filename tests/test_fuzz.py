"""A short fuzzing of every reader; `python -m tests.fuzz` is the long one."""

import pytest

from tests.fuzz.run import fuzz
from tests.fuzz.targets import OWN_ERRORS, TARGETS


@pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # ml_collections
@pytest.mark.parametrize("name", TARGETS)
def test_what_fuzzing_begins_with_is_read_or_told(name, tmp_path):
    target = TARGETS[name]
    target.prepare(tmp_path)
    read = 0
    for case in target.seeds:
        try:
            target.read(case, tmp_path)
            read += 1
        except OWN_ERRORS:
            pass
    assert read  # what is read can be fuzzed deeply


@pytest.mark.slow
@pytest.mark.parametrize("name", TARGETS)
def test_nothing_but_own_errors_is_found(name, tmp_path):
    pytest.importorskip("atheris")
    cases, found = fuzz(name, seconds=12, memory=2500, out=tmp_path, seed=1)
    assert not found, found
    assert cases > 50
