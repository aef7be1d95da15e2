"""Which training images an epoch draws, and how often."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from frown_jax.data.annotations import Annotations, Groups
from frown_jax.errors import MitigationError
from frown_jax.member.sampling import Redraw
from frown_jax.member.values import Member
from frown_jax.mitigations.registry import choice, register

REPO_SEED = 42  # of the first study's resampling (custom_modules.py)
HOW = ("mean", "max", "min")


def draw(quotas: np.ndarray, groups: Groups, member: Member, redraw: bool, seed: int) -> Member:
    """An epoch of quotas[g] images of each group: without replacement if the group has so many, else with.

    Args:
      quotas: int [G].
      groups: of the training images; those in no group are not drawn.
      member: whose epochs it is.
      redraw: anew every epoch; else one draw for the whole run, the same as pandas' `sample(n, replace,
        random_state=seed)` per group, which is the first study's.
      seed: of the one draw.
    """
    sizes = groups.sizes
    quotas = np.where(sizes > 0, quotas, 0).astype(np.int64)
    if not quotas.sum():
        raise MitigationError("nothing is left to draw from")
    rows = [np.flatnonzero(groups.codes == g) for g in range(len(sizes))]
    parts = [
        pd.Series(r).sample(n=int(q), replace=bool(len(r) < q), random_state=seed).to_numpy()
        for r, q in zip(rows, quotas, strict=True)
        if q
    ]
    i = np.int32
    sampling = np.concatenate(parts).astype(i)
    # Images in no group come last and no place draws from them.
    key = np.where(groups.codes >= 0, groups.codes, len(sizes))
    order = np.argsort(key, kind="stable")
    start = np.cumsum(sizes) - sizes
    return member.replace(
        sampling=sampling,
        sampling_size=i(len(sampling)),
        redraw=Redraw(
            on=np.bool_(redraw),
            stratum=key[order].astype(i),
            order=order.astype(i),
            start=np.repeat(start, quotas).astype(i),
            size=np.repeat(np.maximum(sizes, 1), quotas).astype(i),
            rank=np.concatenate([np.arange(q) for q in quotas]).astype(i),
            short=np.repeat(sizes < quotas, quotas),
        ),
    )


def _groups(data: Annotations, by: str | Sequence[str], drop: Sequence[str]) -> Groups:
    groups = data.groups(by, drop)
    if (groups.sizes > 0).sum() < 2:
        raise MitigationError(f"by={by!r} has one group in the training images: there is nothing to balance")
    return groups


def quota(sizes: np.ndarray, how: str) -> int:
    """Images of each group after equalising: the mean (rounded down), largest or smallest size of those that exist."""
    present = sizes[sizes > 0]
    return {"mean": int(present.mean()), "max": int(present.max()), "min": int(present.min())}[how]


@register()
def equalise(
    data: Annotations,
    member: Member,
    by: str | Sequence[str] = "race",
    how: str = "mean",
    redraw: bool = False,
    drop: Sequence[str] = (),
    seed: int = REPO_SEED,
) -> Member:
    """Resampling of "Frowning upon Bias": every group as large as the mean, largest or smallest one.

    Larger groups are drawn from without replacement, smaller ones with (a pure bootstrap: originals may be missing),
    once before training as in the study's code, or anew every epoch (`redraw`). Epochs grow or shrink with the set, so
    that 'min' trains with up to 18 times fewer updates than 'max': `matched_steps` takes this confound out.
    """
    groups = _groups(data, by, drop)
    each = quota(groups.sizes, choice("how", how, HOW))
    return draw(np.full(len(groups.names), each), groups, member, redraw, seed)


@register()
def balanced_sampling(
    data: Annotations, member: Member, by: str | Sequence[str] = ("emotion", "race"), drop: Sequence[str] = ()
) -> Member:
    """Every group equally often in an epoch of the training set's size, anew every epoch (Idrissi et al. 2022)."""
    groups = _groups(data, by, drop)
    present = groups.sizes > 0
    each = np.where(present, max(1, int(groups.sizes.sum() / present.sum())), 0)
    return draw(each, groups, member, True, REPO_SEED)


@register()
def sqrt_sampling(
    data: Annotations, member: Member, by: str | Sequence[str] = ("emotion", "race"), drop: Sequence[str] = ()
) -> Member:
    """As balanced_sampling, but groups in proportion to the root of their size (Mahajan et al. 2018)."""
    groups = _groups(data, by, drop)
    root = np.sqrt(groups.sizes)
    each = np.where(groups.sizes > 0, np.maximum(1, np.round(groups.sizes.sum() * root / root.sum())), 0)
    return draw(each, groups, member, True, REPO_SEED)


@register()
def subg(
    data: Annotations,
    member: Member,
    by: str | Sequence[str] = ("emotion", "race"),
    redraw: bool = True,
    drop: Sequence[str] = (),
) -> Member:
    """Every group subsampled to the smallest one (SUBG; Sagawa et al. 2020b, Idrissi et al. 2022)."""
    groups = _groups(data, by, drop)
    return draw(np.full(len(groups.names), quota(groups.sizes, "min")), groups, member, redraw, REPO_SEED)


@register(needs="none")
def matched_steps(data: Annotations, member: Member) -> Member:
    """As many updates as the plain training set gives, whatever a resampled set's size: put it last.

    The learning rate's schedule, counted in epochs, then sees as many updates as ERM's. Places are repeated or left out
    at random, anew every epoch if the draw is.
    """
    count, have = len(data), int(member.sampling_size)
    rng = np.random.default_rng(REPO_SEED)
    places = np.concatenate([rng.permutation(have) for _ in range(-(-count // have))])[:count]
    r = member.redraw
    repeated = np.bincount(places, minlength=have)[places] > 1
    return member.replace(
        sampling=member.sampling[places],
        sampling_size=np.int32(count),
        redraw=r.replace(
            start=r.start[places], size=r.size[places], rank=r.rank[places], short=r.short[places] | repeated
        ),
    )
