"""Who a member learns from and is tested on: random draws of subjects, so that one run trains many experiments.

"Uncovering the Bias in Facial Expressions" trains on 37 female, 37 male or 37 mixed subjects and tests on 10 of each,
drawn once. Here a draw is a number: members of one draw share their test subjects, and those of a value (Female) are
the first of one order of all subjects with it, so that the mixed set is made of subjects of the other two.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from ml_collections import ConfigDict

from frown_jax.data.annotations import Annotations
from frown_jax.errors import CohortError


@dataclasses.dataclass(frozen=True)
class Cohort:
    """Rows of a data set, int32; no subject is in two of them."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray


def parse(entries: Sequence[str], field: str) -> dict[str, int]:
    """Numbers of subjects by value from ('Female:37', ...).

    Raises:
      CohortError: malformed.
    """
    out = {}
    for entry in entries:
        value, _, count = str(entry).rpartition(":")
        if not value or not count.isdecimal():
            raise CohortError(f"--config.cohort.{field}: {entry!r} is no VALUE:NUMBER of subjects, 'Female:37'")
        out[value] = int(count)
    return out


def shares(total: int, sizes: Sequence[int]) -> np.ndarray:
    """`total` divided in proportion to sizes, whole numbers by largest remainder."""
    sizes_ = np.asarray(sizes, np.float64)
    exact = total * sizes_ / max(sizes_.sum(), 1)
    out = np.floor(exact).astype(int)
    short = total - out.sum()
    out[np.argsort(out - exact, kind="stable")[:short]] += 1
    return out


def subjects_by_value(data: Annotations, by: str) -> dict[str, list[str]]:
    """Names of the subjects with each value of an attribute, sorted.

    Raises:
      CohortError: no subjects, no such attribute, or a subject with two values.
    """
    if data.subjects is None:
        raise CohortError("--config.cohort draws subjects, and this data has no column subject")
    if by not in data.vocabularies:
        known = ", ".join(data.vocabularies) or "none (a CSV of subjects brings some: --config.data.subjects)"
        raise CohortError(f"--config.cohort.by is {by!r}: this data has the attributes {known}")
    value_of: dict[str, int] = {}
    for subject, code in zip(data.subjects.tolist(), data.attributes[by].tolist(), strict=True):
        if subject is None:
            continue
        if value_of.setdefault(subject, code) != code:
            raise CohortError(f"--config.cohort.by={by}: subject {subject} has two values of it")
    names = data.vocabularies[by]
    return {v: sorted(s for s, c in value_of.items() if c == k) for k, v in enumerate(names)}


def draw(config: ConfigDict, val_fraction: float, data: Annotations) -> Cohort:
    """The rows of one draw.

    Args:
      config: the section `cohort`: by, train, test, draw.
      val_fraction: of the training subjects, who are held out for validation, each value its share.
      data: everybody.

    Raises:
      CohortError: there are not so many subjects.
    """
    people = subjects_by_value(data, config.by)
    train, test = parse(config.train, "train"), parse(config.test, "test")
    strange = [v for v in (*train, *test) if v not in people]
    if strange:
        raise CohortError(f"--config.cohort: {config.by} has no value {strange[0]!r}; it has {', '.join(people)}")
    chosen: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    held = dict(
        zip(train, shares(max(1, round(val_fraction * sum(train.values()))), list(train.values())), strict=True)
    )
    for k, (value, names) in enumerate(people.items()):
        tested, trained = test.get(value, 0), train.get(value, 0)
        if tested + trained > len(names):
            raise CohortError(
                f"--config.cohort asks for {trained} + {tested} subjects with {config.by} {value} in training and "
                f"test; there are {len(names)}"
            )
        order = np.random.default_rng([int(config.draw), k]).permutation(len(names))
        drawn = [names[i] for i in order]
        fitted = trained - held.get(value, 0)
        chosen["test"] += drawn[:tested]
        chosen["train"] += drawn[tested : tested + fitted]
        chosen["validation"] += drawn[tested + fitted : tested + trained]
    assert data.subjects is not None
    rows = {
        k: np.flatnonzero(np.isin(data.subjects.astype(str), names)).astype(np.int32) for k, names in chosen.items()
    }
    for part, found in rows.items():
        if not len(found):
            raise CohortError(f"--config.cohort: the {part} set of draw {config.draw} has no image")
    return Cohort(**rows)
