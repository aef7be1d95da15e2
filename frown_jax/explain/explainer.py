"""Explains images with many networks at once: maps, and what is measured of them, in one compiled program."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct

from frown_jax.explain import localisation
from frown_jax.explain.attribution import Method, attribute
from frown_jax.explain.localisation import Localisation
from frown_jax.explain.networks import Networks
from frown_jax.explain.regions import aligned
from frown_jax.member import augment
from frown_jax.member.objective import Reader
from frown_jax.runtime.packing import gather

Tree = Any

_BUDGET = 1 << 30  # bytes of relevance on its way at once
_LARGEST_BATCH = 64
ALIGNED_SIDE = 32  # pixels of mean maps


class Found(struct.PyTreeNode):
    """Of M members, K classes and B images."""

    logits: Any  # [M, B, K]
    local: Localisation  # [M, K, B, ...]
    aligned: Any  # [M, K, B, side, side], shares of positive relevance in the aligned frame; [0] if not wanted
    maps: Any  # [M, K, B, H, W]; [0] if not wanted


class Explainer:
    """Maps and measures of the members of one architecture.

    A frozen trunk runs once for all members. Where they share nothing, members run together on accelerators and one
    after another on CPU, where one fills the cores.
    """

    def __init__(
        self,
        networks: Networks,
        method: Method,
        members: int = 0,
        images: int = _LARGEST_BATCH,
        keep_maps: bool = False,
        align: bool = False,
    ):
        """`members` and `images` of a call, at most; 0 members: all."""
        self.networks, self._method = networks, method
        self._keep, self._align = keep_maps, align
        width, classes, size = networks.model.width, networks.classes, networks.image_size
        fit = max(1, _BUDGET // (3 * 4 * width * size * size))  # maps
        together = bool(networks.shared) or jax.default_backend() != "cpu"
        self._members = max(1, min(members or len(networks.specs), fit // classes)) if together else 1
        self.batch_size = int(np.clip(fit // (classes * self._members), 1, min(images, _LARGEST_BATCH)))
        self._run = jax.jit(self._many if self._members > 1 else self._single)

    def _one(self, shared: Tree, own: Tree, reader: Reader, images: Any, regions: Any, groups: Any, turned: Any):
        n = self.networks
        x = augment.plain(images, n.image_size)
        variables = {"params": {**shared.get("params", {}), **own["params"]}}
        with jax.default_matmul_precision("highest"):  # TF32 leaves too little of small denominators
            outputs, maps = attribute(self._method, n.model, variables, x, n.starts(groups, reader))
        local = localisation.localise(maps, localisation.brought_to(regions, n.image_size))
        shares = jnp.zeros(0)
        if self._align:
            shown = jnp.maximum(maps, 0) / jnp.maximum(local.positive, 1e-30)[..., None, None]
            shares = aligned(shown, turned, ALIGNED_SIDE)
        return Found(n.logits(outputs, groups, reader), local, shares, maps if self._keep else jnp.zeros(0))

    def _single(self, shared: Tree, own: Tree, reader: Reader, *rest: Any) -> Found:
        own, reader = jax.tree.map(lambda a: a[0], (own, reader))
        return jax.tree.map(lambda a: a[None], self._one(shared, own, reader, *rest))

    def _many(self, shared: Tree, own: Tree, reader: Reader, *rest: Any) -> Found:
        return jax.vmap(lambda o, r: self._one(shared, o, r, *rest))(own, reader)

    def __call__(
        self, members: Sequence[int], images: np.ndarray, regions: np.ndarray, groups: np.ndarray, turned: np.ndarray
    ) -> Found:
        """Explains a batch of images with some of the members.

        Args:
          members: positions among the networks' specs.
          images: uint8 [B, H, W, 3], at most `batch_size`.
          regions: bool [B, R, S, S], the classes' first.
          groups: int [B], of networks with heads of groups; -1 not known.
          turned: [B, 2, 3], see regions.alignment.

        Returns:
          Numpy arrays.
        """
        count, n = len(images), self.networks
        rows = np.minimum(np.arange(self.batch_size), count - 1)
        data = [jnp.asarray(a[rows]) for a in (images, regions, groups, turned)]
        parts = []
        for first in range(0, len(members), self._members):
            chosen = list(members[first : first + self._members])
            padded = chosen + chosen[:1] * (self._members - len(chosen))
            own, readers = gather((n.own, n.readers), jnp.asarray(padded))
            found = self._run(n.shared, own, readers, *data)
            parts.append(jax.tree.map(functools.partial(_first, axis=0, count=len(chosen)), found))
        whole = jax.tree.map(lambda *a: np.concatenate(a), *parts)
        return jax.tree.map(lambda axis, a: _first(a, axis=axis, count=count), _IMAGES, whole)


# The axis of images in each field of Found.
_IMAGES = Found(1, Localisation(2, 2, 1, 2, 2, 2, 2), 2, 2)


def _first(a: Any, axis: int, count: int) -> np.ndarray:
    """The first along an axis; what was not wanted has no such axis."""
    a = np.asarray(a)
    return a if a.ndim <= axis else np.take(a, np.arange(count), axis)
