import pathlib

import jax
import numpy as np
import pandas as pd
import pytest

from frown_jax import schema
from frown_jax.data.dataset import Dataset, attribute_vocabularies
from frown_jax.models.build import network

# Compiled programs are reused between test runs.
jax.config.update("jax_compilation_cache_dir", str(pathlib.Path.home() / ".cache" / "frown_jax" / "xla"))
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.5)


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
