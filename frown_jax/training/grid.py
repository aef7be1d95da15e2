"""A grid of methods, draws and seeds, as few programs: runs that agree in everything static train together."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence

from ml_collections import ConfigDict, FrozenConfigDict

from frown_jax.inputs import trunk
from frown_jax.mitigations import registry

# Sections of the config whose fields are values of a member, not parts of the program.
TRACED_SECTIONS = ("optimiser", "schedule", "stopping", "loss", "augment", "cohort")


@dataclasses.dataclass(frozen=True)
class Spec:
    """A member before data: who it is and its own config."""

    member: int  # position in the grid
    method: str
    seed: int
    config: FrozenConfigDict
    sharing: tuple[Spec, ...] = ()  # others that train exactly so, and differ in what is done afterwards

    @property
    def drawn(self) -> dict[str, int]:
        """The draw of its subjects, for tables; nothing if it takes the data's own split."""
        c = self.config.cohort
        return {"draw": int(c.draw)} if c.by else {}

    @property
    def all(self) -> tuple[Spec, ...]:
        """The runs that this training serves."""
        return (self, *self.sharing)


@dataclasses.dataclass(frozen=True)
class Program:
    """Members that train together, as one compiled program."""

    config: FrozenConfigDict  # of the first member; its static part holds for all
    specs: tuple[Spec, ...]


def points_of(sweep: Callable[[Callable[..., None]], None] | None) -> list[dict[str, object]]:
    """Runs a config file's `sweep(add)`; each `add(**{'dotted.field': value})` is one point of the grid."""
    points: list[dict[str, object]] = []
    if sweep is not None:
        sweep(lambda **fields: points.append(fields))
    return points or [{}]


def seeds_of(config: ConfigDict) -> tuple[int, ...]:
    """All seeds that a run may train: `seeds`, then, up to `seeds_until` of them, the whole numbers that it lacks."""
    given = tuple(int(s) for s in config.seeds)
    others = (s for s in itertools.count() if s not in given)
    return (*given, *itertools.islice(others, max(0, config.seeds_until - len(given))))


def expand(config: ConfigDict, points: Sequence[dict[str, object]]) -> list[Program]:
    """Points x draws of subjects x seeds, divided into programs.

    Args:
      config: the base; all of `seeds_of` and of `config.cohort.draws` are run at every point, `config.method` names a
        point unless it sets its own.
      points: overrides by dotted field name.

    Returns:
      Programs in order of first appearance; `Spec.member` counts through the whole grid. Runs whose trainings are the
      same are one Spec, which names the others.

    Raises:
      KeyError: a point names a field that the config does not have.
    """
    programs: dict[str, dict[tuple[str, int], Spec]] = {}
    member = 0
    for point in points:
        own = config.copy_and_resolve_references()
        own.lock()
        own.update_from_flattened_dict(point)
        for draw, seed in itertools.product(own.cohort.draws, seeds_of(config)):
            own.cohort.draw = int(draw)
            spec = Spec(member=member, method=own.method, seed=int(seed), config=FrozenConfigDict(own))
            trainings = programs.setdefault(_static_part(own), {})
            key = _training_part(own), int(seed)
            first = trainings.get(key)
            trainings[key] = spec if first is None else dataclasses.replace(first, sharing=(*first.sharing, spec))
            member += 1
    trained = [tuple(trainings.values()) for trainings in programs.values()]
    return [Program(config=specs[0].config, specs=specs) for specs in trained]


def split(program: Program, most: int) -> list[Program]:
    """The program in as few pieces of at most `most` members as will do, of nearly equal size."""
    pieces = -(-len(program.specs) // most)
    bounds = [len(program.specs) * i // pieces for i in range(pieces + 1)]
    return [dataclasses.replace(program, specs=program.specs[a:b]) for a, b in itertools.pairwise(bounds)]


def recut(programs: Sequence[Program], cuts: Sequence[Sequence[int]]) -> list[Program]:
    """The programs cut as `cuts` says: a list of member numbers for each of those that are made."""
    of_member = {spec.member: (program, spec) for program in programs for spec in program.specs}
    return [dataclasses.replace(of_member[cut[0]][0], specs=tuple(of_member[m][1] for m in cut)) for cut in cuts]


def _training_part(config: ConfigDict) -> str:
    """Everything that a training depends on but its seed, as text."""
    fields = sorted((k, str(v)) for k, v in config.items() if k not in ("method", "mitigation", "seeds", "threshold"))
    return f"{fields} {registry.in_training(config.mitigation)}"


def _static_part(config: ConfigDict) -> str:
    """Everything but the traced fields, as text."""
    traced = (*TRACED_SECTIONS, "method", "mitigation", "seeds", "epochs", "members_per_device", "threshold")
    shared = sorted((k, str(v)) for k, v in config.items() if k not in traced)
    return f"{shared} {registry.signature(config.mitigation)} {trunk.cached(config)}"
