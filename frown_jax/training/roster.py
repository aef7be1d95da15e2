"""Who is still training: stopped members leave the program, so that they cost nothing."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np

from frown_jax.member.state import State
from frown_jax.member.values import Member
from frown_jax.runtime import processes
from frown_jax.runtime.packing import Packing, gather, scatter


def pad(tree, count: int):
    """Repeats the first member until there are `count`: programs over several devices need equal shares."""

    def longer(a):
        if len(a) == count:
            return a
        xp = np if isinstance(a, np.ndarray) else jnp
        return xp.concatenate([a, xp.repeat(a[:1], count - len(a), axis=0)])

    return jax.tree.map(longer, tree)


class Roster:
    """All members' states, and those that run now.

    The members that run are a function of the states alone (never of history), so that an interrupted program goes
    on in the same programs and with the same results.

    Attributes:
      state: of the running members; assign what a training call returned.
      members: their values.
      rows: int array, position of each running member in the program; entries from the program's size on, and members
        that are not active, are there only to fill the program.
    """

    def __init__(self, packing: Packing, members: Member, state: State):
        """`members`, S of them; `state` of them, or of as many as `packing.up` makes them."""
        self._packing, self._count = packing, len(members.seed)
        padded = packing.up(self._count)
        self._everybody = packing.cut(pad(members, padded))
        state = pad(state, padded)
        if padded > self._count:
            there = np.arange(padded) < self._count
            state = state.replace(active=processes.local(state.active) & there)
        self._whole: State | None = None  # None while everybody runs: `state` is all there is
        self.state, self.members, self.rows = packing.cut(state), self._everybody, np.arange(padded)
        self.choose()

    @property
    def active(self) -> np.ndarray:
        """bool, of the running members."""
        return processes.local(self.state.active)

    def choose(self) -> None:
        """Moves to the smallest program that holds the active members."""
        sizes = self._packing.sizes(self._count)
        active = np.zeros(sizes[0], bool)
        active[self.rows] = self.active
        size = min(s for s in sizes if s >= active.sum())
        # Active members first, then others in their order, and by position: the choice is unique.
        rows = np.sort(np.argsort(~active, kind="stable")[:size])
        if np.array_equal(rows, self.rows):
            return
        whole = self._merged()
        everybody = size == sizes[0]
        self._whole = None if everybody else whole
        self.rows = rows
        self.state = whole if everybody else self._packing.cut(gather(whole, rows))
        self.members = self._everybody if everybody else self._packing.cut(gather(self._everybody, rows))

    def _merged(self) -> State:
        if self._whole is None:
            return self.state
        self._whole = scatter(self._whole, self.rows, self.state)
        return self._whole

    def whole(self) -> State:
        """The states of all members of the program, in its order."""
        merged = self._merged()
        if len(merged.active) == self._count:
            return merged
        return jax.tree.map(lambda a: a[: self._count], merged)
