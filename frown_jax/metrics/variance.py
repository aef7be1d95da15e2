"""Where the uncertainty of a mean over seeds comes from: the images, the seeds, and both together.

Seeds and images are crossed: every seed is tested on the same images. The variance of a mean over S seeds is

  images + seeds / S + both / S

(Owen 2007). Resampled images show the first and the last part, the spread over seeds the second and the last, so that
adding the two would count `both` twice; it is found apart, from how each seed's resamples move against the others'.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
from scipy import optimize, special

from frown_jax.metrics.reference import Variances

Array = np.ndarray
FEWEST_METHODS = 5  # from which on methods tell of each other's spread over seeds
MOST_BORROWED = 2  # times a method's own degrees of freedom


class Resampled:
    """What resamples of S seeds on the same images say, seed after seed.

    Attributes:
      mean: [B, Q], resamples of the mean over seeds; NaN where every seed is undefined.
      undefined: [Q], share of resamples in which the mean is undefined.
    """

    def __init__(self, blocks: Iterable[Array]):
        """Takes the resamples of each seed, [B, Q], in turn."""
        self._seeds = 0
        for block in blocks:
            if not self._seeds:
                total, count = np.zeros(block.shape), np.zeros(block.shape)
                self._own = np.zeros(block.shape[1])
            defined = ~np.isnan(block)
            total += np.where(defined, block, 0)
            count += defined
            self._own += _variance(block)
            self._seeds += 1
        self.mean = np.where(count > 0, total / np.maximum(count, 1), np.nan)
        self.undefined = (count == 0).mean(0)

    def variances(self, values: Array, df_images: Array) -> Variances:
        """The parts of the variance.

        Args:
          values: [S, Q], the seeds' own values.
          df_images: [Q], degrees of freedom of the variance over images: units less one.
        """
        images = _variance(self.mean)
        seeds = (~np.isnan(values)).sum(0)
        spread = np.where(seeds > 1, _variance(values), 0.0)
        both = np.maximum(self._own - self._seeds * images, 0) / max(self._seeds - 1, 1)
        both = np.where(seeds > 1, both, 0.0)
        return Variances(images, spread, both, seeds, np.maximum(seeds - 1, 0).astype(float), df_images)


def _variance(x: Array) -> Array:
    """Unbiased variance over axis 0 of what is defined; NaN with fewer than two values."""
    defined = ~np.isnan(x)
    count = defined.sum(0)
    mean = np.where(defined, x, 0).sum(0) / np.maximum(count, 1)
    squares = (np.where(defined, x - mean, 0) ** 2).sum(0)
    return np.where(count > 1, squares / np.maximum(count - 1, 1), np.nan)


def moderated(spread: Array, df: Array, shared: Array | None = None) -> tuple[Array, Array]:
    """Spreads over few seeds, steadied by those of the other methods (empirical Bayes; Smyth 2004).

    Variances of M methods with df degrees of freedom each are taken as draws around a common one; how alike the
    methods are is estimated too, so that methods that differ lend each other nothing. Two cautions beyond Smyth's: a
    spread is never made smaller than it was seen; and of differences from one control all share its luck, so that the
    less is lent the more of the spread is the control's: if a share r of it is, the mean of ever so many spreads is
    worth no more than df / r^2 degrees of freedom. Never more than MOST_BORROWED times a method's own are lent.

    Args:
      spread: [M, Q], variances over seeds.
      df: [M, Q], seeds less one.
      shared: [Q], the control's own variance over seeds, if the spreads are of differences from it.

    Returns:
      Variances and degrees of freedom, [M, Q]; as they came with fewer than FEWEST_METHODS methods.
    """
    out, lent = np.array(spread, np.float64), np.array(df, np.float64)
    if len(out) < FEWEST_METHODS:
        return out, lent
    for q in range(out.shape[1]):
        use = np.isfinite(out[:, q]) & (out[:, q] > 0) & (lent[:, q] > 0)
        if use.sum() < FEWEST_METHODS:
            continue
        own, s = lent[use, q], out[use, q]
        logs = np.log(s) - special.digamma(own / 2) + np.log(own / 2)
        # One standard error more than is seen: few methods may look more alike than they are.
        seen = logs.var(ddof=1) * (1 + np.sqrt(2 / (len(logs) - 1)))
        more = seen - special.polygamma(1, own / 2).mean()
        most = MOST_BORROWED
        if shared is not None:
            of_control = np.clip(shared[q] / s.mean(), 0.25, 1)
            most = min(most, 1 / of_control**2 - 1)
        prior = min(2 * _trigamma_inverse(more) if more > 0 else np.inf, most * own.min())
        if not prior > 0.1:
            continue
        common = np.exp(logs.mean() + special.digamma(prior / 2) - np.log(prior / 2))
        out[use, q] = np.maximum(s, (prior * common + own * s) / (prior + own))
        lent[use, q] = own + prior
    return out, lent


def _trigamma_inverse(y: float) -> float:
    if y > 1e4:
        return 1 / np.sqrt(y)
    return float(optimize.brentq(lambda x: special.polygamma(1, x) - y, 1e-3, 1e7)) if y > 1e-6 else np.inf
