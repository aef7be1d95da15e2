"""Every method against the control, paired: the same images, the same seeds, the same resamples."""

from __future__ import annotations

import dataclasses

import numpy as np
import pandas as pd
from scipy import stats

from frown_jax.metrics import bootstrap, catalogue, resample, significance, verdicts
from frown_jax.metrics.bootstrap import Bootstrap, Progress
from frown_jax.metrics.discordance import discordant_units, mcnemar
from frown_jax.metrics.extremes import Deviations, Extreme, extremes, same_profile
from frown_jax.metrics.intervals import minimum_detectable_effect
from frown_jax.metrics.outcomes import Outcomes
from frown_jax.metrics.permutation import permutation
from frown_jax.metrics.plan import TINY, Plan
from frown_jax.metrics.reference import Variances, p_value, reach
from frown_jax.metrics.variance import Resampled

Array = np.ndarray
_POWER = 0.8
_EXACT = 5000  # images up to which the exact test's power is summed; beyond, the normal one is as good


@dataclasses.dataclass(frozen=True)
class ComparisonSettings:
    """How methods are compared.

    Attributes:
      bootstrap: of the variances; its level is that of the intervals, and the rest to 1 that of the tests.
      permutations: of p_permutation; 0 leaves it out (it costs four times the bootstrap).
      margin: differences up to this count as practically equal.
      primary: values that verdicts are about, see verdicts.families.
      fewest: units that a group must have for a gain or a loss to rest on it.
    """

    bootstrap: Bootstrap = dataclasses.field(default_factory=Bootstrap)
    permutations: int = 0
    margin: float = verdicts.MARGIN
    primary: tuple[str, ...] = catalogue.PRIMARY
    fewest: int = TINY

    def __post_init__(self) -> None:
        if not self.margin > 0:
            raise ValueError(f"margin={self.margin}: more than 0")


def compare(
    outcomes: Outcomes,
    plan: Plan,
    control: str,
    settings: ComparisonSettings = ComparisonSettings(),
    progress: Progress | None = None,
) -> pd.DataFrame:
    """Every value of every method against the control's.

    Args:
      outcomes: runs with methods and seeds.
      plan: Q values; those whose better end is not known are left out of the verdicts.
      control: its method's name.
      settings: how.
      progress: is told how far it is.

    Returns:
      A row for each method but the control and each value: method, the columns of plan.rows, n (images), seeds (that
      both have), units (images or subjects; of an extreme, those of the smallest group that may decide it), discordant
      (units on which the methods differ), control, value, difference (method - control, mean over the common seeds),
      lower, upper and p_value (of the difference; one distribution gives the three, see `reference`), family
      ('primary', 'exploratory' or ''), p_corrected (over all methods and values of the family), p_permutation (images'
      answers exchanged; NaN if not asked for), p_seeds (sign flips over seeds), p_wilcoxon, p_levene, cohens_d (over
      seeds), sd_images, sd_seeds, sd_both (what images, seeds and both together contribute to the standard deviation
      of the difference), detectable (smallest difference that this test would find 4 times in 5), verdict and harm
      (see `verdicts`), seeds_needed and images_needed (that would tell where the verdict cannot; infinite where none
      would do).

    Raises:
      ValueError: the control is not there, there is nothing to compare it with, or no such primary value.
    """
    methods, members = bootstrap.members_of(outcomes.runs)
    if control not in methods:
        raise ValueError(f"there is no method {control!r}; there are {', '.join(map(str, methods))}")
    if len(methods) < 2:
        raise ValueError(f"{control!r} is the only method: there is nothing to compare it with")
    family = verdicts.families(plan.rows, settings.primary)
    pairs = _Pairs(outcomes, plan, settings, members[methods.index(control)])
    frames, parts = [], []
    others = [i for i in range(len(methods)) if methods[i] != control]
    for done, i in enumerate(others):
        frame, part = pairs.compared(members[i])
        frame.insert(0, "method", methods[i])
        frames.append(frame.assign(family=family))
        parts.append(part)
        if progress:
            progress(done + 1, len(others))
    v = bootstrap.steadied(parts, pairs.spread_of_control)
    table = pd.concat(frames, ignore_index=True)
    flat = Variances(*(getattr(v, f.name).ravel() for f in dataclasses.fields(v)))
    _conclude(table, flat, settings)
    _detectable(table, outcomes, plan, members, methods, methods.index(control))
    return table.drop(columns=["shift_low", "shift_high", "p_least", "p_exact", "exact_low", "exact_high"])


class _Pairs:
    """Methods beside one control, whose resamples are kept."""

    def __init__(self, outcomes: Outcomes, plan: Plan, settings: ComparisonSettings, control: Array):
        self._outcomes, self._plan, self._settings, self._control = outcomes, plan, settings, control
        tallies, how = plan.tallies(outcomes), settings.bootstrap
        self._values, self._n, self._trials = plan.values(tallies), plan.n(tallies)[0], plan.trials(tallies)
        self._drawn = resample.units(outcomes, how.stratify, how.by_subject)
        self._units, _ = resample.units_of_values(plan, self._drawn)
        self._draws = resample.Draws(outcomes, plan, self._drawn, how.resamples, how.seed)
        self._extremes = extremes(plan)
        present = control[control >= 0]
        self._kept = dict(zip(present.tolist(), self._draws.of_runs(present), strict=True))

    @property
    def spread_of_control(self) -> Array:
        """The control's variance over its seeds, [Q]."""
        values = self._values[self._control[self._control >= 0]]
        if len(values) < 2:
            return np.zeros(values.shape[1])
        with np.errstate(invalid="ignore"):
            return np.nan_to_num(values.var(0, ddof=1))

    def compared(self, method: Array) -> tuple[pd.DataFrame, Variances]:
        """A method's rows, as far as they need no other method, and the variances of its differences."""
        how = self._settings.bootstrap
        both = (method >= 0) & (self._control >= 0)
        a, b = method[both], self._control[both]
        if not len(a):
            raise ValueError("a method has no seed that the control has")
        mine = Deviations(self._extremes, self._values[a], self._trials[a[0]], self._units)
        theirs = Deviations(self._extremes, self._values[b], self._trials[b[0]], self._units)
        pairs = zip(mine.watch(self._draws.of_runs(a)), theirs.watch(self._kept[r] for r in b.tolist()), strict=True)
        resampled = Resampled(x - y for x, y in pairs)
        x, y = self._values[a], self._values[b]
        undefined = np.isnan(x) | np.isnan(y)
        x, y = np.where(undefined, np.nan, x), np.where(undefined, np.nan, y)
        discordant = discordant_units(self._outcomes, self._plan, self._drawn, a, b)
        units = self._units.copy()
        for e in self._extremes:
            deciding = _at_the_extremes(e, mine, theirs)
            discordant[e.row] = discordant[deciding].sum()
            units[e.row] = units[deciding].min(initial=units[e.row])
        v = resampled.variances((x - y) if how.vary_seeds else (x - y)[:1], np.maximum(discordant - 1.0, 1))
        v = self._with_floor(v, a[0], discordant)
        v.images[(resampled.undefined > 0.5) | (units < verdicts.FEWEST_UNITS)] = np.nan
        out = self._plan.rows.copy()
        out["n"], out["seeds"] = self._n.astype(np.int64), (~undefined).sum(0)
        out["units"], out["discordant"] = units, discordant
        out["control"], out["value"] = bootstrap.over_runs(y, _all(y))[0], bootstrap.over_runs(x, _all(x))[0]
        out["difference"] = out["value"] - out["control"]
        out["p_least"] = np.minimum(0.5 ** np.minimum(discordant - 1.0, 60), 1)
        out[["p_exact", "exact_low", "exact_high"]] = np.nan
        if len(a) == 1 and self._drawn.are_images:
            exact = mcnemar(self._outcomes, self._plan, int(a[0]), int(b[0]), how.level)
            out["p_exact"], out["exact_low"], out["exact_high"] = exact
        shift = self._shifts(mine, theirs, v)
        out["shift_low"], out["shift_high"] = shift[0], shift[1]
        out["p_permutation"] = np.nan
        if self._settings.permutations:
            out["p_permutation"] = permutation(
                self._outcomes, self._plan, a, b, self._settings.permutations, self._drawn, how.seed
            )
        tests = [_over_seeds(p, q) if len(x) > 1 else (np.nan,) * 4 for p, q in zip(x.T, y.T, strict=True)]
        for i, column in enumerate(("p_seeds", "p_wilcoxon", "p_levene", "cohens_d")):
            out[column] = [t[i] for t in tests]
        return out, v

    def _with_floor(self, v: Variances, run: int, discordant: Array) -> Variances:
        """Adds the variance of one more unit that differs, as in Agresti & Min 2005: that none does may be luck."""
        trials = self._trials[run]
        n = np.where(trials > 0, np.minimum(trials, self._units), self._units)
        few = (discordant < verdicts.FEWEST_DISCORDANT) | ((trials > 0) & self._drawn.are_images)
        shrunk = v.images * (n / (n + 2.0)) ** 2 + 1 / (n + 2.0) ** 2
        return dataclasses.replace(v, images=np.where(few & ~np.isnan(v.images), shrunk, v.images))

    def _shifts(self, mine: Deviations, theirs: Deviations, v: Variances) -> Array:
        """Between which shifts the differences of extremes may lie for the noise that extremes collect, [2, Q].

        If the same groups compete in both methods, so does the noise, and only what is left over of it counts; if the
        methods treat groups differently, one may have a clear worst group and the other several.
        """
        out = np.zeros((2, len(v.images)))
        for e in self._extremes:
            own, other = e.bias(*mine.errors(e)), e.bias(*theirs.errors(e))
            shifts = [0.0, own - other]
            change = mine.means(e) - theirs.means(e)
            if not same_profile(change, np.sqrt(np.nan_to_num(v.total[e.bases]))):
                shifts += [own, -other]
            out[:, e.row] = min(shifts), max(shifts)
        return out


def _all(x: Array) -> Array:
    return np.arange(len(x))[None]


def _at_the_extremes(e: Extreme, mine: Deviations, theirs: Deviations) -> Array:
    """Rows of the groups that may be at either end in either method."""
    chosen = np.zeros(e.bases.shape, bool)
    for noise in (mine, theirs):
        top, bottom, deciding = noise.candidates(e)
        ends = bottom if e.metric.extreme == "min" else top if e.metric.extreme == "max" else top | bottom
        chosen |= ends & deciding[:, None, None]
    return np.unique(e.bases[chosen])


def _over_seeds(x: Array, y: Array) -> tuple[float, ...]:
    return (
        significance.paired_permutation(x - y),
        significance.wilcoxon(x, y),
        significance.levene(x, y),
        significance.cohens_d(x, y),
    )


def _conclude(table: pd.DataFrame, v: Variances, settings: ComparisonSettings) -> None:
    """Intervals, p-values and verdicts, from one distribution."""
    level = settings.bootstrap.level
    difference = table["difference"].to_numpy(float)
    least, most = difference - table["shift_high"], difference - table["shift_low"]
    half = reach(v, level)
    same = (v.total == 0) & (difference == 0)  # the same answers throughout
    half[same] = 0
    lower, upper = (least - half).to_numpy(), (most + half).to_numpy()
    p = p_value(np.maximum(np.maximum(least, -most), 0), v)
    p[same] = 1
    exact = table["p_exact"].to_numpy(float)
    p = np.where(np.isnan(exact), np.maximum(p, table["p_least"]), exact)
    # The end on the side of no difference is the exact test's own, where there is one.
    own_low, own_high = table["exact_low"].to_numpy(float), table["exact_high"].to_numpy(float)
    lower = np.where(difference > 0, np.where(np.isnan(exact), lower, own_low), np.fmin(lower, own_low))
    upper = np.where(difference < 0, np.where(np.isnan(exact), upper, own_high), np.fmax(upper, own_high))
    untold = p > 1 - level
    lower, upper = np.where(untold, np.minimum(lower, 0), lower), np.where(untold, np.maximum(upper, 0), upper)
    missing = np.isnan(half)
    table["lower"] = np.where(missing, np.nan, np.minimum(lower, difference))
    table["upper"] = np.where(missing, np.nan, np.maximum(upper, difference))
    p[missing] = np.nan
    table["p_value"] = p
    table["p_corrected"] = verdicts.corrected(p, table["family"].to_numpy(object))
    seeds = np.maximum(v.count, 1)
    table["sd_images"] = np.sqrt(np.maximum(v.images - v.both / seeds, 0))
    table["sd_seeds"], table["sd_both"] = np.sqrt(v.of_seeds), np.sqrt(v.both / seeds)
    quantile = stats.norm.ppf(_POWER)
    table["detectable"] = half + quantile * np.sqrt(v.total)
    table["verdict"] = verdicts.verdicts(table, settings.margin, level, settings.fewest)
    table["harm"] = verdicts.harmless(table, settings.margin)
    tests = table.groupby("family")["p_value"].transform("count").to_numpy(float)
    need = verdicts.needed(v, difference, settings.margin, np.maximum(tests, 1), level)
    untold = (table["verdict"] == verdicts.UNKNOWN).to_numpy()
    table["seeds_needed"], table["images_needed"] = (
        np.where(untold, need[0], np.nan),
        np.where(untold, np.ceil(need[1] * table["n"].to_numpy(float)), np.nan),
    )


def _detectable(
    table: pd.DataFrame, outcomes: Outcomes, plan: Plan, members: Array, methods: list[str], base: int
) -> None:
    """For accuracies of single runs: exact McNemar power in place of the normal one, which fails in small cells."""
    if outcomes.multilabel or members.shape[1] > 1:
        return
    right = outcomes.predictions == outcomes.labels
    inside = {(g.label, name): g.codes == k for g in plan.groupings for k, name in enumerate(g.names)}
    for at in np.flatnonzero(table["metric"] == "accuracy"):
        method, attribute, group = (str(table[c].iloc[at]) for c in ("method", "attribute", "group"))
        chosen = inside[attribute, group]
        a, b = right[members[methods.index(method), 0]][chosen], right[members[base, 0]][chosen]
        if 0 < len(a) <= _EXACT:
            table.loc[at, "detectable"] = minimum_detectable_effect(len(a), float(b.mean()), float((a == b).mean()))
