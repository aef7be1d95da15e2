"""Is a difference more than chance? Tests on stored results. numpy in, numpy, floats or pandas out.

A value that cannot be computed (no pairs, no spread) is NaN, never 0 or 1.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

Array = np.ndarray


def holm(p_values: Array) -> Array:
    """Holm's step-down correction: familywise error without any assumption about dependence.

    Args:
      p_values: [H]; NaN entries are not hypotheses and stay NaN.

    Returns:
      Adjusted p-values, float64 [H], at most 1.

    >>> holm(np.array([0.01, 0.04, 0.03])).round(3).tolist()
    [0.03, 0.06, 0.06]
    """
    p = np.asarray(p_values, np.float64)
    out = np.full(p.shape, np.nan)
    tested = np.flatnonzero(np.isfinite(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    factors = np.arange(len(order), 0, -1)
    out[order] = np.minimum(np.maximum.accumulate(p[order] * factors), 1)
    return out


def benjamini_hochberg(p_values: Array) -> Array:
    """Benjamini and Hochberg's step-up correction: of what is called different, 5 % may be false.

    Args:
      p_values: [H]; NaN entries are not hypotheses and stay NaN.

    Returns:
      Adjusted p-values, float64 [H], at most 1.

    >>> benjamini_hochberg(np.array([0.01, 0.04, 0.03])).round(3).tolist()
    [0.03, 0.04, 0.04]
    """
    p = np.asarray(p_values, np.float64)
    out = np.full(p.shape, np.nan)
    tested = np.flatnonzero(np.isfinite(p))
    order = tested[np.argsort(p[tested], kind="stable")]
    scaled = p[order] * len(order) / np.arange(1, len(order) + 1)
    out[order] = np.minimum(np.minimum.accumulate(scaled[::-1])[::-1], 1)
    return out


def paired_permutation(differences: Array, resamples: int = 10_000, seed: int = 0) -> float:
    """Two-sided sign-flip test that paired differences are symmetric about 0.

    All 2^N flips are enumerated when there are at most `resamples` of them; otherwise flips are drawn and the
    observed one counts as one of them (Phipson & Smyth 2010), so that p is never 0.

    Args:
      differences: [N], method minus control on the same seed or image; NaN pairs are left out.
      resamples: flips.
      seed: of the draw.

    Returns:
      p-value; NaN without a pair.
    """
    d = np.asarray(differences, np.float64)
    d = d[np.isfinite(d)]
    if not len(d):
        return float("nan")
    seen = abs(d.sum())
    slack = 1e-12 * np.abs(d).sum()  # flips that give the same sum must count whatever the order of summation
    if len(d) < 40 and 2 ** len(d) <= resamples:
        signs = 1 - 2 * ((np.arange(2 ** len(d))[:, None] >> np.arange(len(d))) & 1)
        return float((np.abs(signs @ d) >= seen - slack).mean())
    rng = np.random.default_rng(seed)
    hits, left = 0, resamples
    while left:
        rows = min(left, max(1, 4_000_000 // len(d)))
        signs = 1 - 2 * rng.integers(0, 2, (rows, len(d)), np.int8)
        hits += int((np.abs(signs @ d) >= seen - slack).sum())
        left -= rows
    return (hits + 1) / (resamples + 1)


def wilcoxon(method: Array, control: Array) -> float:
    """Wilcoxon's signed-rank test over paired seeds, two-sided.

    Args:
      method, control: [S], the same seeds; NaN pairs are left out.

    Returns:
      p-value; exact for few seeds without ties. NaN if no pair differs.
    """
    a, b = _pairs(method, control)
    if not len(a) or (a == b).all():
        return float("nan")
    return float(stats.wilcoxon(a, b).pvalue)


def _pairs(a: Array, b: Array) -> tuple[Array, Array]:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape:
        raise ValueError(f"paired values have shapes {a.shape} and {b.shape}")
    both = np.isfinite(a) & np.isfinite(b)
    return a[both], b[both]


def cohens_d(method: Array, control: Array) -> float:
    """Cohen's d: difference of means over the pooled standard deviation (ddof 1).

    Args:
      method: [S]; NaN values are left out.
      control: [T].

    Returns:
      Positive if the method's mean is higher; NaN with fewer than two values of either, or no spread.
    """
    a, b = (np.asarray(v, np.float64) for v in (method, control))
    a, b = a[np.isfinite(a)], b[np.isfinite(b)]
    if len(a) < 2 or len(b) < 2:
        return float("nan")
    pooled = ((len(a) - 1) * a.var(ddof=1) + (len(b) - 1) * b.var(ddof=1)) / (len(a) + len(b) - 2)
    return float((a.mean() - b.mean()) / np.sqrt(pooled)) if pooled > 0 else float("nan")


_FEWEST_FOR_SPREAD = 3


def levene(method: Array, control: Array) -> float:
    """Brown-Forsythe's form of Levene's test (medians) that two methods vary alike relative to their means.

    Values are divided by their mean first, as Qian et al. 2021 do for seed-to-seed variance.

    Returns:
      p-value; NaN with fewer than three values of either (two lie equally far from their median, so that the test would
      see no variance to compare with), a zero mean, or where all values of a method lie equally far from their median,
      in both: there too is no variance to compare with.
    """
    groups = []
    for values in (method, control):
        v = np.asarray(values, np.float64)
        v = v[np.isfinite(v)]
        if len(v) < _FEWEST_FOR_SPREAD or v.mean() == 0:
            return float("nan")
        groups.append(v / v.mean())
    if all(np.ptp(np.abs(g - np.median(g))) < 1e-12 for g in groups):
        return float("nan")
    return float(stats.levene(*groups, center="median").pvalue)


class Friedman(NamedTuple):
    """Result of `friedman`."""

    statistic: float
    p_value: float
    mean_ranks: Array  # [M], 1 is best
    critical_difference: float  # Nemenyi's: mean ranks further apart than this differ


def friedman(values: Array, level: float = 0.95, higher_is_better: bool = True) -> Friedman:
    """Friedman's test over blocks, and Nemenyi's critical difference of mean ranks (Demsar 2006).

    With a control, comparisons of each method against it (Holm) have more power than all pairs.

    Args:
      values: [N, M], blocks (seeds, data sets) by methods; blocks with NaN are left out.
      level: 1 minus the familywise error of the critical difference.
      higher_is_better: which end gets rank 1.

    Returns:
      Ties get mean ranks. Statistic and p are NaN with fewer than two blocks or three methods, or if every block is
      tied throughout.
    """
    v = np.asarray(values, np.float64)
    if v.ndim != 2:
        raise ValueError(f"values have shape {v.shape}: blocks by methods are expected")
    v = v[np.isfinite(v).all(1)]
    blocks, methods = v.shape
    if not blocks:
        return Friedman(np.nan, np.nan, np.full(methods, np.nan), np.nan)
    ranks = stats.rankdata(-v if higher_is_better else v, axis=1)
    q = stats.studentized_range.ppf(level, methods, np.inf) / np.sqrt(2) if methods > 1 else np.nan
    difference = float(q * np.sqrt(methods * (methods + 1) / (6 * blocks)))
    if blocks < 2 or methods < 3 or (np.ptp(v, axis=1) == 0).all():
        return Friedman(np.nan, np.nan, ranks.mean(0), difference)
    found = stats.friedmanchisquare(*v.T)
    return Friedman(float(found.statistic), float(found.pvalue), ranks.mean(0), difference)


def against_control(table: pd.DataFrame, control: str, higher_is_better: bool = True) -> pd.DataFrame:
    """Every method against the control over paired seeds, for one metric.

    Args:
      table: columns method, seed, value, one row per run.
      control: its method's name.
      higher_is_better: whether a positive difference is a gain.

    Returns:
      One row per other method, in order of appearance: method, seeds (pairs), difference (mean of method minus
      control), gain (bool), sd (of the differences), cohens_d, p_permutation, p_wilcoxon, p_levene and
      p_permutation_holm, p_wilcoxon_holm (corrected over the methods).

    Raises:
      ValueError: a column is missing, the control is not there, or a run occurs twice.
    """
    for column in ("method", "seed", "value"):
        if column not in table:
            raise ValueError(f"the table has no column {column!r}")
    if table.duplicated(["method", "seed"]).any():
        row = table[table.duplicated(["method", "seed"])].iloc[0]
        raise ValueError(f"method {row['method']!r} has seed {row['seed']} twice")
    wide = table.pivot(index="seed", columns="method", values="value")
    if control not in wide:
        raise ValueError(f"there is no method {control!r}; there are {', '.join(map(str, wide.columns))}")
    rows = []
    for method in dict.fromkeys(table["method"]):
        if method == control:
            continue
        a, b = _pairs(wide[method].to_numpy(), wide[control].to_numpy())
        d = a - b
        mean = float(d.mean()) if len(d) else float("nan")
        rows.append(
            {
                "method": method,
                "seeds": len(d),
                "difference": mean,
                "gain": bool(mean > 0 if higher_is_better else mean < 0),
                "sd": float(d.std(ddof=1)) if len(d) > 1 else float("nan"),
                "cohens_d": cohens_d(a, b),
                "p_permutation": paired_permutation(d),
                "p_wilcoxon": wilcoxon(a, b),
                "p_levene": levene(a, b),
            }
        )
    out = pd.DataFrame(rows)
    for test in ("p_permutation", "p_wilcoxon"):
        if len(out):
            out[f"{test}_holm"] = holm(out[test].to_numpy())
    return out
