"""A test that exchanges two methods' answers to the same images; it is about these runs, not about other seeds."""

from __future__ import annotations

import dataclasses

import numpy as np

from frown_jax.metrics import resample
from frown_jax.metrics.outcomes import Outcomes
from frown_jax.metrics.plan import Plan
from frown_jax.metrics.statistics import Answers, answers

Array = np.ndarray


def permutation(
    outcomes: Outcomes,
    plan: Plan,
    method: Array,
    control: Array,
    permutations: int,
    drawn: resample.Units,
    seed: int = 0,
) -> Array:
    """Two-sided p-values of a paired permutation test, [Q]: under the null the two methods' answers are exchangeable.

    For each permutation a random half of the images (or subjects) swaps the two methods' answers, for all seeds
    alike. Statistics are linear in weights, so the swapped runs are the two runs' answers together, weighted 0 or 1.

    Args:
      outcomes: runs.
      plan: Q values.
      method, control: int [S], positions of paired runs, -1 for none.
      permutations: P; the observed arrangement counts as one more, so that p is at least 1 / (P + 1).
      drawn: what swaps together.
      seed: of the draw.
    """
    pairs = (method >= 0) & (control >= 0)
    a, b = method[pairs], control[pairs]
    p = outcomes.probabilities
    both: Answers = answers(
        np.concatenate([outcomes.labels] * 2),
        np.concatenate([outcomes.predictions[a], outcomes.predictions[b]], 1),
        None if p is None or not plan.needs_scores else np.concatenate([p[a], p[b]], 1),
    )
    doubled = dataclasses.replace(
        plan, groupings=tuple(dataclasses.replace(g, codes=np.concatenate([g.codes] * 2)) for g in plan.groupings)
    )
    swap = np.random.default_rng(seed).random((drawn.count, permutations)) < 0.5
    swap = np.concatenate([np.zeros((drawn.count, 1), bool), swap], 1)[drawn.of_image]
    mine = np.concatenate([~swap, swap]).astype(np.float32)
    weights = np.concatenate([mine, 1 - mine], 1)
    runs = np.arange(int(pairs.sum()), dtype=np.int32)[None]
    (_, values), *_ = resample.replicates_of(both, doubled, runs, weights)
    difference = values[0, : permutations + 1] - values[0, permutations + 1 :]
    seen = np.abs(difference[0])
    # Undefined arrangements count as extreme; equal ones must, whatever the rounding.
    extreme = ~(np.abs(difference[1:]) < seen - 1e-6)
    return np.where(np.isnan(seen), np.nan, (extreme.sum(0) + 1) / (permutations + 1))
