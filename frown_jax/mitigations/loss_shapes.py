"""The shape of the loss: which logits it sees, which examples it looks at."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from frown_jax.data.annotations import Annotations, cells
from frown_jax.member.values import Member
from frown_jax.mitigations.registry import number, register


def _counts(data: Annotations) -> np.ndarray:
    return np.bincount(data.labels, minlength=len(data.classes)).astype(np.float64)


def _objective(member: Member, **changes) -> Member:
    return member.replace(objective=member.objective.replace(**changes))


@register(needs="none")
def focal(data: Annotations, member: Member, gamma: float = 2.0) -> Member:
    """(1 - p_y)^gamma times the cross-entropy (Lin et al. 2017): easy examples count less."""
    return _objective(member, focal=np.float32(number("gamma", gamma, 0)))


@register(needs="none", classes_only=True)
def ldam(data: Annotations, member: Member, margin: float = 0.5, scale: float = 1.0) -> Member:
    """Label-distribution-aware margins (Cao et al. 2019): margin n_min^(1/4) / n_y^(1/4) taken from the true logit.

    The rarest class gets `margin`. The paper scales by 30 logits of a head with unit features and weights, which our
    heads are not (nor SubpopBench's): the default scale is 1.
    """
    number("margin", margin, 0)
    n = np.maximum(_counts(data), 1)
    margins = margin * (n.min() / n) ** 0.25
    number("scale", scale, 0, above=True)
    return _objective(member, margins=margins.astype(np.float32), scale=np.float32(scale))


@register(needs="none", classes_only=True)
def logit_adjustment(data: Annotations, member: Member, tau: float = 1.0) -> Member:
    """Cross-entropy of z + tau log P(y) (Menon et al. 2021); tau=1 is balanced softmax (Ren et al. 2020)."""
    number("tau", tau, 0)
    offsets = member.objective.offsets
    prior = np.log(np.maximum(_counts(data), 0.5) / len(data))
    return _objective(member, offsets=(offsets + tau * prior).astype(np.float32))


@register(classes_only=True)
def group_logit_adjustment(
    data: Annotations, member: Member, by: str | Sequence[str] = "race", tau: float = 1.0, drop: Sequence[str] = ()
) -> Member:
    """Logit adjustment by the prior of the image's own group, z + tau log P(y | a) (ours).

    One image is added to every class of a group, so that a class that it lacks has a finite prior; images in no group
    are adjusted by P(y).
    """
    number("tau", tau, 0)
    groups = data.groups(by, drop)
    count = 1 + cells(groups, data.labels, len(data.classes))
    offsets = np.array(member.objective.offsets, np.float64)
    offsets[: len(count)] += tau * np.log(count / count.sum(1, keepdims=True))
    offsets[-1] += tau * np.log(np.maximum(_counts(data), 0.5) / len(data))
    return _objective(member, offsets=offsets.astype(np.float32)).replace(groups=groups.codes)
