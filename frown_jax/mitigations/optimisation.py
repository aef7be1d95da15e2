"""Which weights a run ends with: flatter ones, averages, those of a second stage."""

from __future__ import annotations

import numpy as np

from frown_jax.data.annotations import Annotations
from frown_jax.errors import MitigationError
from frown_jax.member import averaging
from frown_jax.member.values import Member
from frown_jax.mitigations.registry import number, register


def _count(name: str, value: object, least: int) -> np.int32:
    if not isinstance(value, int) or isinstance(value, bool) or value < least:
        raise MitigationError(f"{name} is {value!r}: a whole number from {least} up")
    return np.int32(value)


@register(needs="none", apart=True)
def sam(data: Annotations, member: Member, radius: float = 0.05) -> Member:
    """Sharpness-aware minimisation (Foret et al. 2021): the gradient at w + radius g / |g|; two passes a step.

    Running statistics of BatchNorm are those of the first pass. Trains in a program of its own, so that others do not
    pay for it.
    """
    return member.replace(sam_radius=np.float32(number("radius", radius, 0, above=True)))


@register(needs="none")
def swa(data: Annotations, member: Member, start: float = 0.75, rate: float = 0.5) -> Member:
    """Stochastic weight averaging (Izmailov et al. 2018): the mean of the weights after each epoch from `start` on.

    `start` is a share of the epochs, `rate` the share of the learning rate that is held from then on (0 keeps the
    schedule). BatchNorm's statistics are computed anew for the mean, on an epoch of training images. The mean predicts,
    whatever the best epoch was; patience may end a run before it begins, and the best epoch predicts then.
    """
    number("start", start, 0)
    if start >= 1:
        raise MitigationError(f"start is {start!r}: a share of the epochs, below 1")
    number("rate", rate, 0)
    own = averaging.nothing().replace(kind=np.int32(averaging.SWA), start=np.float32(start), rate=np.float32(rate))
    return member.replace(averaging=own)


@register(needs="none")
def swad(data: Annotations, member: Member, converge: int = 3, tolerance: int = 6, ratio: float = 0.3) -> Member:
    """SWAD (Cha et al. 2021): the mean of all steps' weights within the valley of the validation loss.

    The valley begins at the first epoch that the next `converge` - 1 do not better, and ends where the lowest of
    `tolerance` losses is above (1 + ratio) times the mean of those first ones (frown_jax/averaging.py). Published 3, 6,
    .3, with several evaluations an epoch; here one. Without a valley the best epoch predicts.
    """
    own = averaging.nothing().replace(
        kind=np.int32(averaging.SWAD),
        converge=_count("converge", converge, 1),
        tolerance=_count("tolerance", tolerance, 1),
        ratio=np.float32(number("ratio", ratio, 0)),
    )
    return member.replace(averaging=own)


@register(needs="none", classes_only=True)
def jtt(data: Annotations, member: Member, first: float = 0.5, factor: float = 10.0) -> Member:
    """Just Train Twice (Liu et al. 2021): what plain training gets wrong counts `factor` times in a second training.

    The first training lasts the share `first` of the epochs, the second all of them. SubpopBench's defaults; published
    1 to 60 epochs and factors 4 to 100. Factors are of mean 1 over the images, as in the paper's enlarged set.
    """
    number("first", first, 0, 1, above=True)
    epochs = max(1, round(first * int(member.epochs)))
    own = member.restart.replace(epochs=np.int32(epochs), factor=np.float32(number("factor", factor, 0, above=True)))
    return member.replace(restart=own)
