"""What the training of a program needs, worked out before anything lies on a device."""

from __future__ import annotations

import dataclasses
import functools
from typing import Any, cast

import jax
import numpy as np

from frown_jax.data.annotations import Annotations
from frown_jax.data.cohort import Cohort
from frown_jax.data.dataset import Dataset
from frown_jax.data.load import validation_name
from frown_jax.inputs import trunk
from frown_jax.member.state import no_sums
from frown_jax.member.values import Member, Terms, stack, terms_of
from frown_jax.runtime import memory, resident
from frown_jax.runtime.memory import Capacity
from frown_jax.runtime.packing import AXIS
from frown_jax.training import engine
from frown_jax.training.build import cohort_of, member_of, shape_of
from frown_jax.training.compile import make_engine
from frown_jax.training.engine import Engine
from frown_jax.training.grid import Program
from frown_jax.training.step import Shape

_CALLS_PER_EPOCH_ON_CPU = 6  # an epoch is one call on accelerators; on CPU the bar should move


@dataclasses.dataclass(frozen=True)
class Plan:
    """The values of a program's members, and the sizes of its arrays.

    Attributes:
      program: its runs and their config.
      training, validation: labels and attributes of the resident images of these splits.
      validation_split: the data's name of the validation split; 'train' if members draw their own from it.
      pixels: shape [N, H, W, 3] of the training images, and of the validation images.
      shape: what the members' data and mitigations decide.
      members: S stacked values.
    """

    program: Program
    training: Annotations
    validation: Annotations
    validation_split: str
    pixels: tuple[tuple[int, ...], tuple[int, ...]]
    shape: Shape
    members: Member

    @classmethod
    def of(cls, program: Program, data: Dataset) -> Plan:
        """The plan of a program on a data set.

        Raises:
          MitigationError: a mitigation does not fit the data.
          CohortError: there are not so many subjects as a run draws.
        """
        name = validation_name(program.config.data)
        train, held_out = data.split("train"), data.split(name)
        sets = Annotations.of(train), Annotations.of(held_out)
        shape = shape_of(program.specs, data.classes, data.attributes, data.multilabel)
        members = stack([member_of(s, sets[0], shape, sets[1]) for s in program.specs])
        return cls(program, *sets, name, (train.images.shape, held_out.images.shape), shape, members)

    @property
    def terms(self) -> Terms:
        """What the program computes because one of its members asks for it."""
        return terms_of(self.members)

    @property
    def features(self) -> int:
        """How many features of an image the members see; 0: they see pixels."""
        c = self.program.config
        return trunk.feature_count(c.model) if trunk.cached(c) else 0

    @property
    def whole_epochs(self) -> bool:
        """Whether an epoch is one call."""
        return jax.default_backend() != "cpu"

    @functools.cached_property
    def engine(self) -> Engine:
        """The compiled functions of the program, shared by programs of one shape.

        Raises:
          ConfigError: the devices cannot be shared out as config.devices_per_member says.
        """
        steps = engine.steps_per_epoch(self.members, self.program.config.batch_size)
        calls = 1 if self.whole_epochs else _CALLS_PER_EPOCH_ON_CPU
        return make_engine(
            self.program.config, self.shape, steps, -(-steps // calls), terms=self.terms, features=self.features
        )

    @property
    def images_per_epoch(self) -> np.ndarray:
        """Of each member, int [S]."""
        return np.asarray(self.members.sampling_size)

    def cohorts(self) -> list[Cohort] | None:
        """Whom each training draws; None if all take the data's own split."""
        found = [cohort_of(s, self.training) for s in self.program.specs]
        return None if None in found else cast("list[Cohort]", found)

    def split_of(self, split: str) -> str:
        """The data's split that holds what members call so: 'train', 'val' or 'test'."""
        if self.program.config.cohort.by:
            return "train"
        return self.validation_split if split == "val" else split

    def capacity(self) -> Capacity:
        """How many members the devices hold, at most those of the program; compiles the training program.

        Raises:
          MemoryTooSmallError: not even one fits.
        """
        e, packing = self.engine, self.engine.packing
        one = jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), self.members)
        train, held_out = self._resident()

        def compile_for(count: int) -> jax.stages.Compiled:
            def stacked(tree: Any) -> Any:
                place = packing.sharding(AXIS)
                return jax.tree.map(lambda a: jax.ShapeDtypeStruct((count, *a.shape), a.dtype, sharding=place), tree)

            members = stacked(one)
            state = jax.eval_shape(e.init, members, None)
            state = stacked(jax.tree.map(lambda a: jax.ShapeDtypeStruct(a.shape[1:], a.dtype), state))
            sums = jax.eval_shape(lambda: no_sums(count))
            sums = stacked(jax.tree.map(lambda a: jax.ShapeDtypeStruct((), a.dtype), sums))
            if self.whole_epochs:
                return e.epoch.lower(state, sums, members, train, held_out, 0).compile()
            return e.train.lower(state, sums, members, *train, 0, 0, e.steps_per_call).compile()

        places = [train, held_out] if held_out[0] is not train[0] else [train, held_out[1:]]
        shared = sum(_bytes_of_a_device(a) for a in jax.tree.leaves(places))
        return memory.find(compile_for, len(self.program.specs), shared, packing.count, memory.usable_bytes())

    def _resident(self) -> tuple[tuple, tuple]:
        """(images, labels) of training and of validation, as they will lie on the devices."""
        packing, found = self.engine.packing, []
        for pixels, data in zip(self.pixels, (self.training, self.validation), strict=True):
            shape, dtype = ((len(data), self.features), np.float32) if self.features else (pixels, np.uint8)
            whole = jax.ShapeDtypeStruct(data.labels.shape, data.labels.dtype, sharding=packing.sharding())
            found.append((resident.abstract(shape, np.dtype(dtype), packing), whole))
        train, held_out = found
        return train, (train[0], held_out[1]) if self.validation_split == "train" else held_out


def _bytes_of_a_device(a: jax.ShapeDtypeStruct) -> int:
    """Of an array's part on one device."""
    assert a.sharding is not None
    return int(np.prod(a.sharding.shard_shape(a.shape))) * a.dtype.itemsize
