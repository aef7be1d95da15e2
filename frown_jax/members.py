"""A member is one training run as data; a grid of them becomes few compile groups.

A mitigation edits a member's values. Members that agree in everything static (network, batch size, image size)
share one program and train together.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from ml_collections import ConfigDict, FrozenConfigDict

from frown_jax import mixing, objective
from frown_jax.augment import Augmentation
from frown_jax.losses import PER_COUNT, PER_WEIGHT
from frown_jax.mitigations import registry
from frown_jax.mixing import Mixing
from frown_jax.objective import Objective
from frown_jax.sampling import Redraw, still
from frown_jax.training_set import LABEL, TrainingSet

CONSTANT, STEP, PLATEAU, COSINE = range(4)
SCHEDULES = {"constant": CONSTANT, "step": STEP, "plateau": PLATEAU, "cosine": COSINE}
CLASS_WEIGHTS = ("none", "inverse", "repo")
NORMALISERS = {"count": PER_COUNT, "weight": PER_WEIGHT}

# Sections of the config whose fields are values of a member, not parts of the program.
TRACED_SECTIONS = ("optimiser", "schedule", "stopping", "loss", "augment")


Array = Any  # jax.Array or np.ndarray


@dataclasses.dataclass(frozen=True)
class Terms:
    """What a program computes only because one of its members asks for it.

    Attributes:
      penalties: positions in penalties.PENALTIES.
      mixing: whether batches are mixed.
    """

    penalties: tuple[int, ...] = ()
    mixing: bool = False


class Member(struct.PyTreeNode):
    """Traced values of one run; stacked along a leading axis for many. Scalars unless said otherwise."""

    seed: Array  # uint32
    learning_rate: Array
    weight_decay: Array
    dropout_rate: Array
    schedule: Array  # int32, one of SCHEDULES
    schedule_patience: Array  # int32, epochs between drops (step) or without improvement (plateau)
    schedule_factor: Array
    warmup_epochs: Array
    epochs: Array  # int32, at most
    patience: Array  # int32: stop once more epochs than this bring no improvement
    min_improvement: Array  # of validation AUROC
    class_weights: Array  # [K]
    example_weights: Array  # [N] attention factor of each training image
    normaliser: Array  # int32, see losses.reduce
    sampling: Array  # int32 [T], training rows of an epoch, padded
    sampling_size: Array  # int32, how many entries of `sampling` count
    redraw: Redraw
    augmentation: Augmentation
    groups: Array  # int32 [N], the group of each training image that the objective looks at; -1 none
    objective: Objective
    adversary_groups: Array  # int32 [A, N], what each adversary tells apart
    mixing: Mixing
    validation_groups: Array  # int32 [V], for heads that look at them


@dataclasses.dataclass(frozen=True)
class Spec:
    """A member before data: who it is and its own config."""

    member: int  # position in the grid
    method: str
    seed: int
    config: FrozenConfigDict


@dataclasses.dataclass(frozen=True)
class Group:
    """Members that share one program."""

    config: FrozenConfigDict  # of the first member; its static part holds for all
    specs: tuple[Spec, ...]


def class_weights(how: str, counts: np.ndarray) -> np.ndarray:
    """Weight of each class from its count in training.

    Args:
      how: 'none' (1), 'inverse' (n / (K n_k), mean 1 over the examples), 'repo' (softmax(1 / n_k), which is what
        the first study's code computes and is uniform in effect).
      counts: int [K].

    Returns:
      float32 [K]; 0 for a class without examples (except 'none').

    Raises:
      ValueError: unknown `how`.
    """
    counts = np.asarray(counts, np.float64)
    present = counts > 0
    if how == "none":
        return np.ones(len(counts), np.float32)
    inverse = np.divide(1, counts, out=np.zeros_like(counts), where=present)
    if how == "inverse":
        return (inverse * counts.sum() / present.sum()).astype(np.float32)
    if how == "repo":
        powers = np.where(present, np.exp(inverse), 0)
        return (powers / powers.sum()).astype(np.float32)
    raise ValueError(f"loss.class_weights is {how!r}: one of {', '.join(CLASS_WEIGHTS)}")


def _column_sizes(classes: int, vocabularies: dict[str, tuple[str, ...]]) -> dict[str, int]:
    return {LABEL: classes, **{a: len(v) for a, v in vocabularies.items()}}


def group_count(specs: Sequence[Spec], classes: int, vocabularies: dict[str, tuple[str, ...]]) -> int:
    """The most groups that a mitigation of these runs divides images into; the size of the program's group arrays.

    Raises:
      MitigationError: a mitigation groups by a column that there is not.
    """
    sizes = _column_sizes(classes, vocabularies)
    return max(registry.group_count(s.config.mitigation, sizes) for s in specs)


def input_count(specs: Sequence[Spec], classes: int, vocabularies: dict[str, tuple[str, ...]]) -> int:
    """Inputs of attribute-aware runs: one for each value of their attributes; at least 1.

    Raises:
      MitigationError: a mitigation groups by a column that there is not.
    """
    sizes = _column_sizes(classes, vocabularies)
    return max(registry.input_count(s.config.mitigation, sizes) for s in specs)


def check(programs: Sequence[Group], data: TrainingSet) -> None:
    """Builds every kind of member once, so that a mitigation that does not fit the data is told before any training.

    Raises:
      MitigationError: naming the mitigation and what is wrong.
    """
    for group in programs:
        groups, inputs = (f(group.specs, len(data.classes), data.vocabularies) for f in (group_count, input_count))
        for spec in {s.config.mitigation: s for s in group.specs}.values():
            build(spec, data, groups, inputs, data)


def build(
    spec: Spec, data: TrainingSet, groups: int = 1, inputs: int = 1, validation: TrainingSet | None = None
) -> Member:
    """The member of a spec on a training set.

    Args:
      spec: the run.
      data: N training images.
      groups, inputs: at least `group_count` and `input_count` of the runs that share its program.
      validation: V images; None for a member that is only to predict, whose mitigation is left out.

    Raises:
      MitigationError: its mitigation does not fit the data.
    """
    c = spec.config
    labels, classes, count = data.labels, len(data.classes), len(data)
    f, i = np.float32, np.int32
    values: registry.Values = {
        "seed": np.uint32(spec.seed),
        "learning_rate": f(c.optimiser.learning_rate),
        "weight_decay": f(c.optimiser.weight_decay),
        "dropout_rate": f(c.optimiser.dropout_rate),
        "schedule": i(SCHEDULES[c.schedule.name]),
        "schedule_patience": i(c.schedule.patience),
        "schedule_factor": f(c.schedule.factor),
        "warmup_epochs": f(c.schedule.warmup_epochs),
        "epochs": i(c.epochs),
        "patience": i(c.stopping.patience),
        "min_improvement": f(c.stopping.min_improvement),
        "class_weights": class_weights(c.loss.class_weights, np.bincount(labels, minlength=classes)),
        "example_weights": np.ones(count, f),
        "normaliser": i(NORMALISERS[c.loss.normaliser]),
        "sampling": np.arange(count, dtype=i),
        "sampling_size": i(count),
        "redraw": still(count, count),
        "augmentation": Augmentation(**{k: f(v) for k, v in c.augment.items()}),
        "groups": np.full(count, -1, i),
        "objective": objective.plain(classes, groups, inputs),
        "adversary_groups": np.full((registry.adversary_count(c.mitigation), count), -1, i),
        "mixing": mixing.nothing(),
        "validation_groups": np.zeros(0, i),
    }
    if validation is not None:
        values = registry.apply(c.mitigation, data, values)
        values["validation_groups"] = registry.head_groups(c.mitigation, validation)
    return Member(**values)


def stack(members: Sequence[Member]) -> Member:
    """One pytree with a leading member axis; sampling tables are padded to the longest."""
    longest = max(len(m.sampling) for m in members)

    def longer(x: np.ndarray) -> np.ndarray:
        return np.pad(x, (0, longest - len(x)))

    padded = []
    for m in members:
        r = m.redraw
        redraw = r.replace(start=longer(r.start), size=longer(r.size), rank=longer(r.rank), short=longer(r.short))
        padded.append(m.replace(sampling=longer(m.sampling), redraw=redraw))
    return jax.tree.map(lambda *x: jnp.asarray(np.stack(x)), *padded)


def terms(group: Member) -> Terms:
    """The terms of a stacked group."""
    used = (np.asarray(group.objective.penalties) != 0).any(0)
    return Terms(tuple(np.flatnonzero(used).tolist()), bool((np.asarray(group.mixing.alpha) > 0).any()))


def points_of(sweep: Callable[[Callable[..., None]], None] | None) -> list[dict[str, object]]:
    """Runs a config file's `sweep(add)`; each `add(**{'dotted.field': value})` is one point of the grid."""
    points: list[dict[str, object]] = []
    if sweep is not None:
        sweep(lambda **fields: points.append(fields))
    return points or [{}]


def expand(config: ConfigDict, points: Sequence[dict[str, object]]) -> list[Group]:
    """Points x seeds, grouped by what their programs share.

    Args:
      config: the base; `config.seeds` are run at every point, `config.method` names a point unless it sets its own.
      points: overrides by dotted field name.

    Returns:
      Groups in order of first appearance; `Spec.member` counts through the whole grid.

    Raises:
      KeyError: a point names a field that the config does not have.
    """
    groups: dict[str, list[Spec]] = {}
    member = 0
    for point in points:
        own = config.copy_and_resolve_references()
        own.lock()
        own.update_from_flattened_dict(point)
        frozen = FrozenConfigDict(own)
        for seed in config.seeds:
            spec = Spec(member=member, method=own.method, seed=int(seed), config=frozen)
            groups.setdefault(_static_part(own), []).append(spec)
            member += 1
    return [Group(config=specs[0].config, specs=tuple(specs)) for specs in groups.values()]


def split(group: Group, most: int) -> list[Group]:
    """The group in as few parts of at most `most` members as will do, of nearly equal size."""
    parts = -(-len(group.specs) // most)
    bounds = [len(group.specs) * i // parts for i in range(parts + 1)]
    return [dataclasses.replace(group, specs=group.specs[a:b]) for a, b in itertools.pairwise(bounds)]


def regroup(groups: Sequence[Group], programs: Sequence[Sequence[int]]) -> list[Group]:
    """The groups cut as `programs` says: a list of member numbers for each part."""
    of_member = {spec.member: (group, spec) for group in groups for spec in group.specs}
    return [dataclasses.replace(of_member[part[0]][0], specs=tuple(of_member[m][1] for m in part)) for part in programs]


def _static_part(config: ConfigDict) -> str:
    """Everything but the traced fields, as text."""
    traced = (*TRACED_SECTIONS, "method", "mitigation", "seeds", "epochs", "members_per_device")
    shared = sorted((k, str(v)) for k, v in config.items() if k not in traced)
    return f"{shared} {registry.signature(config.mitigation)}"
