"""Looks at data that grow: how much of the error may be spent at each, and p-values that hold whenever one stops.

A difference is looked at after 4, 8, 16, ... seeds. Testing each time at 5 % would find something in well over 5 % of
the cases where there is nothing. Here the 5 % is divided over the looks by a spending function (Lan & DeMets 1983) of
O'Brien and Fleming's kind (1979), which spends little while little is known.
"""

from __future__ import annotations

import numpy as np
from scipy import stats

Array = np.ndarray
_POINTS = 301  # of the grid on which paths are followed
_REACH = 8.5  # standard deviations that the grid reaches
_HALVINGS = 22
_SMALLEST = 1e-12
_RISE = 1.01  # a look at hardly more information than the one before spends nothing


def spent(alpha: float | Array, information: float | Array) -> Array:
    """How much of a two-sided error `alpha` may be spent by the time that a share of the information is there.

    Args:
      alpha: 0 to 1.
      information: share of what there will be at the last look, above 0 and at most 1.

    Returns:
      2 - 2 Phi(z / sqrt(information)), z the normal quantile of 1 - alpha / 2; `alpha` at 1.

    >>> spent(0.05, np.array([0.25, 0.5, 1.0])).round(4).tolist()
    [0.0001, 0.0056, 0.05]
    """
    z = stats.norm.isf(np.asarray(alpha, np.float64) / 2)
    return 2 * stats.norm.sf(z / np.sqrt(np.asarray(information, np.float64)))


_SCORES = np.linspace(-_REACH, _REACH, _POINTS)
_WIDTH = _SCORES[1] - _SCORES[0]


def _spending(information: Array) -> Array:
    """Which looks spend error, bool [L]: those whose information has risen since the last that did."""
    out, last = [], 0.0
    for time in information:
        out.append(time >= _RISE * last)
        last = time if out[-1] else last
    return np.array(out)


def _transitions(information: Array) -> list[Array]:
    """How standard scores of a Brownian motion move from look to look: [points, points] each, the first [points, 1].

    Entries times the mass that is at an old score are the mass that comes to a new one.
    """
    out, values, before = [], np.zeros(1), 0.0
    for time in information:
        step, own = np.sqrt(max(time - before, 1e-12)), _SCORES * np.sqrt(time)
        moves = (own[:, None] - values) / step
        out.append(np.exp(-0.5 * moves**2) / (step * np.sqrt(2 * np.pi)) * (own[1] - own[0]))
        values, before = own, time
    return out


def _inside(bound: float) -> Array:
    """The share of each cell of the grid that lies within a bound; one that the bound cuts counts in part."""
    return np.clip((bound - np.abs(_SCORES)) / _WIDTH + 0.5, 0, 1)


def _bound(mass: Array, error: float) -> float:
    """The standard score beyond which `error` of the mass lies on both sides."""
    half = _POINTS // 2
    both = mass[half:] + mass[half::-1]  # by distance from 0, the middle twice
    both[0] /= 2
    beyond = np.cumsum(both[::-1])[::-1]  # beyond the inner edge of each cell
    return float(np.interp(-error, -beyond, _SCORES[half:] - _WIDTH / 2))


def _follow(alpha: float, information: Array, transitions: list[Array]) -> tuple[list[float], Array, float]:
    """The bounds of all looks but the last, the mass that comes to the last, and the error spent before it."""
    found, mass, before = [], np.ones(1), 0.0
    for time, transition in zip(information[:-1], transitions[:-1], strict=True):
        arrived = transition @ mass
        so_far = float(spent(alpha, time))
        found.append(_bound(arrived, max(so_far - before, 0.0)))
        mass, before = arrived * _inside(found[-1]), so_far
    return found, transitions[-1] @ mass, before


def bounds(alpha: float, information: Array) -> Array:
    """The standard scores that end a two-sided test at each look.

    Args:
      alpha: two-sided error over all looks, 0 to 1.
      information: [L], rising shares, at most 1.

    Returns:
      float64 [L]; infinite at a look whose information is less than 1 % more than that of the look before.
    """
    time = np.asarray(information, np.float64)
    spends, out = _spending(time), np.full(len(time), np.inf)
    time = time[spends]
    found, mass, before = _follow(alpha, time, _transitions(time))
    out[spends] = [*found, _bound(mass, max(float(spent(alpha, time[-1])) - before, 0.0))]
    return out


def sequential_p(p_values: Array, information: Array) -> Array:
    """The smallest error at which a two-sided test that looks as often as this would have ended by now.

    It may be corrected over several hypotheses as any p-value (Holm), at every look again (Maurer & Bretz 2013).

    Args:
      p_values: [L] of one hypothesis, two-sided, each from all the data of its look; NaN where there was none.
      information: [L], share of the information of the last look that is planned, rising, at most 1.

    Returns:
      float64 [L]: after each look; it never rises. With one look of all information, the p-value itself.

    >>> sequential_p(np.array([0.03]), np.array([1.0])).round(3).tolist()
    [0.03]
    """
    p = np.where(np.isnan(p_values), 1.0, p_values)
    time = np.asarray(information, np.float64)
    if (np.diff(time) < 0).any() or (time <= 0).any() or (time > 1 + 1e-9).any():
        raise ValueError(f"information is {time.tolist()}: shares that rise, above 0 and at most 1")
    spends, found = _spending(time), np.ones(len(p))
    for look in np.flatnonzero(spends):
        seen = spends[: look + 1]
        found[look] = _smallest(p[: look + 1][seen], time[: look + 1][seen])
    return np.minimum.accumulate(found)


def _smallest(p: Array, time: Array) -> float:
    """The smallest error at which the last look of these ends the test, if none before it has."""
    if len(time) == 1:  # solved by hand: spent(alpha, t) = p
        return float(2 * stats.norm.sf(stats.norm.isf(np.clip(p[0], 1e-300, 1) / 2) * np.sqrt(time[0])))
    score, transitions = float(stats.norm.isf(np.clip(p[-1], 1e-300, 1) / 2)), _transitions(time)

    def ends(alpha: float) -> bool:
        _, mass, before = _follow(alpha, time, transitions)
        return float((mass * (1 - _inside(score))).sum()) <= float(spent(alpha, time[-1])) - before

    low, high = np.log(_SMALLEST), 0.0
    if ends(_SMALLEST):
        return _SMALLEST
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if ends(float(np.exp(middle))) else (middle, high)
    return float(np.exp(high))
