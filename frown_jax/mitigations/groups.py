"""Networks with a head for each group (Wang et al. 2020, "Towards Fairness in Visual Recognition")."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from frown_jax import objective
from frown_jax.mitigations.registry import Values, choice, register
from frown_jax.mitigations.robust import grouped
from frown_jax.training_set import Groups, TrainingSet


def _group_sizes(groups: Groups, data: TrainingSet) -> np.ndarray:
    known = groups.codes >= 0
    count = np.zeros((len(groups.names), len(data.classes)))
    np.add.at(count, (groups.codes[known], data.labels[known]), 1)
    return count


@register(head="domain")
def domain_independent(
    data: TrainingSet,
    member: Values,
    by: str | Sequence[str] = "race",
    inference: str = "sum",
    drop: Sequence[str] = (),
) -> Values:
    """One head a group on shared features; an image trains its own group's head.

    inference='sum' predicts by the sum of the heads' logits and needs no attributes at test; 'known' by the head of
    the image's group (the sum where it is unknown). With 'sum', a head that never saw a class answers for it untrained:
    groups need examples of every class.
    """
    mode = {"sum": objective.INDEPENDENT, "known": objective.INDEPENDENT_KNOWN}[
        choice("inference", inference, ("sum", "known"))
    ]
    reader = member["objective"].reader.replace(heads=np.int32(mode))
    return grouped(member, data.groups(by, drop), reader=reader)


@register(head="domain")
def domain_discriminative(
    data: TrainingSet,
    member: Values,
    by: str | Sequence[str] = "race",
    inference: str = "sum",
    prior_shift: bool = True,
    drop: Sequence[str] = (),
) -> Values:
    """One softmax over (group, class); predicts by sum or maximum over groups of p(a, y | x), no attributes at test.

    prior_shift divides p(a, y | x) by the training share of (a, y), as for a test set where all are equally frequent;
    cells without training images keep their probability.
    """
    mode = {"sum": objective.DISCRIMINATIVE, "max": objective.DISCRIMINATIVE_MAX}[
        choice("inference", inference, ("sum", "max"))
    ]
    groups = data.groups(by, drop)
    reader = member["objective"].reader
    shift = np.ones_like(reader.prior_shift)
    if prior_shift:
        count = _group_sizes(groups, data)
        uniform = count.sum() / count.size
        shift[: len(count)] = np.where(count > 0, uniform / np.maximum(count, 1), 1)
    reader = reader.replace(heads=np.int32(mode), prior_shift=shift.astype(np.float32))
    return grouped(member, groups, reader=reader)
