"""Networks with more than one head: heads of groups, adversaries, attributes as inputs.

Sources: Wang et al. 2020 ("Towards Fairness in Visual Recognition"), Xu et al. 2020, and those named below.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from frown_jax.data.annotations import Annotations, cells, columns_of
from frown_jax.errors import MitigationError
from frown_jax.member import heads, objective
from frown_jax.member.values import Member
from frown_jax.mitigations.registry import choice, grouped, number, register


@register(head="domain")
def domain_independent(
    data: Annotations,
    member: Member,
    by: str | Sequence[str] = "race",
    inference: str = "sum",
    drop: Sequence[str] = (),
) -> Member:
    """One head a group on shared features; an image trains its own group's head.

    inference='sum' predicts by the sum of the heads' logits and needs no attributes at test; 'known' by the head of
    the image's group (the sum where it is unknown). With 'sum', a head that never saw a class answers for it untrained:
    groups need examples of every class.
    """
    mode = {"sum": objective.INDEPENDENT, "known": objective.INDEPENDENT_KNOWN}[
        choice("inference", inference, ("sum", "known"))
    ]
    reader = member.objective.reader.replace(heads=np.int32(mode))
    return grouped(member, data.groups(by, drop), reader=reader)


@register(head="domain", classes_only=True)
def domain_discriminative(
    data: Annotations,
    member: Member,
    by: str | Sequence[str] = "race",
    inference: str = "sum",
    prior_shift: bool = True,
    drop: Sequence[str] = (),
) -> Member:
    """One softmax over (group, class); predicts by sum or maximum over groups of p(a, y | x), no attributes at test.

    prior_shift divides p(a, y | x) by the training share of (a, y), as for a test set where all are equally frequent;
    cells without training images keep their probability.
    """
    mode = {"sum": objective.DISCRIMINATIVE, "max": objective.DISCRIMINATIVE_MAX}[
        choice("inference", inference, ("sum", "max"))
    ]
    groups = data.groups(by, drop)
    reader = member.objective.reader
    shift = np.ones_like(reader.prior_shift)
    if prior_shift:
        count = cells(groups, data.labels, len(data.classes))
        uniform = count.sum() / count.size
        shift[: len(count)] = np.where(count > 0, uniform / np.maximum(count, 1), 1)
    reader = reader.replace(heads=np.int32(mode), prior_shift=shift.astype(np.float32))
    return grouped(member, groups, reader=reader)


def _adversary(
    data: Annotations, member: Member, by: str | Sequence[str], drop: Sequence[str], kind: int, strength: float, **more
) -> Member:
    adversary = heads.Adversary(
        np.int32(kind), np.float32(number("strength", strength, 0)), np.float32(more.get("conditional", False))
    )
    groups = data.groups(by, drop)
    return grouped(member, groups, adversary=adversary).replace(adversary_groups=groups.codes[None])


@register(head=heads.ADVERSARY, moves_features=True)
def uniform_confusion(
    data: Annotations,
    member: Member,
    by: str | Sequence[str] = "race",
    strength: float = 1.0,
    drop: Sequence[str] = (),
) -> Member:
    """A linear group classifier on the features, and features that leave it uniform (Alvi et al. 2018).

    Both train in every step, each by its own objective; Wang et al. 2020's code trains the network in one of three
    epochs instead.
    """
    return _adversary(data, member, by, drop, heads.CONFUSION, strength)


@register(head=heads.ADVERSARY, each_column=True, moves_features=True)
def disentangled(
    data: Annotations,
    member: Member,
    by: str | Sequence[str] = ("race", "gender", "age"),
    strength: float = 1.0,
    drop: Sequence[str] = (),
) -> Member:
    """A classifier for each attribute on the features, and features that leave all of them uniform (Xu et al. 2020).

    L = L_expression + sum_a L_a + strength sum_a L_confusion,a, each L_a training its own classifier only. The paper's
    body could not be read: losses and weight are those of a re-implementation that names it (FairDisCo, alpha = 1).
    """
    adversary = heads.Adversary(np.int32(heads.CONFUSION), np.float32(number("strength", strength, 0)), np.float32(0))
    columns = columns_of(by)
    values = {v for c in columns for v in data.vocabulary(c)}
    for value in drop:
        if value not in values:
            raise MitigationError(f"drop names {value!r}, which none of {', '.join(columns)} has")
    codes = [data.groups(c, [v for v in drop if v in data.vocabulary(c)]).codes for c in columns]
    objective = member.objective.replace(adversary=adversary)
    return member.replace(objective=objective, adversary_groups=np.stack(codes))


@register(head=heads.ADVERSARY, moves_features=True)
def dann(
    data: Annotations,
    member: Member,
    by: str | Sequence[str] = "race",
    strength: float = 0.1,
    conditional: bool = False,
    drop: Sequence[str] = (),
) -> Member:
    """Gradient reversal (Ganin et al. 2016): a linear adversary predicts the group, the features work against it.

    `conditional` tells the adversary the true class (equalized odds instead of demographic parity).
    """
    return _adversary(data, member, by, drop, heads.REVERSAL, strength, conditional=conditional)


@register(head=heads.ADVERSARY, moves_features=True)
def laftr(
    data: Annotations,
    member: Member,
    by: str | Sequence[str] = "race",
    strength: float = 1.0,
    conditional: bool = True,
    drop: Sequence[str] = (),
) -> Member:
    """LAFTR (Madras et al. 2018): the adversary minimises its own group-normalised objective, the features maximise it.

    Over G groups, 1 - p(group) stands for the binary l1 distance (ours).
    """
    return _adversary(data, member, by, drop, heads.LAFTR, strength, conditional=conditional)


@register(head=heads.AWARE, needs="train and test")
def attribute_aware(
    data: Annotations,
    member: Member,
    by: str | Sequence[str] = ("race", "gender", "age"),
    encoding: str = "one_hot",
    drop: Sequence[str] = (),
) -> Member:
    """Attributes through a linear layer, added to the features before the head (Xu et al. 2020).

    encoding='codes' gives the raw numbers 0, 1, 2 of the values, as the first study's code does. At test, images whose
    attributes are not known are predicted by the mean over groups, weighted by their share of the training set.
    """
    choice("encoding", encoding, ("one_hot", "codes"))
    groups = data.groups(by, drop)
    columns = columns_of(by)
    inputs = np.zeros_like(member.objective.reader.inputs)
    for g, values in enumerate(groups.names):
        place = 0
        for c, (column, value) in enumerate(zip(columns, values, strict=True)):
            vocabulary = data.vocabulary(column)
            code = vocabulary.index(value)
            if encoding == "codes":
                inputs[g, c] = code
            else:
                inputs[g, place + code] = 1
            place += len(vocabulary)
    shares = np.zeros_like(member.objective.reader.shares)
    shares[: len(groups.sizes)] = groups.sizes / max(groups.sizes.sum(), 1)
    reader = member.objective.reader.replace(inputs=inputs, shares=shares)
    return grouped(member, groups, reader=reader)
