"""What a member minimises on a batch: the shape of its loss, how examples are pooled, penalties, heads for groups.

Everything is data of the member, so members with different objectives share one program.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import struct
from optax.losses import softmax_cross_entropy_with_integer_labels

from frown_jax.member import heads, losses
from frown_jax.member.penalties import PENALTIES

Array = Any

# How the heads of groups (a network with K outputs for each of G groups) are trained and read.
INDEPENDENT, INDEPENDENT_KNOWN, DISCRIMINATIVE, DISCRIMINATIVE_MAX = range(4)


class Reader(struct.PyTreeNode):
    """How classes are read off a network with heads of groups."""

    heads: Array  # int32, INDEPENDENT ... DISCRIMINATIVE_MAX
    prior_shift: Array  # [G, K] what DISCRIMINATIVE multiplies p(y, a) by
    inputs: Array  # [G, D] what an attribute-aware network is told of each group
    shares: Array  # [G] of the groups in training, by which it is read where the group is not known


class Objective(struct.PyTreeNode):
    """Values of one member; scalars unless said otherwise. The defaults are plain cross-entropy."""

    focal: Array  # gamma of the focal loss
    scale: Array  # of the logits in the loss
    margins: Array  # [K] taken from the true class' logit
    offsets: Array  # [G + 1, K] added to the logits of an image of group g in the loss; row G: no group
    dro_rate: Array  # step of GroupDRO's weights; 0 averages over examples
    dro_adjustment: Array  # [G] added to the groups' losses
    group_sizes: Array  # [G] training images
    cvar: Array  # share of the batch's highest losses that counts; 1 is all
    penalties: Array  # [len(PENALTIES)] coefficients
    reader: Reader
    adversary: heads.Adversary


def plain(classes: int, groups: int, inputs: int = 1) -> Objective:
    """Plain cross-entropy."""
    f = np.float32
    return Objective(
        focal=f(0),
        scale=f(1),
        margins=np.zeros(classes, f),
        offsets=np.zeros((groups + 1, classes), f),
        dro_rate=f(0),
        dro_adjustment=np.zeros(groups, f),
        group_sizes=np.zeros(groups, f),
        cvar=f(1),
        penalties=np.zeros(len(PENALTIES), f),
        reader=Reader(
            heads=np.int32(INDEPENDENT),
            prior_shift=np.ones((groups, classes), f),
            inputs=np.zeros((groups, inputs), f),
            shares=np.full(groups, 1 / groups, f),
        ),
        adversary=heads.Adversary(np.int32(heads.NO_ADVERSARY), f(0), f(0)),
    )


def first_group_weights(o: Objective) -> jax.Array:
    """GroupDRO's weights before training, [G]: uniform over groups that have images."""
    present = (jnp.asarray(o.group_sizes) > 0).astype(jnp.float32)
    return present / jnp.maximum(present.sum(), 1)


def class_logits(logits: jax.Array, groups: jax.Array, reader: Reader, classes: int) -> jax.Array:
    """What a network predicts for each class (or Action Unit), from whatever head it has.

    Args:
      logits: [B, K], or [B, G * K] of a network with heads of groups.
      groups: int [B], -1 unknown; used by INDEPENDENT_KNOWN only.
      reader: the member's.
      classes: K.

    Returns:
      [B, K] whose softmax is the prediction. INDEPENDENT: the sum of the heads' logits (Wang et al. 2020, "sum
      without prior shift"); INDEPENDENT_KNOWN: the head of the image's group, the sum where it is unknown;
      DISCRIMINATIVE: log sum_a p(y, a) shift(a, y), DISCRIMINATIVE_MAX the largest in place of the sum.
    """
    if logits.shape[-1] == classes:
        return logits
    each = logits.reshape(*logits.shape[:-1], -1, classes)  # [B, G, K]
    total = each.sum(-2)
    own = jnp.take_along_axis(each, jnp.maximum(groups, 0)[..., None, None], -2)[..., 0, :]
    known = jnp.where((groups >= 0)[..., None], own, total)
    joint = jax.nn.log_softmax(logits).reshape(each.shape) + jnp.log(reader.prior_shift)
    options = jnp.stack([total, known, jax.nn.logsumexp(joint, -2), joint.max(-2)])
    return options[reader.heads]


def _of_heads(logits: jax.Array, labels: jax.Array, groups: jax.Array, o: Objective, classes: int) -> jax.Array:
    """Cross-entropy of heads of groups, [B]: the own group's head, or the joint (group, class).

    An image of unknown group trains the sum of the heads, or the class' joint probabilities together.
    """
    each = logits.reshape(logits.shape[0], -1, classes)
    own = jnp.take_along_axis(each, jnp.maximum(groups, 0)[:, None, None], 1)[:, 0]
    chosen = jnp.where((groups >= 0)[:, None], own, each.sum(1)).astype(jnp.float32)
    independent = softmax_cross_entropy_with_integer_labels(chosen, labels)
    joint = jax.nn.log_softmax(logits.astype(jnp.float32)).reshape(each.shape)
    of_class = jnp.take_along_axis(joint, labels[:, None, None], 2)[..., 0]  # [B, G]
    of_both = jnp.take_along_axis(of_class, jnp.maximum(groups, 0)[:, None], 1)[:, 0]
    discriminative = -jnp.where(groups >= 0, of_both, jax.nn.logsumexp(of_class, 1))
    return jnp.where(o.reader.heads >= DISCRIMINATIVE, discriminative, independent)


def _focused(entries: jax.Array, o: Objective) -> jax.Array:
    """Times (1 - p)^gamma (Lin et al. 2017), from log p, so that the gradient is finite where p is 1."""
    miss = -jnp.expm1(-entries)
    focus = jnp.exp(o.focal * jnp.log(jnp.maximum(miss, 1e-8)))
    return jnp.where(o.focal > 0, focus * entries, entries)


def label_losses(
    logits: jax.Array, labels: jax.Array, groups: jax.Array, weights: jax.Array, o: Objective
) -> tuple[jax.Array, jax.Array]:
    """Losses of a batch with many labels an image, unreduced; and the share of each image's labels that is known.

    Args:
      logits: [B, T] or, of heads of groups, [B, G * T].
      labels: int [B, T]: 1, 0, -1 not known.
      groups: int [B], -1 unknown.
      weights: [T, 2] of each label's negatives and positives.
      o: the member's.

    Returns:
      [B] and [B]: the weighted sigmoid cross-entropies of the known labels, summed and divided by T; see losses.reduce.
    """
    read = class_logits(logits, groups, o.reader.replace(heads=jnp.asarray(INDEPENDENT_KNOWN)), labels.shape[-1])
    entries = _focused(losses.binary_cross_entropy(o.scale * read.astype(jnp.float32), labels), o)
    weighted = jnp.where(labels == 1, weights[:, 1], weights[:, 0]) * entries
    return weighted.mean(-1), (labels >= 0).mean(-1)


def example_losses(logits: jax.Array, labels: jax.Array, groups: jax.Array, o: Objective, classes: int) -> jax.Array:
    """Losses of a batch of classified images, unreduced, [B].

    Args:
      logits: [B, K] or [B, G * K].
      labels: int [B].
      groups: int [B], -1 unknown.
      o: the member's.
      classes: K.
    """
    if logits.shape[-1] != classes:
        return _of_heads(logits, labels, groups, o, classes)
    logits = logits.astype(jnp.float32)
    shaped = logits + o.offsets[jnp.where(groups >= 0, groups, len(o.offsets) - 1)]
    shaped = o.scale * (shaped - o.margins * jax.nn.one_hot(labels, classes))
    return _focused(softmax_cross_entropy_with_integer_labels(shaped, labels), o)


def group_means(
    per_example: jax.Array, weights: jax.Array, membership: jax.Array, counts: jax.Array | float = 1.0
) -> tuple[jax.Array, jax.Array]:
    """Mean loss of each group of the batch, and whether it is there; [G] each.

    `counts` [B] is how much of an example each one is: less than 1 where labels are not known.
    """
    inside = membership * ((weights > 0) * counts)[:, None]
    size = inside.sum(0)
    total = (membership * jnp.where(weights > 0, per_example * weights, 0)[:, None]).sum(0)
    return total / jnp.where(size > 0, size, 1), size > 0


def pooled(
    per_example: jax.Array,
    weights: jax.Array,
    valid: jax.Array,
    normaliser: jax.Array,
    membership: jax.Array,
    group_weights: jax.Array,
    o: Objective,
    known: jax.Array | float = 1.0,
) -> tuple[jax.Array, jax.Array]:
    """One loss of a batch, and GroupDRO's weights after it.

    Args:
      per_example: [B].
      weights: [B], at least 0.
      valid: bool [B].
      normaliser: see losses.reduce.
      membership: one-hot [B, G].
      group_weights: [G].
      o: the member's.
      known: [B] share of each example's labels that is known.

    Returns:
      Scalar and [G]. Average, or the mean of the highest `cvar` share of weighted losses (CVaR; Rockafellar & Uryasev
      2000), or GroupDRO (Sagawa et al. 2020): q_g <- q_g exp(rate (L_g + adjustment_g)), normalised, sum of q_g L_g.
      Groups that the batch lacks keep their weight before normalising and add nothing.
    """
    weights = weights * valid
    average = losses.reduce(per_example, weights, valid, normaliser, known)
    # CVaR: the examples' ranks decide which count; the last one counts in part.
    weighted = jnp.where(weights > 0, per_example * weights, -jnp.inf)
    rank = jnp.argsort(jnp.argsort(-weighted))
    budget = o.cvar * valid.sum()
    part = jax.lax.stop_gradient(jnp.clip(budget - rank, 0, 1) * (weights > 0))
    tail = jnp.where(part > 0, part * per_example * weights, 0).sum() / jnp.maximum(part.sum(), 1e-8)
    means, there = group_means(per_example, weights, membership, jnp.where(normaliser == losses.PER_COUNT, 1, known))
    raised = group_weights * jnp.exp(o.dro_rate * jax.lax.stop_gradient(jnp.where(there, means + o.dro_adjustment, 0)))
    updated = raised / jnp.maximum(raised.sum(), 1e-20)
    robust = (updated * jnp.where(there, means, 0)).sum()
    loss = jnp.where(o.cvar < 1, tail, average)
    loss = jnp.where(o.dro_rate > 0, robust, loss)
    return loss, jnp.where(o.dro_rate > 0, updated, group_weights)


def penalty(
    p: jax.Array,
    features: jax.Array,
    labels: jax.Array,
    membership: jax.Array,
    valid: jax.Array,
    o: Objective,
    chosen: Sequence[int] = tuple(range(len(PENALTIES))),
) -> jax.Array:
    """Sum of coefficients times penalties; those of coefficient 0 are not computed where members run alone.

    `chosen` are the positions of those that any member of the program has: the others are not compiled.
    """
    total = jnp.zeros(())
    for i, f in enumerate(PENALTIES.values()):
        if i not in chosen:
            continue
        value = jax.lax.cond(
            o.penalties[i] != 0,
            lambda f=f: f(p, features, labels, membership, valid).astype(jnp.float32),
            lambda: jnp.zeros((), jnp.float32),
        )
        total = total + o.penalties[i] * value
    return total
