"""What is computed on which groups, as one flat vector of values with a table that says what each is.

Everything that has values (a run, a resample, a difference between methods) has them in the order of one plan's rows.
"""

from __future__ import annotations

import dataclasses
import functools
import itertools
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd

from frown_jax import schema
from frown_jax.errors import OutcomesError
from frown_jax.metrics import catalogue, condense
from frown_jax.metrics.catalogue import Metric
from frown_jax.metrics.outcomes import Outcomes
from frown_jax.metrics.statistics import Statistics, tally

Array = Any
ROW_COLUMNS = ("metric", "attribute", "group", "target")
TINY = 10  # images: a claim that rests on fewer says so
SEPARATOR = " x "
MAX_CROSSED = 3  # attributes in an intersection
_MANY = 100_000  # images, from which alike ones are counted before anything is summed

# Named choices of the groups that fairness measures compare; the others stay in every other number.
SCORED: dict[str, Mapping[str, tuple[str, ...]]] = {"studies": schema.STUDY_GROUPS, "all": {}}


@dataclasses.dataclass(frozen=True)
class Grouping:
    """A division of the images by one attribute, or by several at once; no attributes: everybody.

    Attributes:
      attributes: names.
      names: M groups; those of an intersection are joined by SEPARATOR.
      codes: int32 [N], 0 to M - 1; -1 where an attribute is not known.
      scored: bool [M], the groups that fairness measures compare.
    """

    attributes: tuple[str, ...]
    names: tuple[str, ...]
    codes: np.ndarray
    scored: np.ndarray

    @property
    def label(self) -> str:
        return SEPARATOR.join(self.attributes)


def grouping(
    outcomes: Outcomes,
    attributes: Sequence[str] = (),
    scored: str | Mapping[str, Sequence[str]] = "studies",
    fewest: int = 0,
) -> Grouping:
    """A division of the outcomes' images.

    Args:
      outcomes: what is measured.
      attributes: any number of attribute names; none for everybody.
      scored: which groups fairness measures compare: 'studies' (schema.STUDY_GROUPS: no gender Unsure, no age 0-3 or
        70+; where an attribute has other groups than theirs, all), 'all', or groups by attribute; attributes that are
        not named compare all.
      fewest: a group with fewer images is not compared. An empty one never is; as a scored group it is noted.

    Raises:
      OutcomesError: an attribute does not exist, or a scored group is not in its vocabulary.
    """
    for name in attributes:
        if name not in outcomes.attributes:
            raise OutcomesError(f"there is no attribute {name!r}; there are {', '.join(outcomes.attributes) or 'none'}")
    if isinstance(scored, str) and scored not in SCORED:
        raise OutcomesError(f"scored groups {scored!r}: there are {', '.join(SCORED)}, or groups by attribute")
    wanted = SCORED[scored] if isinstance(scored, str) else scored
    n = len(outcomes.labels)
    codes, compared = np.zeros(n, np.int32), np.ones(1, bool)
    names: tuple[str, ...] = ("",)
    for i, name in enumerate(attributes):
        a = outcomes.attributes[name]
        keep = tuple(wanted.get(name, a.vocabulary))
        strange = [v for v in keep if v not in a.vocabulary]
        if strange and isinstance(scored, str):  # an attribute of the studies' name with other groups
            keep = a.vocabulary
        elif strange:
            raise OutcomesError(f"attribute {name!r} has no group {strange[0]!r}; it has {', '.join(a.vocabulary)}")
        known = (codes >= 0) & (a.codes >= 0)
        codes = np.where(known, codes * len(a.vocabulary) + a.codes, -1).astype(np.int32)
        names = tuple(f"{left}{SEPARATOR}{right}" if i else right for left in names for right in a.vocabulary)
        compared = (compared[:, None] & np.isin(np.array(a.vocabulary, object), keep)).ravel()
    sizes = np.bincount(codes[codes >= 0], minlength=len(names))
    return Grouping(tuple(attributes), names, codes, compared & (sizes >= fewest))


def groupings(
    outcomes: Outcomes,
    attributes: Iterable[str] | None = None,
    crossed: int = MAX_CROSSED,
    scored: str | Mapping[str, Sequence[str]] = "studies",
    fewest: int = TINY,
) -> list[Grouping]:
    """Everybody, each attribute, and every intersection of up to `crossed` attributes.

    Args:
      outcomes: what is measured.
      attributes: names; all by default.
      crossed: attributes in the largest intersection.
      scored: as in `grouping`.
      fewest: intersections compare groups of at least so many images; single attributes compare all.
    """
    names = tuple(outcomes.attributes if attributes is None else attributes)
    out = [grouping(outcomes)] + [grouping(outcomes, (a,), scored) for a in names]
    for size in range(2, min(crossed, len(names)) + 1):
        out += [grouping(outcomes, c, scored, fewest) for c in itertools.combinations(names, size)]
    return out


# Axes that a metric's result has after the leading ones.
AXES = {"group": 1, "group and target": 2, "attribute": 0, "attribute and target": 1}


def _rests_on(m: Metric, s: Statistics) -> Array:
    of_targets = {"images": s.known, "positives": s.positive, "negatives": s.known - s.positive}[m.rests_on]
    if m.of_target:
        return of_targets.sum(-2) if m.of_attribute else of_targets
    return s.count.sum(-1) if m.of_attribute else s.count


@dataclasses.dataclass(frozen=True)
class Plan:
    """Q values: metrics on groupings.

    Attributes:
      groupings: divisions of the images.
      metrics: what is computed; of each target only on everybody and on single attributes.
      targets: T names.
      multilabel: the task.
    """

    groupings: tuple[Grouping, ...]
    metrics: tuple[Metric, ...]
    targets: tuple[str, ...]
    multilabel: bool

    @classmethod
    def of(cls, outcomes: Outcomes, groupings: Sequence[Grouping], metrics: Iterable[str] | None = None) -> Plan:
        """The plan for these outcomes.

        Args:
          outcomes: what is measured.
          groupings: of the same outcomes.
          metrics: names; by default all that the outcomes allow.

        Raises:
          OutcomesError: a metric needs probabilities and there are none.
          ValueError: there is no such metric.
        """
        scored = outcomes.probabilities is not None
        if metrics is None:
            chosen = [m for m in catalogue.METRICS.values() if scored or not m.scored]
        else:
            chosen = [catalogue.metric(m) for m in metrics]
            for m in chosen:
                if m.scored and not scored:
                    raise OutcomesError(f"{m.name} needs probabilities, and there are none")
        return cls(tuple(groupings), tuple(chosen), outcomes.targets, outcomes.multilabel)

    @property
    def needs_scores(self) -> bool:
        return any(m.scored for m in self.metrics)

    def blocks(self) -> Iterator[tuple[int, Grouping, Metric]]:
        """(position of the grouping, grouping, metric) in the order of the rows."""
        for i, g in enumerate(self.groupings):
            for m in self.metrics:
                if m.of_attribute and not g.attributes:
                    continue
                if m.of_target and len(g.attributes) > 1:
                    continue
                yield i, g, m

    @functools.cached_property
    def rows(self) -> pd.DataFrame:
        """Q rows with ROW_COLUMNS; group and target are empty where they do not apply."""
        out = []
        for _, g, m in self.blocks():
            names = ("",) if m.of_attribute else g.names
            targets = self.targets if m.of_target else ("",)
            out += [(m.name, g.label, name, target) for name in names for target in targets]
        return pd.DataFrame(out, columns=list(ROW_COLUMNS))

    def values(self, statistics: Sequence[Statistics]) -> np.ndarray:
        """Values [..., Q] of the statistics of each grouping."""
        return self._flatten(statistics, lambda m, s: m.compute(s))

    def n(self, statistics: Sequence[Statistics]) -> np.ndarray:
        """Images that each value rests on, [..., Q]."""
        return self._flatten(statistics, _rests_on)

    def trials(self, statistics: Sequence[Statistics]) -> np.ndarray:
        """Denominators [..., Q] of values that are plain proportions; NaN for the others."""

        def denominators(m: Metric, s: Statistics) -> Array:
            if m.trials is None or (s.multilabel and not m.of_target):
                return np.full_like(m.compute(s), np.nan)
            return m.trials(s)

        return self._flatten(statistics, denominators)

    def _flatten(self, statistics: Sequence[Statistics], f: Callable[[Metric, Statistics], Array]) -> np.ndarray:
        compared = [s.only(g.scored) for s, g in zip(statistics, self.groupings, strict=True)]
        parts = []
        for i, _, m in self.blocks():
            x = f(m, compared[i] if m.of_attribute else statistics[i])
            parts.append(x.reshape(*x.shape[: x.ndim - AXES[m.per]], -1))
        return np.concatenate(parts, -1)

    def columns(self, outcomes: Outcomes, *more: np.ndarray) -> list[np.ndarray]:
        """What a value of this plan can depend on without probabilities: images that agree in all of it are alike."""
        labels = list(outcomes.labels.T) if self.multilabel else [outcomes.labels]
        answers = [a for run in outcomes.predictions for a in (run.T if self.multilabel else [run])]
        return [*more, *(g.codes for g in self.groupings), *labels, *answers]

    def at(self, images: np.ndarray) -> Plan:
        """The same plan on some of the images, by position."""
        return dataclasses.replace(
            self, groupings=tuple(dataclasses.replace(g, codes=g.codes[images]) for g in self.groupings)
        )

    def tallies(self, outcomes: Outcomes, weights: np.ndarray | None = None) -> list[Statistics]:
        """Statistics of every run on every grouping, float64; `weights` [N] count images more than once."""
        given, plan = outcomes.answers, self
        if not self.needs_scores:
            given = given._replace(ranks=None, log_loss=None, brier=None, bins=None, misses=None)
            if weights is None and len(outcomes.labels) > _MANY:
                first, _, counts = condense.kinds(self.columns(outcomes))
                given = given._replace(labels=given.labels[first], predictions=given.predictions[:, first])
                plan, weights = self.at(first), counts
        return [tally(given, g.codes, len(g.names), len(self.targets), weights) for g in plan.groupings]

    def notes(self, statistics: Sequence[Statistics]) -> np.ndarray:
        """Named warnings of each value, object [Q], joined by ';', '' if there are none.

        empty_group: no image. tiny_group: fewer than TINY images. absent_class: a class without an example, which an
        average or a comparison over classes leaves out. single_group: fewer than two groups to compare.
        """
        out: list[str] = []
        for i, g, m in self.blocks():
            s = statistics[i]
            count, positive = (np.asarray(x).reshape(-1, *x.shape[-k:])[0] for x, k in ((s.count, 1), (s.positive, 2)))
            if m.of_attribute:
                count, positive = count[g.scored], positive[g.scored]
                found = _warnings(count, positive, m.over_targets)
                if (count > 0).sum() < 2:
                    found.append("single_group")
                out += [";".join(found)] * (len(self.targets) if m.of_target else 1)
                continue
            for size, classes in zip(count, positive, strict=True):
                if not m.of_target:
                    out.append(";".join(_warnings(size[None], classes[None], m.over_targets)))
                    continue
                for k in range(len(self.targets)):
                    rests = classes[k] if m.rests_on == "positives" else size
                    found = _warnings(rests[None], classes[None, k], False) if size else ["empty_group"]
                    if size and not classes[k]:
                        found = ["absent_class"]
                    out.append(";".join(found))
        return np.array(out, object)


def _warnings(count: np.ndarray, positive: np.ndarray, over_targets: bool) -> list[str]:
    found = []
    if (count == 0).any():
        found.append("empty_group")
    if ((count > 0) & (count < TINY)).any():
        found.append("tiny_group")
    if over_targets and (positive[count > 0] == 0).any():
        found.append("absent_class")
    return found
