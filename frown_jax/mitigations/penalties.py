"""Regularisers that pull groups together, with their coefficients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from frown_jax.data.annotations import Annotations
from frown_jax.member.penalties import PENALTIES
from frown_jax.member.values import Member
from frown_jax.mitigations.registry import grouped, number, register


def _penalised(name: str, data: Annotations, member: Member, by, weight: float, drop) -> Member:
    coefficients = np.array(member.objective.penalties, np.float32)
    coefficients[list(PENALTIES).index(name)] = number("weight", weight, 0)
    return grouped(member, data.groups(by, drop), penalties=coefficients)


@register()
def demographic_parity_gap(
    data: Annotations, member: Member, by: str | Sequence[str] = "race", weight: float = 10.0, drop: Sequence[str] = ()
) -> Member:
    """Adds weight times penalties.demographic_parity: predictions alike on average in every group."""
    return _penalised("demographic_parity", data, member, by, weight, drop)


@register()
def equal_opportunity_gap(
    data: Annotations, member: Member, by: str | Sequence[str] = "race", weight: float = 10.0, drop: Sequence[str] = ()
) -> Member:
    """Adds weight times penalties.equal_opportunity: the true class as probable in every group."""
    return _penalised("equal_opportunity", data, member, by, weight, drop)


@register()
def equalized_odds_gap(
    data: Annotations, member: Member, by: str | Sequence[str] = "race", weight: float = 10.0, drop: Sequence[str] = ()
) -> Member:
    """Adds weight times penalties.equalized_odds: predictions alike in every group, class by class."""
    return _penalised("equalized_odds", data, member, by, weight, drop)


@register(moves_features=True)
def hsic(
    data: Annotations, member: Member, by: str | Sequence[str] = "race", weight: float = 100.0, drop: Sequence[str] = ()
) -> Member:
    """Adds weight times penalties.hsic: features independent of the group (FairHSIC: Quadrianto et al. 2019)."""
    return _penalised("hsic", data, member, by, weight, drop)


@register(moves_features=True)
def mmd(
    data: Annotations, member: Member, by: str | Sequence[str] = "race", weight: float = 1.0, drop: Sequence[str] = ()
) -> Member:
    """Adds weight times penalties.mmd: one distribution of features in every group."""
    return _penalised("mmd", data, member, by, weight, drop)


@register()
def mindiff(
    data: Annotations, member: Member, by: str | Sequence[str] = "race", weight: float = 1.0, drop: Sequence[str] = ()
) -> Member:
    """Adds weight times penalties.mindiff: one distribution of the true class' probability in every group."""
    return _penalised("mindiff", data, member, by, weight, drop)


@register(moves_features=True)
def coral(
    data: Annotations, member: Member, by: str | Sequence[str] = "race", weight: float = 1.0, drop: Sequence[str] = ()
) -> Member:
    """Adds weight times penalties.coral: features with one mean and covariance in every group."""
    return _penalised("coral", data, member, by, weight, drop)
