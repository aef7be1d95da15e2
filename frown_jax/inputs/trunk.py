"""Features of a frozen network: computed once for every image, kept on disk, and shared by all members.

Training only the dense layers (as "Uncovering the Bias in Facial Expressions" does) then never runs a convolution
twice on the same image: the heads of all members train as batched matrix products.
"""

from __future__ import annotations

import hashlib
import json
import math
import os
import pathlib
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import traverse_util
from ml_collections import ConfigDict

from frown_jax.member import augment
from frown_jax.models.build import network
from frown_jax.runtime import atomic, lease
from frown_jax.runtime.progress import Progress

Tree = Any
_BATCH = 64
_SAVED_EVERY = 32  # batches
_IN_MEMORY = 0.25  # of the machine's memory; larger files stay on disk


def cached(config: ConfigDict) -> bool:
    """Whether a config's members train on cached features."""
    model = config.model
    if model.trainable != "head" or model.features == "computed":
        return False
    return model.features == "cached" or not any(config.augment.values())


def feature_count(model: ConfigDict) -> int:
    """F, features of an image, of a model section."""
    trunk, size = network(model, 1, "trunk"), model.image_size
    images = jnp.zeros((1, size, size, 3))
    shape = jax.eval_shape(lambda k: trunk.init_with_output(k, images, train=False)[0][0], jax.random.key(0))
    return int(shape.shape[1])


def split(variables: Tree, model: ConfigDict) -> tuple[Tree, Tree]:
    """Variables of a whole network as those of its trunk and of its head."""
    trunk = network(model, 1, "trunk")
    size = model.image_size
    shapes = jax.eval_shape(lambda k: trunk.init(k, jnp.zeros((1, size, size, 3)), train=False), jax.random.key(0))
    own = set(traverse_util.flatten_dict(dict(shapes)))
    flat = traverse_util.flatten_dict(variables)
    parts = ({k: v for k, v in flat.items() if (k in own) == inside} for inside in (True, False))
    first, second = (traverse_util.unflatten_dict(p) for p in parts)
    return first, second


class Trunk:
    """A frozen network from images to features.

    Attributes:
      fingerprint: of its weights, and of all that it does to an image.
      count: F, features of an image.
    """

    def __init__(self, model: ConfigDict, variables: Tree, cache_dir: pathlib.Path):
        """`variables` {'params', 'batch_stats'} of the trunk; `cache_dir` keeps features."""
        self._size, self._cache = model.image_size, cache_dir / "features"
        self.variables = jax.tree.map(np.asarray, variables)
        module = network(model, 1, "trunk")

        def features(variables: Tree, images: jax.Array) -> jax.Array:
            return module.apply(variables, augment.plain(images, self._size), train=False)[0]

        self._apply = jax.jit(features)
        self.count = feature_count(model)
        hashed = hashlib.sha256(str((module, self._size, augment.IMAGENET_MEAN, augment.IMAGENET_SD)).encode())
        for path, value in sorted(traverse_util.flatten_dict(self.variables).items()):
            hashed.update(str(path).encode())
            hashed.update(np.ascontiguousarray(value).tobytes())
        self.fingerprint = hashed.hexdigest()[:12]

    def __call__(self, images: np.ndarray, keep: bool = True) -> np.ndarray:
        """Features, float32 [N, F]; a memory-mapped file if they are many.

        Args:
          images: uint8 [N, H, W, 3].
          keep: in the cache, so that the next run has them at once; an interrupted computation goes on.
        """
        if not keep:
            return self._compute(images, np.zeros((len(images), self.count), np.float32))
        self._cache.mkdir(parents=True, exist_ok=True)
        pixels = hashlib.sha256(f"{images.shape}".encode())
        pixels.update(np.ascontiguousarray(images).data)
        path = self._cache / f"{self.fingerprint}-{pixels.hexdigest()[:12]}.npy"
        with lease.hold(path.with_suffix(".lease"), patience=math.inf):  # another run may be at them
            if not path.exists():
                self._compute_into(path, images)
        large = path.stat().st_size > _IN_MEMORY * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
        return np.load(path, mmap_mode="r" if large else None)

    def _compute_into(self, path: pathlib.Path, images: np.ndarray) -> None:
        partial, state = path.with_suffix(".partial.npy"), path.with_suffix(".json")
        done = _rows_done(partial, state)
        shape, mode = (len(images), self.count), "r+" if done else "w+"
        out = np.lib.format.open_memmap(partial, mode, np.float32, shape)
        self._compute(images, out, done, state)
        out.flush()
        partial.replace(path)
        state.unlink(missing_ok=True)

    def _compute(
        self, images: np.ndarray, out: np.ndarray, done: int = 0, state: pathlib.Path | None = None
    ) -> np.ndarray:
        variables = jax.tree.map(jnp.asarray, self.variables)
        size = min(_BATCH, len(images))
        with Progress(len(images), "features of the frozen network", "images", done) as progress:
            for number, first in enumerate(range(done, len(images), size), 1):
                part = images[first : first + size]
                padded = np.concatenate([part, np.repeat(part[:1], size - len(part), axis=0)])
                out[first : first + len(part)] = np.asarray(self._apply(variables, padded))[: len(part)]
                progress.advance(len(part))
                if state is not None and number % _SAVED_EVERY == 0:
                    assert isinstance(out, np.memmap)
                    out.flush()
                    state.write_text(json.dumps({"rows": first + len(part)}))
        return out

    def save(self, path: pathlib.Path) -> None:
        """Writes the variables to an .npz file."""
        flat = {"/".join(k): v for k, v in traverse_util.flatten_dict(self.variables).items()}
        atomic.save_arrays(path, **flat)

    @classmethod
    def read(cls, path: pathlib.Path, model: ConfigDict, cache_dir: pathlib.Path) -> Trunk:
        """What `save` wrote.

        Raises:
          OSError: there is no such file.
        """
        with np.load(path) as file:
            flat = {tuple(k.split("/")): file[k] for k in file.files}
        return cls(model, traverse_util.unflatten_dict(flat), cache_dir)


def _rows_done(partial: pathlib.Path, state: pathlib.Path) -> int:
    """Rows of an interrupted computation that are on disk."""
    try:
        done = int(json.loads(state.read_text())["rows"])
    except (OSError, ValueError, KeyError):
        return 0
    return done if partial.exists() else 0
