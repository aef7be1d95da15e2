"""From a run's settings and its data to the values of its member."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from ml_collections import FrozenConfigDict

from frown_jax.data import cohort
from frown_jax.data.annotations import Annotations, columns
from frown_jax.data.cohort import Cohort
from frown_jax.errors import MitigationError
from frown_jax.inputs import trunk
from frown_jax.member import averaging, class_weights, mixing, objective
from frown_jax.member.augment import Augmentation
from frown_jax.member.losses import NORMALISERS
from frown_jax.member.sampling import still
from frown_jax.member.schedule import SCHEDULES
from frown_jax.member.values import Member, Restart
from frown_jax.mitigations import registry
from frown_jax.training.grid import Program, Spec
from frown_jax.training.step import Shape


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


def cohort_of(spec: Spec, data: Annotations) -> Cohort | None:
    """Whom a run draws from everybody; None if it takes the data's own split.

    Raises:
      CohortError: there are not so many subjects.
    """
    c = spec.config
    return cohort.draw(c.cohort, c.data.val_fraction, data) if c.cohort.by else None


def check_programs(programs: Sequence[Program], data: Annotations, validation: Annotations) -> None:
    """Builds every kind of member once, so that a mitigation that does not fit the data is told before any training.

    Raises:
      MitigationError: naming the mitigation and what is wrong.
    """
    for program in programs:
        for text in {s.config.mitigation for trained in program.specs for s in trained.all}:
            registry.check_labels(text, data.multilabel)
        shape = shape_of(program.specs, data.classes, data.vocabularies, data.multilabel)
        for spec in {(s.config.mitigation, str(s.config.cohort)): s for s in program.specs}.values():
            member_of(spec, data, shape, validation)
            rows, held_rows = rows_of(spec, data, validation)
            train, held_out = data.take(rows), validation.take(held_rows)
            for run in spec.all:
                registry.adjusters(run.config.mitigation, train, held_out)


def member_of(
    spec: Spec, data: Annotations, shape: Shape | None = None, validation: Annotations | None = None
) -> Member:
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
    member = Member(
        seed=np.uint32(spec.seed),
        learning_rate=f(c.optimiser.learning_rate),
        weight_decay=f(c.optimiser.weight_decay),
        dropout_rate=f(c.optimiser.dropout_rate),
        schedule=i(SCHEDULES[c.schedule.name]),
        schedule_patience=i(c.schedule.patience),
        schedule_factor=f(c.schedule.factor),
        warmup_epochs=f(c.schedule.warmup_epochs),
        epochs=i(c.epochs),
        patience=i(c.stopping.patience),
        min_improvement=f(c.stopping.min_improvement),
        class_weights=class_weights.of(c.loss.class_weights, data),
        rows=rows,
        example_weights=np.ones(count, f),
        normaliser=i(NORMALISERS[c.loss.normaliser]),
        sampling=np.arange(count, dtype=i),
        sampling_size=i(count),
        redraw=still(count, count),
        augmentation=Augmentation(**{k: f(v) for k, v in c.augment.items()}),
        groups=np.full(count, -1, i),
        objective=objective.plain(classes, shape.groups, shape.inputs),
        adversary_groups=np.full((registry.adversary_count(c.mitigation), count), -1, i),
        mixing=mixing.nothing(),
        sam_radius=f(0),
        restart=Restart(i(0), f(1)),
        averaging=averaging.nothing(),
        validation_rows=validation_rows,
        validation_groups=np.zeros(0, i),
    )
    if validation is not None:
        member = registry.apply(c.mitigation, data, member)
        _check_features(c, member)
        member = member.replace(validation_groups=registry.head_groups(c.mitigation, validation))
    return member


def _check_features(config: FrozenConfigDict, member: Member) -> None:
    changed = member.mixing.alpha > 0 or any(float(v) for v in dataclasses.asdict(member.augmentation).values())
    if trunk.cached(config) and changed:
        raise MitigationError(
            f"{config.mitigation} changes images, and their features are computed once: it needs "
            "--config.model.features=computed"
        )


def rows_of(spec: Spec, data: Annotations, validation: Annotations) -> tuple[np.ndarray, np.ndarray]:
    """Which of the resident images a run trains and validates on, int32."""
    chosen = cohort_of(spec, data)
    if chosen is None:
        return np.arange(len(data), dtype=np.int32), np.arange(len(validation), dtype=np.int32)
    return chosen.train, chosen.validation
