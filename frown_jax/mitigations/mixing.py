"""Mixed training images."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from frown_jax.data.annotations import Annotations
from frown_jax.member.mixing import Mixing
from frown_jax.member.values import Member
from frown_jax.mitigations.registry import grouped, number, register


@register(needs="none")
def mixup(data: Annotations, member: Member, alpha: float = 0.2) -> Member:
    """Convex combinations of two images of a batch and of their losses (Zhang et al. 2018); alpha .1 to .4 there."""
    number("alpha", alpha, 0, above=True)
    return member.replace(mixing=Mixing(np.float32(alpha), np.float32(0), np.float32(0)))


@register(classes_only=True)
def lisa(
    data: Annotations,
    member: Member,
    by: str | Sequence[str] = "race",
    alpha: float = 2.0,
    same_label: float = 0.5,
    drop: Sequence[str] = (),
) -> Member:
    """LISA (Yao et al. 2022): partners of one class and different groups, or of one group and different classes.

    `same_label` is the probability of the first kind, drawn for every batch. An image for which the batch has no such
    partner stays as it is.
    """
    mixing = Mixing(
        np.float32(number("alpha", alpha, 0, above=True)),
        np.float32(1),
        np.float32(number("same_label", same_label, 0, 1)),
    )
    return grouped(member, data.groups(by, drop)).replace(mixing=mixing)
