"""How one member's function becomes everybody's: batched, one after another, and over devices.

`vmap` batches all members into every operation: what accelerators want. `map` runs them one after another inside one
program: on CPU an operation of one member already fills the cores, its arrays stay in cache, and a member that has
stopped is skipped. Either way the members are cut over the devices, each running its own share with no communication.
A member that is large for one device is itself spread over several, which share each batch.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

PACKINGS = ("auto", "vmap", "map")
AXIS, BATCH = "members", "batch"

Tree = Any


def resolve(packing: str, per_member: int = 1) -> str:
    """'auto' is 'map' on CPU and where a member takes several devices, and 'vmap' elsewhere.

    Raises:
      ValueError: unknown packing.
    """
    if packing not in PACKINGS:
        raise ValueError(f"packing {packing!r} is not one of {', '.join(PACKINGS)}")
    if packing == "auto":
        return "map" if jax.default_backend() == "cpu" or per_member > 1 else "vmap"
    return packing


class Packing:
    """Turns functions of one member into functions of many.

    Attributes:
      how: 'vmap' or 'map'.
      devices: of all processes, over which members are cut.
      per_member: how many of them share the batches of a member.
    """

    def __init__(self, how: str = "auto", devices: Sequence[jax.Device] | None = None, per_member: int = 1):
        self.how = resolve(how, per_member)
        self.devices = tuple(devices if devices is not None else jax.devices())
        self.per_member = per_member
        axes = (AXIS, BATCH) if per_member > 1 else (AXIS,)
        grid = np.array(self.devices).reshape(-1, *[per_member] * (len(axes) - 1))
        self._mesh = Mesh(grid, axes, axis_types=(jax.sharding.AxisType.Auto,) * len(axes))

    @property
    def count(self) -> int:
        """Shares that members are cut into; their number must be a multiple of it."""
        return len(self.devices) // self.per_member

    def __call__(self, fn: Callable, in_axes: Sequence[int | None], how: str | None = None) -> Callable:
        """`fn` over the leading axis of the arguments whose axis is 0; all results get that axis."""
        packed = jax.vmap(fn, in_axes=tuple(in_axes)) if (how or self.how) == "vmap" else _mapped(fn, in_axes)
        if len(self.devices) == 1:
            return packed
        cut, whole = PartitionSpec(AXIS), PartitionSpec()
        specs = tuple(cut if axis == 0 else whole for axis in in_axes)
        return jax.shard_map(packed, mesh=self._mesh, in_specs=specs, out_specs=cut, axis_names={AXIS}, check_vma=False)

    def share_batch(self, batch: jax.Array) -> jax.Array:
        """A member's batch [B, ...] over the devices that it takes; traced."""
        return batch if self.per_member == 1 else jax.lax.with_sharding_constraint(batch, PartitionSpec(BATCH))

    def cut(self, tree: Tree) -> Tree:
        """Puts stacked arrays on the devices, members cut over them."""
        return _put(tree, self.sharding(AXIS))

    def everywhere(self, tree: Tree) -> Tree:
        """Puts arrays on every device whole: data, say."""
        return _put(tree, self.sharding())

    def spread(self, tree: Tree) -> Tree:
        """Puts arrays on the devices, their rows cut over those that share a member."""
        return _put(tree, self.sharding(BATCH))

    def sharding(self, *axes: str) -> jax.sharding.Sharding:
        if len(self.devices) == 1:
            return jax.sharding.SingleDeviceSharding(self.devices[0])
        return NamedSharding(self._mesh, PartitionSpec(*axes))

    def up(self, members: int) -> int:
        """The next multiple of the number of devices."""
        return -(-members // self.count) * self.count

    def sizes(self, members: int) -> tuple[int, ...]:
        """Sizes of the programs that `members` may run in as its members stop, largest first.

        Halves, so that at most log2(members) programs are compiled and at most half of one is idle. Under `map`
        there is one: the program skips members that have stopped.
        """
        found = [self.up(members)]
        while self.how == "vmap" and found[-1] > self.count:
            found.append(self.up(-(-found[-1] // 2)))
        return tuple(found)


def _put(tree: Tree, sharding: jax.sharding.Sharding) -> Tree:
    if sharding.is_fully_addressable:
        return jax.device_put(tree, sharding)
    again = jax.jit(lambda a: a, out_shardings=sharding)

    def one(array: jax.Array | np.ndarray) -> jax.Array:  # the same in every process, or over all of them already
        if isinstance(array, jax.Array) and not array.is_fully_addressable:
            return again(array)
        whole = np.asarray(array)
        return jax.make_array_from_callback(whole.shape, sharding, lambda part: whole[part])

    return jax.tree.map(one, tree)


def _mapped(fn: Callable, in_axes: Sequence[int | None]) -> Callable:
    def run(*args: Tree) -> Tree:
        own = tuple(a for a, axis in zip(args, in_axes, strict=True) if axis == 0)

        def one(member: tuple) -> Tree:
            parts = iter(member)
            return fn(*(next(parts) if axis == 0 else a for a, axis in zip(args, in_axes, strict=True)))

        return jax.lax.map(one, own)

    return run


@functools.partial(jax.jit, donate_argnums=0)
def scatter(whole: Tree, rows: jax.Array, part: Tree) -> Tree:
    """Writes the members of `part` back to their rows of `whole`."""
    return jax.tree.map(lambda a, b: a.at[rows].set(b), whole, part)


@jax.jit
def gather(whole: Tree, rows: jax.Array) -> Tree:
    """The members of these rows."""
    return jax.tree.map(lambda a: jnp.take(a, rows, axis=0), whole)
