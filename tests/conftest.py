import os
import pathlib

import jax
import numpy as np
import pandas as pd
import pytest

from frown_jax import schema
from frown_jax.data.dataset import Dataset, attribute_vocabularies
from frown_jax.models.build import network
from frown_jax.runtime import cache
from tests.commands import CACHE, QUICK

# Compiled programs are kept between modules, workers, commands that tests start, and test runs.
cache.keep_compiled_programs(CACHE)
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)  # there are hundreds of small ones a file

# Trainings of minutes that share nothing: each goes to whichever worker is free, the longest first.
APART = ("test_planted_bias", "test_au_study", "test_knobs", "test_faults")


def pytest_configure(config):
    """The default command spends its time on compiling networks that run for moments: it asks for less of LLVM.

    What is slow is compiled as users' programs are.
    """
    flags = os.environ.get("XLA_FLAGS", "")
    if "not slow" in config.option.markexpr and QUICK not in flags:  # workers inherit it
        os.environ["XLA_FLAGS"] = f"{flags} {QUICK}"


def pytest_collection_modifyitems(items):
    items.sort(key=lambda item: APART.index(item.path.stem) if item.path.stem in APART else len(APART))


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    """A file's tests stay with one worker, which has their fixtures and programs; but those that are APART."""
    if config.getvalue("dist") != "loadfile":
        return None
    from xdist.scheduler import LoadFileScheduling

    class Scheduling(LoadFileScheduling):
        def _split_scope(self, nodeid):
            file = super()._split_scope(nodeid)
            return nodeid if pathlib.PurePath(file).stem in APART else file

    return Scheduling(config, log)


@pytest.fixture(scope="module", autouse=True)
def _forget_programs():
    """Compiled programs of a module go with it: on CPU each holds hundreds of the 65,530 mappings of a process."""
    yield
    jax.clear_caches()


@pytest.fixture(scope="session")
def rng() -> np.random.Generator:
    return np.random.default_rng(0)


def toy() -> Dataset:
    """96 images of 32 px whose label is visible as brightness, with attributes."""
    rng = np.random.default_rng(0)
    label = np.arange(96) % 7
    images = np.clip(30 * label[:, None, None, None] + rng.integers(0, 40, (96, 32, 32, 3)), 0, 255).astype(np.uint8)
    table = pd.DataFrame(
        {
            "id": [f"i{i}" for i in range(96)],
            "split": ["train"] * 64 + ["val"] * 16 + ["test"] * 16,
            "emotion": np.array(schema.EMOTIONS)[label],
            **{a: np.array(v)[rng.integers(0, len(v), 96)] for a, v in schema.ATTRIBUTES.items()},
        }
    )
    return Dataset("toy", table, images, schema.EMOTIONS, attribute_vocabularies(table), "0")


def any_weights(config, seed):
    """Weights that a network of 32 pixels may begin with: random ones, the last layer left out."""
    net = network(config.model, 1)
    variables = net.init(jax.random.key(seed), jax.numpy.zeros((1, 32, 32, 3)), train=False)
    return {k: {n: p for n, p in tree.items() if n != net.last_layer} for k, tree in variables.items()}


@pytest.fixture
def toy_data() -> Dataset:
    return toy()
