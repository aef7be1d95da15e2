"""A member is one training run as data; a grid of them becomes few compile groups.

A mitigation edits a member's values. Members that agree in everything static (network, batch size, image size)
share one program and train together.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from ml_collections import ConfigDict, FrozenConfigDict

from frown_jax import averaging, class_weights, cohort, features, mixing, objective
from frown_jax.augment import Augmentation
from frown_jax.averaging import Averaging
from frown_jax.cohort import Cohort
from frown_jax.losses import PER_COUNT, PER_KNOWN, PER_WEIGHT
from frown_jax.mitigations import registry
from frown_jax.mixing import Mixing
from frown_jax.objective import Objective
from frown_jax.sampling import Redraw, still
from frown_jax.training_set import MitigationError, TrainingSet, columns

CONSTANT, STEP, PLATEAU, COSINE = range(4)
SCHEDULES = {"constant": CONSTANT, "step": STEP, "plateau": PLATEAU, "cosine": COSINE}
NORMALISERS = {"count": PER_COUNT, "weight": PER_WEIGHT, "known": PER_KNOWN}

# Sections of the config whose fields are values of a member, not parts of the program.
TRACED_SECTIONS = ("optimiser", "schedule", "stopping", "loss", "augment", "cohort")


_BEHIND = 1 << 20  # a stratum behind all others

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
    """Traced values of one run; stacked along a leading axis for many. Scalars unless said otherwise.

    Its own N training and V validation images are rows of what is resident; arrays over them are padded where members
    have different numbers.
    """

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
    class_weights: Array  # [K]; of Action Units [T, 2], the weights of absent and present
    rows: Array  # int32 [N] of the resident images; -1 padding
    example_weights: Array  # [N] attention factor of each training image
    normaliser: Array  # int32, see losses.reduce
    sampling: Array  # int32 [P], which of the N fill an epoch's places, padded
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
    validation_rows: Array  # int32 [V] of the resident images; -1 padding
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
    def drawn(self) -> dict[str, int]:
        """The draw of its subjects, for tables; nothing if it takes the data's own split."""
        c = self.config.cohort
        return {"draw": int(c.draw)} if c.by else {}

    @property
    def all(self) -> tuple[Spec, ...]:
        """The runs that this training serves."""
        return (self, *self.sharing)


@dataclasses.dataclass(frozen=True)
class Group:
    """Members that share one program."""

    config: FrozenConfigDict  # of the first member; its static part holds for all
    specs: tuple[Spec, ...]


@dataclasses.dataclass(frozen=True)
class Shape:
    """Sizes of a program's arrays that its members' data and mitigations decide.

    Attributes:
      classes: K.
      groups: G, the most groups that a mitigation of its members divides images into.
      inputs: D, of attribute-aware networks: one for each value of their attributes.
      multilabel: whether the classes are labels of which an image may have many.
    """

    classes: int
    groups: int = 1
    inputs: int = 1
    multilabel: bool = False


def shape_of(
    specs: Sequence[Spec],
    classes: Sequence[str],
    vocabularies: Mapping[str, tuple[str, ...]],
    multilabel: bool = False,
) -> Shape:
    """What the runs of one program need.

    Raises:
      MitigationError: a mitigation groups by a column that there is not.
    """
    sizes = {column: len(values) for column, values in columns(classes, vocabularies, multilabel).items()}
    texts = [s.config.mitigation for s in specs]
    groups, inputs = (max(f(t, sizes) for t in texts) for f in (registry.group_count, registry.input_count))
    return Shape(len(classes), groups, inputs, multilabel)


def cohort_of(spec: Spec, data: TrainingSet) -> Cohort | None:
    """Whom a run draws from everybody; None if it takes the data's own split.

    Raises:
      CohortError: there are not so many subjects.
    """
    c = spec.config
    return cohort.draw(c.cohort, c.data.val_fraction, data) if c.cohort.by else None


def check(programs: Sequence[Group], data: TrainingSet, validation: TrainingSet) -> None:
    """Builds every kind of member once, so that a mitigation that does not fit the data is told before any training.

    Raises:
      MitigationError: naming the mitigation and what is wrong.
    """
    for group in programs:
        for text in {s.config.mitigation for trained in group.specs for s in trained.all}:
            registry.check_labels(text, data.multilabel)
        shape = shape_of(group.specs, data.classes, data.vocabularies, data.multilabel)
        for spec in {(s.config.mitigation, str(s.config.cohort)): s for s in group.specs}.values():
            build(spec, data, shape, validation)
            rows, held_rows = rows_of(spec, data, validation)
            train, held_out = data.take(rows), validation.take(held_rows)
            for run in spec.all:
                registry.finishers(run.config.mitigation, train, held_out)


def build(spec: Spec, data: TrainingSet, shape: Shape | None = None, validation: TrainingSet | None = None) -> Member:
    """The member of a spec on a training set.

    Args:
      spec: the run.
      data: the resident training images.
      shape: of its program; None for a run without groups.
      validation: images; None for a member that is only to predict, whose mitigation and cohort are left out.

    Raises:
      MitigationError: its mitigation does not fit the data.
      CohortError: see `cohort_of`.
    """
    c, shape = spec.config, shape or Shape(len(data.classes), multilabel=data.multilabel)
    f, i = np.float32, np.int32
    if validation is None:
        rows, validation_rows = np.arange(len(data), dtype=i), np.zeros(0, i)
    else:
        rows, validation_rows = rows_of(spec, data, validation)
        validation = validation.take(validation_rows)
    data = data.take(rows)
    classes, count = len(data.classes), len(data)
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
        "class_weights": class_weights.of(c.loss.class_weights, data),
        "rows": rows,
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
        "validation_rows": validation_rows,
        "validation_groups": np.zeros(0, i),
    }
    if validation is not None:
        values = registry.apply(c.mitigation, data, values)
        _check_features(c, values)
        values["validation_groups"] = registry.head_groups(c.mitigation, validation)
    return Member(**values)


def _check_features(config: FrozenConfigDict, values: registry.Values) -> None:
    changed = values["mixing"].alpha > 0 or any(float(v) for v in dataclasses.asdict(values["augmentation"]).values())
    if features.cached(config) and changed:
        raise MitigationError(
            f"{config.mitigation} changes images, and their features are computed once: it needs "
            "--config.model.features=computed"
        )


def rows_of(spec: Spec, data: TrainingSet, validation: TrainingSet) -> tuple[np.ndarray, np.ndarray]:
    """Which of the resident images a run trains and validates on, int32."""
    chosen = cohort_of(spec, data)
    if chosen is None:
        return np.arange(len(data), dtype=np.int32), np.arange(len(validation), dtype=np.int32)
    return chosen.train, chosen.validation


def stack(members: Sequence[Member]) -> Member:
    """One pytree with a leading member axis; what members have different numbers of is padded to the most."""
    places, images, held_out = (
        max(len(x) for x in each)
        for each in zip(*((m.sampling, m.rows, m.validation_rows) for m in members), strict=True)
    )

    def longer(x: np.ndarray, most: int, fill: float = 0) -> np.ndarray:
        return np.pad(x, [(0, 0)] * (x.ndim - 1) + [(0, most - x.shape[-1])], constant_values=fill)

    padded = []
    for m in members:
        r = m.redraw
        redraw = r.replace(
            # Padding is drawn by no place: it lies behind every stratum.
            stratum=longer(r.stratum, images, _BEHIND),
            order=longer(r.order, images),
            start=longer(r.start, places),
            size=longer(r.size, places),
            rank=longer(r.rank, places),
            short=longer(r.short, places),
        )
        padded.append(
            m.replace(
                rows=longer(m.rows, images, -1),
                example_weights=longer(m.example_weights, images),
                groups=longer(m.groups, images, -1),
                adversary_groups=longer(m.adversary_groups, images, -1),
                validation_rows=longer(m.validation_rows, held_out, -1),
                validation_groups=longer(m.validation_groups, held_out, -1),
                sampling=longer(m.sampling, places),
                redraw=redraw,
            )
        )
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
    """Points x draws of subjects x seeds, grouped by what their programs share.

    Args:
      config: the base; `config.seeds` and `config.cohort.draws` are run at every point, `config.method` names a point
        unless it sets its own.
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
        for draw, seed in itertools.product(own.cohort.draws, config.seeds):
            own.cohort.draw = int(draw)
            spec = Spec(member=member, method=own.method, seed=int(seed), config=FrozenConfigDict(own))
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
    fields = sorted((k, str(v)) for k, v in config.items() if k not in ("method", "mitigation", "seeds", "threshold"))
    return f"{fields} {registry.in_training(config.mitigation)}"


def _static_part(config: ConfigDict) -> str:
    """Everything but the traced fields, as text."""
    traced = (*TRACED_SECTIONS, "method", "mitigation", "seeds", "epochs", "members_per_device", "threshold")
    shared = sorted((k, str(v)) for k, v in config.items() if k not in traced)
    return f"{shared} {registry.signature(config.mitigation)} {features.cached(config)}"
