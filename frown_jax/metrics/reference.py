"""What a difference is measured against: one distribution for the interval, the p-value and the verdict.

An estimate is a mean over S training seeds on one set of images. Its variance is v_images + v_seeds / S: the first is
known well from many images, the second is what S seeds happen to show. With few seeds that can be far too little by
luck, so that a normal or a t reference with estimated degrees of freedom finds differences that are not there. Here
the variance over seeds is itself uncertain, as chi-square says it is:

  V = v_images + max(0, s^2 nu / chi^2_nu - v_both) / S,    p(x) = E[ 2 P(T_m > x / sqrt(V)) ]

s^2 is the variance of the estimate over seeds on these images, with nu degrees of freedom; v_both is the part of it
that comes of seed and image together and is in v_images already (Owen 2007); m are the degrees of freedom of v_images.
This is the generalised pivotal quantity of a random effects model (Iyer, Wang & Mathew 2004), which is Behrens and
Fisher's distribution when v_both is 0. The ends of an interval are where p(x) is 1 - level, so the two cannot disagree.
"""

from __future__ import annotations

import dataclasses

import numpy as np
from scipy import special

Array = np.ndarray
_NODES = np.linspace(0, 1, 72)  # of the sum over chi^2
_MANY = 1e6  # degrees of freedom that stand for a known variance
_STEPS = 26


@dataclasses.dataclass(frozen=True)
class Variances:
    """The variance of an estimate by what it comes of; arrays of one shape.

    Attributes:
      images: of the mean over these seeds, if other images had been drawn; what seed and image make together is in it.
      seeds: of one seed's value on these images, over seeds; 0 where one seed is all there is.
      both: the part of `seeds` that comes of seed and image together.
      count: S, seeds.
      df_seeds: degrees of freedom of `seeds`.
      df_images: degrees of freedom of `images`.
    """

    images: Array
    seeds: Array
    both: Array
    count: Array
    df_seeds: Array
    df_images: Array

    @property
    def of_seeds(self) -> Array:
        """What the choice of the seeds adds to the variance of the mean."""
        return np.where(self.count > 1, np.maximum(self.seeds - self.both, 0) / np.maximum(self.count, 1), 0.0)

    @property
    def total(self) -> Array:
        return self.images + self.of_seeds

    def at(self, where: Array) -> Variances:
        """Some of the estimates, by mask or position."""
        return Variances(*(getattr(self, f.name)[where] for f in dataclasses.fields(self)))


def _as_normal(squared: Array, df: Array) -> Array:
    """The normal deviate that a t deviate corresponds to (Wallace 1959), from its square."""
    return np.sqrt(df * np.log1p(squared / df)) * (8 * df + 1) / (8 * df + 3)


def p_value(distance: Array, v: Variances) -> Array:
    """Probability of a distance from the truth at least as large, two-sided.

    Args:
      distance: of the estimate from what is tested, any shape; the sign does not matter.
      v: of the same shape.

    Returns:
      0 to 1; NaN where the distance or a variance is, and where the estimate has no variance at all.
    """
    x = np.abs(np.asarray(distance, np.float64))
    out = np.full(x.shape, np.nan)
    fine = np.isfinite(x) & np.isfinite(v.total) & (v.total > 0)
    if fine.any():
        out[fine] = _p(x[fine], _prepared(v.at(fine)))
    return out


def reach(v: Variances, level: float = 0.95) -> Array:
    """How far on either side of the estimate the interval goes: the distance whose p-value is 1 - level.

    Args:
      v: of estimates, any shape.
      level: of confidence.

    Returns:
      Of the same shape; NaN where p_value is.
    """
    total = np.asarray(v.total, np.float64)
    out = np.full(total.shape, np.nan)
    fine = np.isfinite(total) & (total > 0)
    if not fine.any():
        return out
    prepared = _prepared(v.at(fine))
    low, high = np.zeros(int(fine.sum())), 2 * np.sqrt(total[fine])
    while (short := _p(high, prepared) > 1 - level).any():
        high = np.where(short, 2 * high, high)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        short = _p(middle, prepared) > 1 - level
        low, high = np.where(short, middle, low), np.where(short, high, middle)
    out[fine] = high
    return out


def _prepared(v: Variances) -> tuple[Array, Array, Array]:
    """Possible variances [E, nodes], their weights, and the degrees of freedom of the images [E, 1]."""
    df_images = np.clip(v.df_images, 1, _MANY)[:, None]
    alone = ~((v.count > 1) & (v.seeds > 0))
    if alone.all():
        return v.images[:, None], np.ones((len(v.images), 1)), df_images
    nu = np.where(alone, 1.0, np.clip(v.df_seeds, 1, _MANY))[:, None]
    # ln(chi^2 / nu) from where less than 1e-6 lies below to where less than that lies above.
    low, high = -(28 / nu + 8 * np.sqrt(2 / nu)), np.log1p(8 * np.sqrt(2 / nu) + 40 / nu)
    at = low + (high - low) * _NODES
    weights = np.exp(nu / 2 * (at - np.exp(at) + 1))
    weights /= weights.sum(1, keepdims=True)
    seeds = np.where(alone, 0.0, v.seeds)[:, None] / np.exp(at)
    seeds = np.maximum(seeds - v.both[:, None], 0) / np.maximum(v.count, 1)[:, None]
    return v.images[:, None] + np.where(alone[:, None], 0, seeds), weights, df_images


def _p(x: Array, prepared: tuple[Array, Array, Array]) -> Array:
    variances, weights, df = prepared
    with np.errstate(divide="ignore"):
        squared = x[:, None] ** 2 / variances
    squared = np.where(x[:, None] == 0, 0, np.minimum(squared, 1e30))
    return (2 * special.ndtr(-_as_normal(squared, df)) * weights).sum(1)
