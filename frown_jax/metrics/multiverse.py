"""A multiverse: in which share of the defensible analyses does a method's gain survive?

"DANN helps the worst-off group" may hold for accuracy over all groups with both halves of the seeds, and not for macro
F1 over the studies' groups. Each choice could be defended, and a reader sees only the one that was made. Here they are
all made, from the same stored predictions (Steegen et al. 2016; Simonsohn et al. 2020, "Specification curve analysis").

Analyses share images and seeds, so they are no independent evidence: a share of 90 % is no probability. A share of 20 %
says that the finding is one of choices.
"""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Callable, Iterator, Sequence

import numpy as np
import pandas as pd
import scipy.sparse
from scipy import stats

from frown_jax.errors import OutcomesError
from frown_jax.metrics import classification as c
from frown_jax.metrics import fairness as f
from frown_jax.metrics.bootstrap import members_of
from frown_jax.metrics.outcomes import Outcomes
from frown_jax.metrics.plan import Grouping, grouping
from frown_jax.metrics.statistics import Statistics

Array = np.ndarray


@dataclasses.dataclass(frozen=True)
class Measure:
    """One way to measure a claim.

    Attributes:
      name: as in the table.
      compute: of Statistics of the compared groups (of everybody for a claim without attribute); [...].
      higher: whether more is better.
    """

    name: str
    compute: Callable[[Statistics], Array]
    higher: bool


_OF_GROUPS = {
    "accuracy": c.accuracy,
    "balanced accuracy": c.balanced_accuracy,
    "macro F1": c.macro_f1,
    "weighted F1": c.weighted_f1,
}
# What is claimed, and every defensible way to measure it.
CLAIMS: dict[str, tuple[Measure, ...]] = {
    "everybody": tuple(Measure(n, f.between(m, c.smallest), True) for n, m in _OF_GROUPS.items()),
    "worst group": tuple(Measure(n, f.between(m, c.smallest), True) for n, m in _OF_GROUPS.items()),
    "gap": (
        *(Measure(n, f.between(m, f.difference), False) for n, m in _OF_GROUPS.items()),
        Measure("largest gap in recall", lambda s: c.largest(f.equal_opportunity_difference(s)), False),
        Measure("mean gap in recall", lambda s: c.mean_of_defined(f.equal_opportunity_difference(s)), False),
        Measure("equalized odds", lambda s: c.mean_of_defined(f.equalized_odds_difference(s)), False),
        Measure("1 - F of Xu et al.", lambda s: 1 - f.generalized_equal_opportunity(s), False),
    ),
}
VERDICTS = ("gain", "loss", "practically equal", "cannot tell")
_FEWEST = 6  # people: with fewer, all on one side, a sign test at 5 % finds nothing


@dataclasses.dataclass(frozen=True)
class MultiverseSettings:
    """The choices that are varied, and how differences are judged.

    Attributes:
      controls: methods that each method is compared with, one at a time; () takes the first.
      fewest: groups of fewer images are not compared, a choice each; 0 leaves none out.
      margin: differences within it make no practical difference.
      level: of the intervals.
      resamples: of the images, or of subjects.
      seed: of the resamples.
    """

    controls: tuple[str, ...] = ()
    fewest: tuple[int, ...] = (0, 10, 30)
    margin: float = 0.02
    level: float = 0.95
    resamples: int = 200
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class _Seeds:
    """One way to choose seeds: of each method, those that count; bool [methods, S]."""

    name: str
    chosen: Array


def multiverse(
    test: Outcomes, validation: Outcomes | None = None, settings: MultiverseSettings = MultiverseSettings()
) -> pd.DataFrame:
    """Every analysis of every method.

    Args:
      test: runs with methods and seeds.
      validation: the same runs on validation images; adds 'the best seed on validation', by two rules, and for a
        multi-label task thresholds that are chosen there.
      settings: what is varied.

    Returns:
      A row for each method, claim and analysis: method, attribute ('' for everybody), claim ('everybody', 'worst
      group', 'gap'), groups (which are compared), measure, seeds (which count), control, threshold ('as stored' for
      one class an image), difference (positive is better: more of a score, less of a gap), lower, upper, verdict. The
      interval is about images (or subjects, from a bootstrap) and, with two seeds or more, about seeds: t, with
      Satterthwaite's degrees of freedom. What rests on fewer than six people, in a compared group or as those about
      whom the two methods differ, is no gain or loss. A difference that is not defined, as where a group lacks a
      class, is no analysis.

    Raises:
      OutcomesError: a control does not exist, or there is nothing to compare.
    """
    methods, members = members_of(test.runs)
    controls = settings.controls or (methods[0],)
    for name in controls:
        if name not in methods:
            raise OutcomesError(f"there is no method {name!r}; there are {', '.join(map(str, methods))}")
    if len(methods) < 2:
        raise OutcomesError(f"{methods[0]!r} is the only method: there is nothing to compare it with")
    weights = _weights(test, settings)
    choices = _seed_choices(test, validation, methods, members)
    rows: list[dict] = []
    for threshold, answered in _thresholds(test, validation):
        for division, asked in _divisions(test, settings):
            values = _values(answered, division, [(ask.scored, CLAIMS[ask.claim]) for ask in asked], weights)
            for ask, own in zip(asked, values, strict=True):
                seen = _Seen.of(answered, division.codes, ask.scored, own)
                labels = {"attribute": division.label, "claim": ask.claim, "groups": ask.groups, "threshold": threshold}
                for (control, seeds), (i, method) in itertools.product(
                    itertools.product(controls, choices), enumerate(methods)
                ):
                    if method != control:
                        base = methods.index(control)
                        found = _compared(seen, members, seeds.chosen, i, base, CLAIMS[ask.claim], settings)
                        named = labels | {"method": method, "control": control, "seeds": seeds.name}
                        rows += [named | row for row in found]
    table = pd.DataFrame(rows)
    columns = ["method", "attribute", "claim", "groups", "measure", "seeds", "control", "threshold", "difference",
               "lower", "upper", "verdict"]  # fmt: skip
    table = table.dropna(subset=["difference"])[columns]
    order = {m: i for i, m in enumerate(methods)}
    return table.sort_values("method", key=lambda s: s.map(order), kind="stable", ignore_index=True)


def survival(table: pd.DataFrame) -> pd.DataFrame:
    """In which share of its analyses each claim about each method holds.

    Args:
      table: of `multiverse`.

    Returns:
      A row for each method, claim and attribute: method, claim, attribute, analyses, better (share of the analyses in
      which the difference has that sign), the share of each verdict, median, lowest and highest difference.
    """
    rows = []
    for (method, claim, attribute), own in table.groupby(["method", "claim", "attribute"], sort=False):
        shares = {v.replace(" ", "_"): float((own["verdict"] == v).mean()) for v in VERDICTS}
        d = own["difference"]
        rows.append(
            {"method": method, "claim": claim, "attribute": attribute, "analyses": len(own),
             "better": float((d > 0).mean()), **shares, "median": d.median(), "lowest": d.min(), "highest": d.max()}
        )  # fmt: skip
    return pd.DataFrame(rows)


def _weights(outcomes: Outcomes, settings: MultiverseSettings) -> Array:
    """How often each image counts, [N, 1 + B]: once, then as often as it or its person is drawn."""
    n = len(outcomes.labels)
    unit = np.arange(n) if outcomes.subjects is None else np.unique(outcomes.subjects, return_inverse=True)[1]
    count = int(unit.max()) + 1
    rng = np.random.default_rng(settings.seed)
    drawn = rng.multinomial(count, np.full(count, 1 / count), size=settings.resamples).T
    return np.concatenate([np.ones((n, 1)), drawn[unit]], 1)


@dataclasses.dataclass(frozen=True)
class _Asked:
    """A claim about some groups of a division: `scored`, bool [M], are compared, and called `groups`."""

    claim: str
    groups: str
    scored: Array


def _divisions(outcomes: Outcomes, settings: MultiverseSettings) -> Iterator[tuple[Grouping, list[_Asked]]]:
    """Everybody, and each attribute with every different choice of its groups."""
    everybody = grouping(outcomes)
    yield everybody, [_Asked("everybody", "everybody", everybody.scored)]
    for attribute in outcomes.attributes:
        asked: dict[bytes, list[_Asked]] = {}
        for scored, fewest in itertools.product(("all", "studies"), settings.fewest):
            mask = grouping(outcomes, (attribute,), scored, max(fewest, 1)).scored
            name = {"all": "all groups", "studies": "the studies' groups"}[scored]
            name += f" of {fewest} images or more" if fewest else ""
            if mask.sum() > 1:
                asked.setdefault(mask.tobytes(), [_Asked(claim, name, mask) for claim in ("worst group", "gap")])
        if asked:
            yield grouping(outcomes, (attribute,), "all"), list(itertools.chain.from_iterable(asked.values()))


def _thresholds(test: Outcomes, validation: Outcomes | None) -> Iterator[tuple[str, Outcomes]]:
    """Ways to decide; for one class an image there is the stored one alone."""
    yield "as stored", test
    if not test.multilabel or test.probabilities is None:
        return
    yield "0.5", dataclasses.replace(test, predictions=(test.probabilities >= 0.5).astype(np.int32))
    if validation is None or validation.probabilities is None:
        return
    best, matched = (np.stack([rule(p, validation.labels) for p in validation.probabilities])
                     for rule in (_best_f1, _matched))  # fmt: skip
    for name, cut in (("best F1 on validation", best), ("as many as in validation", matched)):
        yield name, dataclasses.replace(test, predictions=(test.probabilities >= cut[:, None]).astype(np.int32))


def _best_f1(p: Array, labels: Array) -> Array:
    """Thresholds [T] of probabilities [N, T] with the largest F1; 0.5 for a label without an example."""
    out = np.full(p.shape[1], 0.5)
    for t in range(p.shape[1]):
        known = labels[:, t] >= 0
        score, true = p[known, t], labels[known, t] == 1
        if true.any():
            order = np.argsort(-score, kind="stable")
            last = np.append(score[order][1:] != score[order][:-1], True)  # equal scores are decided alike
            f1 = 2 * np.cumsum(true[order]) / (np.arange(1, len(score) + 1) + true.sum())
            out[t] = score[order][np.argmax(np.where(last, f1, -1))]
    return out


def _matched(p: Array, labels: Array) -> Array:
    """Thresholds [T] at which as many have the label as truly do; 0.5 for a label that nobody is known of."""
    out = np.full(p.shape[1], 0.5)
    for t in range(p.shape[1]):
        known = labels[:, t] >= 0
        if known.any():
            out[t] = np.quantile(p[known, t], 1 - (labels[known, t] == 1).mean())
    return out


def _seed_choices(test: Outcomes, validation: Outcomes | None, methods: Sequence[str], members: Array) -> list[_Seeds]:
    """All seeds, each half of them, and the one that is best on validation by accuracy and by its worst group."""
    there = members >= 0
    out = [_Seeds("all", there)]
    count = members.shape[1]
    if count > 1:
        first = np.arange(count) < count // 2
        out += [_Seeds("first half", there & first), _Seeds("second half", there & ~first)]
    if validation is None or count < 2:
        return out
    val_methods, val_members = members_of(validation.runs)
    if val_methods != list(methods) or not np.array_equal(val_members >= 0, there):
        return out  # not the same runs: nothing can be chosen there
    rules: dict[str, Array] = {}
    once = np.ones((len(validation.labels), 1))

    def score(division: Grouping, claim: str) -> Array:
        return _values(validation, division, [(division.scored, CLAIMS[claim][:1])], once)[0][:, 0, 0]

    rules["accuracy"] = score(grouping(validation), "everybody")
    shared = [a for a in validation.attributes if a in test.attributes]
    if shared:
        rules["worst group"] = np.min(
            [score(grouping(validation, (a,), "studies", 1), "worst group") for a in shared], 0
        )
    for name, scores in rules.items():
        by_seed = np.where(val_members >= 0, scores[val_members], -np.inf)
        best = np.nan_to_num(by_seed, nan=-np.inf).argmax(1)
        out.append(_Seeds(f"best on validation by {name}", there & (np.arange(count) == best[:, None])))
    return out


def _values(
    outcomes: Outcomes, division: Grouping, asked: Sequence[tuple[Array, Sequence[Measure]]], weights: Array
) -> list[Array]:
    """For each choice of groups and its measures, their values of each run under each weighting: [R, B, measures].

    Every measure is of counts, so one sparse product gives all weightings of a run.
    """
    groups, targets = len(division.names), len(outcomes.targets)
    inside = np.flatnonzero(division.codes >= 0)
    group, weights = division.codes[inside], weights[inside]
    out: list[list[Array]] = [[] for _ in asked]
    for predictions in outcomes.predictions[:, inside]:
        s = _statistics(outcomes.labels[inside], predictions, group, groups, targets, weights)
        for own, (scored, measures) in zip(out, asked, strict=True):
            compared = s.only(scored)
            own.append(np.stack([np.asarray(m.compute(compared)) for m in measures], -1))
    return [np.stack(own) for own in out]


def _sums(keys: Array, size: int, weights: Array) -> Array:
    """Weights [N, B] summed over images of the same key, [size, B]; -1 is no key."""
    rows = np.flatnonzero(keys >= 0)
    sparse = scipy.sparse.csr_array((np.ones(len(rows)), (keys[rows], rows)), shape=(size, len(keys)))
    return np.asarray(sparse @ weights)


def _statistics(
    labels: Array, predictions: Array, group: Array, groups: int, targets: int, weights: Array
) -> Statistics:
    """Counts of one run under each weighting, leading axis B."""
    count = _sums(group, groups, weights).T
    if labels.ndim == 2:
        keys = np.where(labels >= 0, group[:, None] * 4 + labels * 2 + predictions, -1)
        cells = np.stack([_sums(k, groups * 4, weights).T.reshape(-1, groups, 4) for k in keys.T], 2)
        positive, predicted = cells[..., 2] + cells[..., 3], cells[..., 1] + cells[..., 3]
        return Statistics(True, count, cells.sum(-1), positive, predicted, cells[..., 3])
    shape = (-1, groups, targets)
    positive, predicted, hit = (
        _sums(k, groups * targets, weights).T.reshape(shape)
        for k in (group * targets + labels, group * targets + predictions,
                  np.where(predictions == labels, group * targets + labels, -1))
    )  # fmt: skip
    return Statistics(False, count, np.broadcast_to(count[..., None], positive.shape), positive, predicted, hit)


@dataclasses.dataclass(frozen=True)
class _Seen:
    """What all comparisons of one division share.

    Attributes:
      values: [R, 1 + B, measures], as they are and under each resampling.
      answers: [R, n, T], of the images in compared groups.
      unit: int [n], whose they are.
      smallest: people (or images) in the smallest compared group.
    """

    values: Array
    answers: Array
    unit: Array
    smallest: int

    @classmethod
    def of(cls, outcomes: Outcomes, codes: Array, scored: Array, values: Array) -> _Seen:
        inside = np.flatnonzero((codes >= 0) & scored[codes])
        unit = inside if outcomes.subjects is None else outcomes.subjects[inside]
        pairs = np.unique(np.stack([codes[inside], unit]), axis=1)[0]
        answers = outcomes.predictions[:, inside].reshape(len(outcomes.predictions), len(inside), -1)
        smallest = int(np.bincount(pairs, minlength=len(scored))[scored].min())
        return cls(values, answers, np.unique(unit, return_inverse=True)[1], smallest)

    def discordant(self, ours: Array, theirs: Array) -> int:
        """People (or images) about whom two methods' seeds, in their order, do not all answer alike."""
        pairs = min(len(ours), len(theirs))
        differ = (self.answers[ours[:pairs]] != self.answers[theirs[:pairs]]).any((0, 2))
        return len(np.unique(self.unit[differ]))


def _compared(
    seen: _Seen,
    members: Array,
    chosen: Array,
    method: int,
    control: int,
    measures: Sequence[Measure],
    how: MultiverseSettings,
) -> list[dict]:
    """One method against one control: difference, interval and verdict of each measure."""
    ours, theirs = members[method][chosen[method]], members[control][chosen[control]]
    if not len(ours) or not len(theirs):
        return []
    sign = np.where([m.higher for m in measures], 1, -1)
    d = sign * (seen.values[ours].mean(0) - seen.values[theirs].mean(0))  # [1 + B, measures]
    defined = ~np.isnan(d[1:])
    # Never narrower than what one person more of the smallest group would change.
    images = np.maximum(_variance(d[1:], defined), 1 / seen.smallest**2)
    total = np.where(defined.mean(0) > 0.5, images, np.nan)
    common = (members[method] >= 0) & (members[control] >= 0)
    freedom = np.full(len(measures), np.inf)
    if common.sum() > 1:
        of_each = sign * (seen.values[members[method][common], 0] - seen.values[members[control][common], 0])
        seeds = of_each.var(0, ddof=1) / min(len(ours), len(theirs))
        total = total + seeds
        freedom = (common.sum() - 1) * np.divide(total, seeds, out=np.full(len(measures), np.inf), where=seeds > 0) ** 2
    reach = stats.t.ppf((1 + how.level) / 2, freedom) * np.sqrt(total)
    few = seen.smallest < _FEWEST or seen.discordant(ours, theirs) < _FEWEST
    return [
        {"measure": m.name, "difference": x, "lower": x - r, "upper": x + r, "verdict": _verdict(x, r, how.margin, few)}
        for m, x, r in zip(measures, d[0], reach, strict=True)
    ]  # fmt: skip


def _variance(d: Array, defined: Array) -> Array:
    """Over resamples that have a value."""
    count = np.maximum(defined.sum(0), 1)
    mean = np.where(defined, d, 0).sum(0) / count
    return np.where(defined, (d - mean) ** 2, 0).sum(0) / np.maximum(count - 1, 1)


def _verdict(difference: float, reach: float, margin: float, few: bool) -> str:
    if not few and abs(difference) > reach:
        return "gain" if difference > 0 else "loss"
    return "practically equal" if abs(difference) + reach <= margin else "cannot tell"
