"""How the losses of a batch become one: the worst group's, the highest ones, and penalties between groups."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from frown_jax.mitigations.registry import Values, number, register
from frown_jax.penalties import PENALTIES
from frown_jax.training_set import Groups, MitigationError, TrainingSet


def grouped(member: Values, groups: Groups, **changes) -> Values:
    """Gives the objective its groups.

    Raises:
      MitigationError: another mitigation of the same run has given it other groups.
    """
    before = np.asarray(member["groups"])
    if (before >= 0).any() and (before != groups.codes).any():
        raise MitigationError("another mitigation of this run looks at other groups: give both the same `by`")
    objective = member["objective"]
    sizes = np.zeros(len(objective.group_sizes), np.float32)
    sizes[: len(groups.sizes)] = groups.sizes
    return member | {"groups": groups.codes, "objective": objective.replace(group_sizes=sizes, **changes)}


@register()
def group_dro(
    data: TrainingSet,
    member: Values,
    by: str | Sequence[str] = ("emotion", "race"),
    rate: float = 0.01,
    adjustment: float = 0.0,
    drop: Sequence[str] = (),
) -> Values:
    """GroupDRO (Sagawa et al. 2020): sum_g q_g L_g, q_g growing with exp(rate (L_g + adjustment / sqrt(n_g))).

    Published with strong weight decay and group-balanced batches: '+ balanced_sampling(by=...)'. Class weights and
    example weights enter the groups' losses.
    """
    groups = data.groups(by, drop)
    size = np.maximum(groups.sizes, 1)
    extra = np.zeros(len(member["objective"].dro_adjustment), np.float32)
    extra[: len(size)] = number("adjustment", adjustment, 0) / np.sqrt(size)
    number("rate", rate, 0, above=True)
    return grouped(member, groups, dro_rate=np.float32(rate), dro_adjustment=extra)


@register(needs="none")
def cvar_dro(data: TrainingSet, member: Values, alpha: float = 0.2) -> Values:
    """Mean of the highest `alpha` share of a batch's losses (CVaR; Levy et al. 2020). No attributes."""
    objective = member["objective"].replace(cvar=np.float32(number("alpha", alpha, 0, 1, above=True)))
    return member | {"objective": objective}


def _penalised(name: str, data: TrainingSet, member: Values, by, weight: float, drop) -> Values:
    coefficients = np.array(member["objective"].penalties, np.float32)
    coefficients[list(PENALTIES).index(name)] = number("weight", weight, 0)
    return grouped(member, data.groups(by, drop), penalties=coefficients)


@register()
def demographic_parity_gap(
    data: TrainingSet, member: Values, by: str | Sequence[str] = "race", weight: float = 10.0, drop: Sequence[str] = ()
) -> Values:
    """Adds weight times penalties.demographic_parity: predictions alike on average in every group."""
    return _penalised("demographic_parity", data, member, by, weight, drop)


@register()
def equal_opportunity_gap(
    data: TrainingSet, member: Values, by: str | Sequence[str] = "race", weight: float = 10.0, drop: Sequence[str] = ()
) -> Values:
    """Adds weight times penalties.equal_opportunity: the true class as probable in every group."""
    return _penalised("equal_opportunity", data, member, by, weight, drop)


@register()
def equalized_odds_gap(
    data: TrainingSet, member: Values, by: str | Sequence[str] = "race", weight: float = 10.0, drop: Sequence[str] = ()
) -> Values:
    """Adds weight times penalties.equalized_odds: predictions alike in every group, class by class."""
    return _penalised("equalized_odds", data, member, by, weight, drop)


@register(moves_features=True)
def hsic(
    data: TrainingSet, member: Values, by: str | Sequence[str] = "race", weight: float = 100.0, drop: Sequence[str] = ()
) -> Values:
    """Adds weight times penalties.hsic: features independent of the group (FairHSIC: Quadrianto et al. 2019)."""
    return _penalised("hsic", data, member, by, weight, drop)


@register(moves_features=True)
def mmd(
    data: TrainingSet, member: Values, by: str | Sequence[str] = "race", weight: float = 1.0, drop: Sequence[str] = ()
) -> Values:
    """Adds weight times penalties.mmd: one distribution of features in every group."""
    return _penalised("mmd", data, member, by, weight, drop)


@register()
def mindiff(
    data: TrainingSet, member: Values, by: str | Sequence[str] = "race", weight: float = 1.0, drop: Sequence[str] = ()
) -> Values:
    """Adds weight times penalties.mindiff: one distribution of the true class' probability in every group."""
    return _penalised("mindiff", data, member, by, weight, drop)


@register(moves_features=True)
def coral(
    data: TrainingSet, member: Values, by: str | Sequence[str] = "race", weight: float = 1.0, drop: Sequence[str] = ()
) -> Values:
    """Adds weight times penalties.coral: features with one mean and covariance in every group."""
    return _penalised("coral", data, member, by, weight, drop)
