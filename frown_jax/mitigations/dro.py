"""How the losses of a batch become one: the worst group's, the highest ones, and penalties between groups."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from frown_jax.data.annotations import Annotations
from frown_jax.member.values import Member
from frown_jax.mitigations.registry import grouped, number, register


@register()
def group_dro(
    data: Annotations,
    member: Member,
    by: str | Sequence[str] = ("emotion", "race"),
    rate: float = 0.01,
    adjustment: float = 0.0,
    drop: Sequence[str] = (),
) -> Member:
    """GroupDRO (Sagawa et al. 2020): sum_g q_g L_g, q_g growing with exp(rate (L_g + adjustment / sqrt(n_g))).

    Published with strong weight decay and group-balanced batches: '+ balanced_sampling(by=...)'. Class weights and
    example weights enter the groups' losses.
    """
    groups = data.groups(by, drop)
    size = np.maximum(groups.sizes, 1)
    extra = np.zeros(len(member.objective.dro_adjustment), np.float32)
    extra[: len(size)] = number("adjustment", adjustment, 0) / np.sqrt(size)
    number("rate", rate, 0, above=True)
    return grouped(member, groups, dro_rate=np.float32(rate), dro_adjustment=extra)


@register(needs="none")
def cvar_dro(data: Annotations, member: Member, alpha: float = 0.2) -> Member:
    """Mean of the highest `alpha` share of a batch's losses (CVaR; Levy et al. 2020). No attributes."""
    objective = member.objective.replace(cvar=np.float32(number("alpha", alpha, 0, 1, above=True)))
    return member.replace(objective=objective)
