"""What a test needs of the machine: skipped where it is lacking, except in CI."""

import os

import pytest


def need(there, what):
    if not there:
        assert not os.environ.get("CI"), f"{what} is lacking"
        pytest.skip(f"{what} is lacking")
