"""Accuracy of small cells, which borrow strength from the others.

Three images of elderly Asian women, all right, say little: Wilson's interval is [0.44, 1]. What the model does with
other elderly people, other Asian people and other women says something too. The model of all cells together:

    right_c ~ Binomial(n_c, logistic(intercept + main effects of the cell's groups + u_c)),   u_c ~ Normal(0, spread^2)

Main effects are Normal(0, 1) for each group, sum to zero over an attribute's groups, and are left out where there is
one attribute (they would be the cells themselves); intercept ~ Normal(0, 2.5^2); spread ~ half-Normal(0, 1). See Gelman
& Hill 2007, chapter 14, and Ghitza & Gelman 2013 for the same model of survey cells.

The posterior is computed without Markov chains. Given intercept, main effects and spread, cells are independent, and
each u_c is integrated over a grid about its mode. What is left has few dimensions: it is sampled from a t distribution
about its mode, with importance weights. `efficiency` says how good that was.
"""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
from scipy import optimize, special, stats

from frown_jax.errors import OutcomesError
from frown_jax.metrics.bootstrap import members_of
from frown_jax.metrics.intervals import wilson
from frown_jax.metrics.outcomes import Outcomes
from frown_jax.metrics.plan import grouping

Array = np.ndarray
_INTERCEPT_SD, _EFFECT_SD, _SPREAD_SCALE = 2.5, 1.0, 1.0
# Of the grid over u_c, in standard deviations about its mode: sums need few nodes, draws more.
_SUMMED, _DRAWN = np.linspace(-7.2, 7.2, 25), np.linspace(-7.5, 7.5, 51)
_FREEDOM = 6  # degrees of freedom of the proposal
_PILOT = 1000  # draws from which the proposal is improved
_AT_ONCE = 1_000_000  # numbers in an array
_NEWTON_STEPS = 10


@dataclasses.dataclass(frozen=True)
class Posterior:
    """Draws of the posterior, equally weighted.

    Attributes:
      accuracy: [S, C], of each cell, 0 to 1.
      spread: [S], standard deviation of the cells' own effects, on the logit scale.
      efficiency: effective share of the draws before they were weighted, 0 to 1. Under 0.05 the numbers are rough.
    """

    accuracy: Array
    spread: Array
    efficiency: float


def design(levels: Array) -> Array:
    """Columns for the intercept and the main effects, [C, 1 + sum of (groups - 1)].

    Args:
      levels: int [C, A], the group of each cell in each attribute.

    Returns:
      Contrasts such that independent Normal(0, 1) coefficients are effects that sum to zero over an attribute's groups
      and treat all groups alike. With one attribute the intercept alone.
    """
    columns = [np.ones((len(levels), 1))]
    for own in levels.T if levels.shape[1] > 1 else ():
        groups = int(own.max()) + 1
        if groups > 1:
            contrasts = np.linalg.svd(np.eye(groups) - 1 / groups)[0][:, : groups - 1]
            columns.append(contrasts[own])
    return np.concatenate(columns, 1)


@dataclasses.dataclass(frozen=True)
class _Model:
    """Counts and design; theta is [..., d]: coefficients and the log of the spread."""

    count: Array
    right: Array
    columns: Array

    @property
    def _prior_sd(self) -> Array:
        return np.concatenate([[_INTERCEPT_SD], np.full(self.columns.shape[1] - 1, _EFFECT_SD)])

    def _grid(self, theta: Array, nodes: Array) -> tuple[Array, Array, Array, Array]:
        """(u [D, C, nodes], log density, step [D, C], spread [D, 1]) of each cell's own effect."""
        base, spread = theta[:, :-1] @ self.columns.T, np.exp(theta[:, -1:])
        n, k = self.count, self.right
        precision = 1 / spread**2
        # Newton's method begins where data and prior, as normal ones, would have the mode.
        share = (k + 0.5) / (n + 1)
        info = n * share * (1 - share)
        x = (info * special.logit(share) + precision * base) / (info + precision)
        for _ in range(_NEWTON_STEPS):
            p = special.expit(x)
            bend = n * p * (1 - p) + precision
            x = x + np.clip((k - n * p - (x - base) * precision) / bend, -1.5, 1.5)
        p = special.expit(x)
        width = 1 / np.sqrt(n * p * (1 - p) + precision)
        eta = x[..., None] + width[..., None] * nodes
        softplus = np.maximum(eta, 0) + np.log1p(np.exp(-np.abs(eta)))
        u = eta - base[..., None]
        density = k[:, None] * eta - n[:, None] * softplus - 0.5 * precision[..., None] * u**2
        return u, density, width * (nodes[1] - nodes[0]), spread

    def log_posterior(self, theta: Array) -> tuple[Array, Array]:
        """Values [D] and gradients [D, d] at theta [D, d], up to a constant."""
        parts = [self._log_posterior(t) for t in self._chunks(theta)]
        return np.concatenate([v for v, _ in parts]), np.concatenate([g for _, g in parts])

    def _chunks(self, theta: Array) -> list[Array]:
        at_once = max(1, _AT_ONCE // (max(len(self.count), 1) * len(_DRAWN)))
        return [theta[i : i + at_once] for i in range(0, len(theta), at_once)]

    def _log_posterior(self, theta: Array) -> tuple[Array, Array]:
        u, density, step, spread = self._grid(theta, _SUMMED)
        top = density.max(-1, keepdims=True)
        mass = np.exp(density - top)
        total = mass.sum(-1)
        cells = np.log(total * step / spread) + top[..., 0]
        first, second = ((mass * u**power).sum(-1) / total for power in (1, 2))
        scaled = theta[:, :-1] / self._prior_sd
        log_spread = theta[:, -1]
        value = cells.sum(-1) - 0.5 * (scaled**2).sum(-1) - 0.5 * (spread[:, 0] / _SPREAD_SCALE) ** 2 + log_spread
        slope = (first / spread**2) @ self.columns - scaled / self._prior_sd
        of_spread = (second / spread**2 - 1).sum(-1) - (spread[:, 0] / _SPREAD_SCALE) ** 2 + 1
        return value, np.concatenate([slope, of_spread[:, None]], 1)

    def effects(self, theta: Array, rng: np.random.Generator) -> Array:
        """A draw of each cell's own effect given theta, [D, C]: the grid's distribution function, inverted."""
        parts = []
        for chunk in self._chunks(theta):
            u, density, step, _ = self._grid(chunk, _DRAWN)
            mass = np.exp(density - density.max(-1, keepdims=True))
            below = np.cumsum((mass[..., 1:] + mass[..., :-1]) / 2, -1)
            wanted = rng.random(below.shape[:2])[..., None] * below[..., -1:]
            at = np.minimum((below < wanted).sum(-1), len(_DRAWN) - 2)[..., None]
            before = np.where(at > 0, np.take_along_axis(below, np.maximum(at - 1, 0), -1), 0.0)
            piece = np.maximum(np.take_along_axis(below, at, -1) - before, 1e-300)
            left = np.take_along_axis(u, at, -1)
            parts.append((left + step[..., None] * np.clip((wanted - before) / piece, 0, 1))[..., 0])
        return np.concatenate(parts)

    def mode(self) -> tuple[Array, Array]:
        """The posterior mode of theta, and the covariance of the normal about it."""
        d = self.columns.shape[1] + 1
        start = np.zeros(d)
        start[0] = special.logit((self.right.sum() + 1) / (self.count.sum() + 2))
        start[-1] = np.log(0.3)

        def descent(theta: Array) -> tuple[float, Array]:
            value, slope = self.log_posterior(np.clip(theta, -30, 5)[None])
            return -float(value[0]), -slope[0]

        at = optimize.minimize(descent, start, jac=True, method="L-BFGS-B").x
        nudge = 1e-3 * np.eye(d)
        slopes = self.log_posterior(np.concatenate([at + nudge, at - nudge]))[1]
        bend = (slopes[d:] - slopes[:d]) / 2e-3
        values, vectors = np.linalg.eigh((bend + bend.T) / 2)
        return at, (vectors / np.maximum(values, 0.1)) @ vectors.T


def posterior(count: Array, right: Array, levels: Array, draws: int = 2000, seed: int = 0) -> Posterior:
    """Draws of every cell's accuracy.

    Args:
      count: [C], at least 0; an effective number need not be whole. A cell of 0 is predicted from the others.
      right: [C], 0 to count.
      levels: int [C, A], the group of each cell in each attribute.
      draws: S.
      seed: of the draws.

    Raises:
      OutcomesError: no cell has an image, or a count is impossible.
    """
    n, k, levels = np.asarray(count, np.float64), np.asarray(right, np.float64), np.asarray(levels, np.int64)
    if not (n > 0).any():
        raise OutcomesError("no cell has an image: there is nothing to learn from")
    if (n < 0).any() or (k < 0).any() or (k > n).any():
        raise OutcomesError("right answers must lie between 0 and the number of images, in every cell")
    everywhere, full = design(levels), n > 0
    model = _Model(n[full], k[full], everywhere[full])
    rng = np.random.default_rng(seed)
    centre, covariance = model.mode()
    pilot, weights = _weighted(model, centre, covariance, min(draws, _PILOT), rng)
    kept = np.minimum(weights, np.quantile(weights, 0.99))  # one heavy draw must not set the proposal
    kept = kept / kept.sum()
    centre = kept @ pilot
    covariance = (pilot - centre).T @ ((pilot - centre) * kept[:, None]) + 1e-6 * np.eye(len(centre))
    theta, weights = _weighted(model, centre, covariance, draws, rng)
    # Systematic resampling: equal weights, with the least noise of their own.
    places = np.searchsorted(np.cumsum(weights), (rng.random() + np.arange(draws)) / draws * (1 - 1e-12))
    theta = theta[np.minimum(places, draws - 1)]
    own = rng.normal(size=(draws, len(n))) * np.exp(theta[:, -1:])
    own[:, full] = model.effects(theta, rng)
    accuracy = special.expit(theta[:, :-1] @ everywhere.T + own)
    return Posterior(accuracy, np.exp(theta[:, -1]), float(1 / (weights**2).sum() / draws))


def _weighted(
    model: _Model, centre: Array, covariance: Array, draws: int, rng: np.random.Generator
) -> tuple[Array, Array]:
    """Draws of a t distribution, and their importance weights, which sum to 1."""
    proposal = stats.multivariate_t(centre, covariance, df=_FREEDOM, seed=rng)
    theta = proposal.rvs(draws).reshape(draws, -1)
    theta[:, -1] = np.clip(theta[:, -1], -20, 4)
    log_weights = model.log_posterior(theta)[0] - proposal.logpdf(theta)
    weights = np.exp(log_weights - log_weights.max())
    return theta, weights / weights.sum()


def effective_counts(
    right: Array, codes: Array, cells: int, subjects: Array | None = None, shared: bool = True
) -> tuple[Array, Array, Array]:
    """Images, effective images and accuracy of each cell, [C] each.

    An effective image is worth one independent answer of one run. Frames of one person are worth less (Kish 1965: n /
    (1 + (b - 1) rho), b the frames a person and rho their correlation, which is estimated from all cells together), and
    at most as much as there are people. Runs that differ take more away: the variance of their mean is added, with a t
    factor for how few they are.

    Args:
      right: [R, N], 0 to 1: whether each run is right about each image.
      codes: int [N], the cell of each image; others than 0 to C - 1 are in none.
      cells: C.
      subjects: int [N]; None if every image is of somebody else.
      shared: whether what a run moves all cells by together counts; `moved_together` adds it otherwise.

    Returns:
      n, effective n and the mean over runs; NaN where a cell is empty.
    """
    inside = (codes >= 0) & (codes < cells)
    right, codes = np.asarray(right, np.float64)[:, inside], codes[inside]
    person = np.arange(len(codes)) if subjects is None else np.asarray(subjects)[inside]
    n = np.bincount(codes, minlength=cells).astype(np.float64)
    safe = np.maximum(n, 1)
    per_run = np.stack([np.bincount(codes, weights=r, minlength=cells) for r in right]) / safe
    mean = per_run.mean(0)
    people, weight = _people(right.mean(0) - mean[codes], codes, cells, person, mean)
    out = np.minimum(n / weight, people)
    if len(right) > 1:
        out = _with_runs(out, right, per_run, codes, n, mean, shared)
    return n, np.where(n > 0, out, 0.0), np.where(n > 0, mean, np.nan)


def _people(residual: Array, codes: Array, cells: int, person: Array, mean: Array) -> tuple[Array, Array]:
    """How many people a cell has, and by how much frames of one person inflate its variance, [C] each."""
    clusters, of_image = np.unique(np.stack([codes, person]), axis=1, return_inverse=True)
    of_image, cell = of_image.ravel(), clusters[0]
    size = np.bincount(of_image).astype(np.float64)
    people = np.bincount(cell, minlength=cells).astype(np.float64)
    n = np.bincount(cell, weights=size, minlength=cells)
    squares = np.bincount(cell, weights=size**2, minlength=cells)
    frames = np.divide(squares, n, out=np.ones(cells), where=n > 0)  # a person's frames, as an image sees them
    if (size == 1).all():
        return people, np.ones(cells)
    several = people > 1
    correction = np.divide(people, people - 1, out=np.zeros(cells), where=several)
    observed = np.bincount(cell, weights=np.bincount(of_image, weights=residual) ** 2, minlength=cells) @ correction
    alone = (n * mean * (1 - mean)) @ correction
    within = (squares * mean * (1 - mean)) @ correction
    rho = 1.0 if within <= alone else float(np.clip((observed - alone) / (within - alone), 0, 1))
    return people, 1 + (frames - 1) * rho


def shared_variance(right: Array) -> float:
    """Variance of the mean over runs that comes of what each run moves all images by together, of right [R, N]."""
    runs, n = right.shape
    if runs < 2 or not n:
        return 0.0
    by_chance = float(right.var(0, ddof=1).sum()) / n**2
    return max(float(right.mean(1).var(ddof=1)) - by_chance, 0.0) / runs


def moved_together(accuracy: Array, shared: float, runs: int, rng: np.random.Generator) -> Array:
    """Draws [S, C] of cells' accuracies, with what all of them may be off by together because runs are few.

    Args:
      accuracy: draws that know nothing of it.
      shared: of `shared_variance`.
      runs: from which that was estimated.
      rng: of the draws.
    """
    if not shared:
        return accuracy
    freedom = (runs - 1) * ((accuracy.var(0) + shared) / shared) ** 2
    factor = stats.t.ppf(0.975, freedom) / stats.norm.ppf(0.975)
    overall = float(accuracy.mean())
    shift = rng.normal(size=(len(accuracy), 1)) * np.sqrt(shared) * factor / max(overall * (1 - overall), 0.01)
    return special.expit(special.logit(np.clip(accuracy, 1e-9, 1 - 1e-9)) + shift)


def _with_runs(
    effective: Array, right: Array, per_run: Array, codes: Array, n: Array, mean: Array, shared: bool
) -> Array:
    """Effective counts that also know that another training run would give other answers."""
    runs = len(right)
    # What runs differ by beyond what they would for these images alone, each with its own chance.
    chance = np.bincount(codes, weights=right.var(0, ddof=1), minlength=len(n)) / np.maximum(n, 1) ** 2
    between = max(float((n * (per_run.var(0, ddof=1) - chance)).sum() / n.sum()), 0.0) / runs
    if not shared:
        between = max(between - shared_variance(right), 0.0)
    full = effective > 0
    one = (mean * n + 1) / (n + 2)
    one = one * (1 - one)  # a cell that is all right still has a variance
    images = np.divide(one, effective, out=np.ones(len(n)), where=full)
    total = images + between
    freedom = (runs - 1) * (total / between) ** 2 if between else np.full(len(n), np.inf)
    factor = (stats.t.ppf(0.975, freedom) / stats.norm.ppf(0.975)) ** 2
    return np.where(full, np.minimum(one / (total * factor), effective), 0.0)


def rights(outcomes: Outcomes) -> Array:
    """Whether each run is right about each image, [R, N]; multi-label: the share of the known labels."""
    if not outcomes.multilabel:
        return (outcomes.predictions == outcomes.labels).astype(np.float64)
    known = outcomes.labels >= 0
    hits = ((outcomes.predictions == outcomes.labels) & known).sum(-1)
    return np.divide(hits, known.sum(-1), out=np.full(hits.shape, np.nan), where=known.any(-1))


def estimates(
    outcomes: Outcomes, attributes: tuple[str, ...] | None = None, scored: str = "studies", level: float = 0.95,
    draws: int = 2000, seed: int = 0,
) -> pd.DataFrame:  # fmt: skip
    """Raw and shrunken accuracy of every cell of some attributes, of every method.

    Args:
      outcomes: runs with methods and seeds.
      attributes: whose intersection the cells are; all by default.
      scored: which cells can be the worst, see plan.grouping.
      level: of the intervals.
      draws: of the posterior.
      seed: of the draws.

    Returns:
      A row for each method and cell: method, attribute, group, n (images), n_effective, raw, raw_lower, raw_upper
      (Wilson's interval of n_effective), shrunken (posterior mean), lower, upper (its equal-tailed interval), p_worst
      (probability that no other scored cell with images is worse; NaN if the cell is not among them), spread
      (posterior median) and efficiency, see Posterior.

    Raises:
      OutcomesError: there is no attribute, or no image in any cell.
    """
    names = tuple(outcomes.attributes if attributes is None else attributes)
    if not names:
        raise OutcomesError("there is no attribute: small cells are cells of one or more attributes")
    cells = grouping(outcomes, names, scored, 1)
    sizes = [len(outcomes.attributes[a].vocabulary) for a in names]
    levels = np.stack(np.unravel_index(np.arange(len(cells.names)), sizes), 1)
    right = rights(outcomes)
    codes = np.where(np.isnan(right).any(0), -1, cells.codes)
    methods, members = members_of(outcomes.runs)
    frames = []
    for method, own in zip(methods, members, strict=True):
        runs = right[own[own >= 0]]
        n, effective, mean = effective_counts(runs, codes, len(cells.names), outcomes.subjects)
        low, high = wilson(np.clip(np.nan_to_num(mean) * effective, 0, effective), effective, level)
        found, accuracy = borrowed(runs, codes, levels, outcomes.subjects, draws, seed)
        tail = (1 - level) / 2
        lower, upper = np.quantile(accuracy, [tail, 1 - tail], axis=0)
        frames.append(
            pd.DataFrame(
                {
                    "method": method,
                    "attribute": cells.label,
                    "group": cells.names,
                    "n": n.astype(np.int64),
                    "n_effective": effective,
                    "raw": mean,
                    "raw_lower": low,
                    "raw_upper": high,
                    "shrunken": accuracy.mean(0),
                    "lower": lower,
                    "upper": upper,
                    "p_worst": _worst(found.accuracy, cells.scored & (n > 0)),
                    "spread": float(np.median(found.spread)),
                    "efficiency": found.efficiency,
                }
            )
        )
    return pd.concat(frames, ignore_index=True)


def borrowed(
    right: Array, codes: Array, levels: Array, subjects: Array | None = None, draws: int = 2000, seed: int = 0
) -> tuple[Posterior, Array]:
    """The posterior of cells' accuracies from the answers of a method's runs.

    Args:
      right, codes, subjects: as in `effective_counts`.
      levels: as in `posterior`.
      draws: S.
      seed: of the draws.

    Returns:
      The posterior of how cells differ, for comparisons among them; and draws [S, C] that also know that all of them
      may be off together, for intervals.
    """
    _, own, mean = effective_counts(right, codes, len(levels), subjects, shared=False)
    found = posterior(own, np.clip(np.nan_to_num(mean) * own, 0, own), levels, draws, seed)
    inside = (codes >= 0) & (codes < len(levels))
    shared = shared_variance(right[:, inside])
    return found, moved_together(found.accuracy, shared, len(right), np.random.default_rng([seed, 1]))


def _worst(accuracy: Array, compared: Array) -> Array:
    """Share of draws in which each cell is the worst of those compared, [C]."""
    out = np.full(accuracy.shape[1], np.nan)
    if compared.sum() > 1:
        at = np.flatnonzero(compared)
        out[at] = np.bincount(accuracy[:, at].argmin(1), minlength=len(at)) / len(accuracy)
    return out
