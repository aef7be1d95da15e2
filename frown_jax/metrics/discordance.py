"""On how many images or subjects two methods differ: what any comparison of them rests on."""

from __future__ import annotations

import numpy as np
from scipy import stats

from frown_jax.metrics.outcomes import Outcomes
from frown_jax.metrics.plan import Grouping, Plan
from frown_jax.metrics.resample import Units

Array = np.ndarray


def _count(g: Grouping, drawn: Units, chosen: Array) -> Array:
    """Units with a chosen image in each group, int [M]."""
    at = np.flatnonzero(chosen & (g.codes >= 0))
    if drawn.are_images:
        return np.bincount(g.codes[at], minlength=len(g.names))
    pairs = np.unique(g.codes[at].astype(np.int64) * drawn.count + drawn.of_image[at])
    return np.bincount(pairs // drawn.count, minlength=len(g.names))


def discordant_units(outcomes: Outcomes, plan: Plan, drawn: Units, method: Array, control: Array) -> Array:
    """Units on which paired runs of two methods differ in what a value looks at, int [Q].

    Accuracies and recalls look at whether an answer is right, metrics of a class at whether it is answered, metrics of
    probabilities at these, the others at the answer. One seed that differs is enough.

    Args:
      outcomes: runs.
      plan: Q values; those of an attribute count all groups that are compared.
      drawn: what counts once.
      method, control: int [S], positions of paired runs.
    """
    a, b = outcomes.predictions[method], outcomes.predictions[control]
    labels, classes = outcomes.labels, range(len(plan.targets))
    differs = a != b
    right = (a == labels) != (b == labels)
    if plan.multilabel:
        differs, right = differs & (labels >= 0), right & (labels >= 0)
        of_target = [differs[..., t].any(0) for t in classes]
        of_positives = [of_target[t] & (labels[:, t] == 1) for t in classes]
        answer, correct = differs.any((0, 2)), right.any((0, 2))
    else:
        of_target = [((a == t) != (b == t)).any(0) for t in classes]
        answer, correct = differs.any(0), right.any(0)
        of_positives = [correct & (labels == t) for t in classes]
    scored = answer
    if outcomes.probabilities is not None and plan.needs_scores:
        scored = np.zeros(len(labels), bool)
        for m, c in zip(method, control, strict=True):
            scored |= (outcomes.probabilities[m] != outcomes.probabilities[c]).any(-1)
    out: list[Array] = []
    for _, g, m in plan.blocks():
        if m.of_target:
            chosen = of_positives if m.rests_on == "positives" else of_target
            if m.scored:
                chosen = [scored] * len(plan.targets)
        else:
            chosen = [scored if m.scored else correct if "accuracy" in m.name else answer]
        counts = np.stack([_count(g, drawn, c) for c in chosen], 1)  # [M, 1 or T]
        out.append(counts[g.scored].sum(0) if m.of_attribute else counts.ravel())
    return np.concatenate(out)


def mcnemar(outcomes: Outcomes, plan: Plan, method: int, control: int, level: float) -> tuple[Array, Array, Array]:
    """McNemar's exact test for the accuracies of two runs.

    Returns:
      Two-sided p-values and the ends of the intervals that belong to them (Clopper and Pearson's of the share of the
      images that differ which the method won, as differences in accuracy), [Q] each; NaN for other values.
    """
    out: list[Array] = []
    labels = outcomes.labels
    a, b = outcomes.predictions[method] == labels, outcomes.predictions[control] == labels
    for _, g, m in plan.blocks():
        if m.name != "accuracy" or plan.multilabel:
            width = (1 if m.of_attribute else len(g.names)) * (len(plan.targets) if m.of_target else 1)
            out.append(np.full((3, width), np.nan))
            continue
        inside = g.codes >= 0
        count, won, lost = (np.bincount(g.codes[inside & x], minlength=len(g.names)) for x in (inside, a & ~b, b & ~a))
        p = np.minimum(2 * stats.binom.cdf(np.minimum(won, lost), won + lost, 0.5), 1)
        low = np.where(won > 0, stats.beta.ppf((1 - level) / 2, won, lost + 1), 0)
        high = np.where(lost > 0, stats.beta.ppf((1 + level) / 2, won + 1, lost), 1)
        scale = (won + lost) / np.maximum(count, 1)
        out.append(np.stack([p, (2 * low - 1) * scale, (2 * high - 1) * scale]))
    p, low, high = np.concatenate(out, 1)
    return p, low, high
