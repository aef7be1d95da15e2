"""Fuzzes one target in this process: python -m tests.fuzz.one TARGET CORPUS [libFuzzer's options]."""

import contextlib
import pathlib
import sys
import tempfile
import warnings

import atheris

with atheris.instrument_imports(
    include=["frown_jax.data", "frown_jax.models", "frown_jax.config", "frown_jax.runtime"]
):
    from tests.fuzz import targets


def main():
    name, corpus, *options = sys.argv[1:]
    target = targets.TARGETS[name]
    warnings.simplefilter("ignore")
    with tempfile.TemporaryDirectory(dir="/dev/shm" if pathlib.Path("/dev/shm").is_dir() else None) as folder:
        place = pathlib.Path(folder)
        target.prepare(place)

        def once(data):
            with contextlib.suppress(targets.OWN_ERRORS):
                target.read(data, place)

        atheris.Setup([sys.argv[0], corpus, *options], once)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
