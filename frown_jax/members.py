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

from frown_jax import averaging, mixing, objective
from frown_jax.augment import Augmentation
from frown_jax.averaging import Averaging
from frown_jax.losses import PER_COUNT, PER_WEIGHT
from frown_jax.mitigations import registry
from frown_jax.mixing import Mixing
from frown_jax.objective import Objective
from frown_jax.sampling import Redraw, still
from frown_jax.training_set import LABEL, TrainingSet, effective_weight

CONSTANT, STEP, PLATEAU, COSINE = range(4)
SCHEDULES = {"constant": CONSTANT, "step": STEP, "plateau": PLATEAU, "cosine": COSINE}
CLASS_WEIGHTS = ("none", "inverse", "effective_number", "repo")
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
      sharpness: whether gradients are taken a step uphill.
      restart: whether a first stage tells which images count more in a second one.
      averaging: whether weights are averaged.
      memory: epochs whose weights that remembers.
    """

    penalties: tuple[int, ...] = ()
    mixing: bool = False
    sharpness: bool = False
    restart: bool = False
    averaging: bool = False
    memory: int = 0


class Restart(struct.PyTreeNode):
    """A first stage whose errors the second one looks at; scalars."""

    epochs: Array  # int32 of the first stage; 0: there is none
    factor: Array  # of the images that it gets wrong


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
    sam_radius: Array  # of sharpness-aware steps; 0: plain ones
    restart: Restart
    averaging: Averaging
    validation_groups: Array  # int32 [V], for heads that look at them


@dataclasses.dataclass(frozen=True)
class Spec:
    """A member before data: who it is and its own config."""

    member: int  # position in the grid
    method: str
    seed: int
    config: FrozenConfigDict
    sharing: tuple[Spec, ...] = ()  # others that train exactly so, and differ in what is done afterwards

    @property
    def all(self) -> tuple[Spec, ...]:
        """The runs that this training serves."""
        return (self, *self.sharing)


@dataclasses.dataclass(frozen=True)
class Group:
    """Members that share one program."""

    config: FrozenConfigDict  # of the first member; its static part holds for all
    specs: tuple[Spec, ...]


def class_weights(how: str, counts: np.ndarray) -> np.ndarray:
    """Weight of each class from its count in training.

    Args:
      how: 'none' (1), 'inverse' (n / (K n_k)), 'effective_number' (in proportion to (1 - b) / (1 - b^n_k), b = .9999;
        Cui et al. 2019), both of mean 1 over the examples, 'repo' (softmax(1 / n_k), which is what the first study's
        code computes and is uniform in effect).
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
    if how == "effective_number":
        effective = effective_weight(counts)
        return (effective * counts.sum() / (effective * counts).sum()).astype(np.float32)
    if how == "repo":
        powers = np.where(present, np.exp(inverse), 0)
        return (powers / powers.sum()).astype(np.float32)
    raise ValueError(f"loss.class_weights is {how!r}: one of {', '.join(CLASS_WEIGHTS)}")


@dataclasses.dataclass(frozen=True)
class Shape:
    """Sizes of a program's arrays that its members' data and mitigations decide.

    Attributes:
      classes: K.
      groups: G, the most groups that a mitigation of its members divides images into.
      inputs: D, of attribute-aware networks: one for each value of their attributes.
    """

    classes: int
    groups: int = 1
    inputs: int = 1


def shape_of(specs: Sequence[Spec], classes: int, vocabularies: dict[str, tuple[str, ...]]) -> Shape:
    """What the runs of one program need.

    Raises:
      MitigationError: a mitigation groups by a column that there is not.
    """
    sizes = {LABEL: classes, **{a: len(v) for a, v in vocabularies.items()}}
    texts = [s.config.mitigation for s in specs]
    groups, inputs = (max(f(t, sizes) for t in texts) for f in (registry.group_count, registry.input_count))
    return Shape(classes, groups, inputs)


def check(programs: Sequence[Group], data: TrainingSet, validation: TrainingSet) -> None:
    """Builds every kind of member once, so that a mitigation that does not fit the data is told before any training.

    Raises:
      MitigationError: naming the mitigation and what is wrong.
    """
    for group in programs:
        shape = shape_of(group.specs, len(data.classes), data.vocabularies)
        for spec in {s.config.mitigation: s for s in group.specs}.values():
            build(spec, data, shape, validation)
        for text in {s.config.mitigation for trained in group.specs for s in trained.all}:
            registry.finishers(text, data, validation)


def build(spec: Spec, data: TrainingSet, shape: Shape | None = None, validation: TrainingSet | None = None) -> Member:
    """The member of a spec on a training set.

    Args:
      spec: the run.
      data: N training images.
      shape: of its program; None for a run without groups.
      validation: V images; None for a member that is only to predict, whose mitigation is left out.

    Raises:
      MitigationError: its mitigation does not fit the data.
    """
    c, shape = spec.config, shape or Shape(len(data.classes))
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
        "objective": objective.plain(classes, shape.groups, shape.inputs),
        "adversary_groups": np.full((registry.adversary_count(c.mitigation), count), -1, i),
        "mixing": mixing.nothing(),
        "sam_radius": f(0),
        "restart": Restart(i(0), f(1)),
        "averaging": averaging.nothing(),
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

    def any_of(values: Array) -> bool:
        return bool((np.asarray(values) > 0).any())

    kind = np.asarray(group.averaging.kind)
    longest = np.maximum(group.averaging.converge, group.averaging.tolerance)[kind == averaging.SWAD]
    return Terms(
        penalties=tuple(np.flatnonzero((np.asarray(group.objective.penalties) != 0).any(0)).tolist()),
        mixing=any_of(group.mixing.alpha),
        sharpness=any_of(group.sam_radius),
        restart=any_of(group.restart.epochs),
        averaging=any_of(kind),
        memory=int(longest.max(initial=0)),
    )


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
      Groups in order of first appearance; `Spec.member` counts through the whole grid. Runs whose trainings are the
      same are one Spec, which names the others.

    Raises:
      KeyError: a point names a field that the config does not have.
    """
    groups: dict[str, dict[tuple[str, int], Spec]] = {}
    member = 0
    for point in points:
        own = config.copy_and_resolve_references()
        own.lock()
        own.update_from_flattened_dict(point)
        frozen = FrozenConfigDict(own)
        for seed in config.seeds:
            spec = Spec(member=member, method=own.method, seed=int(seed), config=frozen)
            group = groups.setdefault(_static_part(own), {})
            key = _training_part(own), int(seed)
            first = group.get(key)
            group[key] = spec if first is None else dataclasses.replace(first, sharing=(*first.sharing, spec))
            member += 1
    trained = [tuple(group.values()) for group in groups.values()]
    return [Group(config=specs[0].config, specs=specs) for specs in trained]


def split(group: Group, most: int) -> list[Group]:
    """The group in as few parts of at most `most` members as will do, of nearly equal size."""
    parts = -(-len(group.specs) // most)
    bounds = [len(group.specs) * i // parts for i in range(parts + 1)]
    return [dataclasses.replace(group, specs=group.specs[a:b]) for a, b in itertools.pairwise(bounds)]


def regroup(groups: Sequence[Group], programs: Sequence[Sequence[int]]) -> list[Group]:
    """The groups cut as `programs` says: a list of member numbers for each part."""
    of_member = {spec.member: (group, spec) for group in groups for spec in group.specs}
    return [dataclasses.replace(of_member[part[0]][0], specs=tuple(of_member[m][1] for m in part)) for part in programs]


def _training_part(config: ConfigDict) -> str:
    """Everything that a training depends on but its seed, as text."""
    fields = sorted((k, str(v)) for k, v in config.items() if k not in ("method", "mitigation", "seeds"))
    return f"{fields} {registry.in_training(config.mitigation)}"


def _static_part(config: ConfigDict) -> str:
    """Everything but the traced fields, as text."""
    traced = (*TRACED_SECTIONS, "method", "mitigation", "seeds", "epochs", "members_per_device")
    shared = sorted((k, str(v)) for k, v in config.items() if k not in traced)
    return f"{shared} {registry.signature(config.mitigation)}"
