"""What some mitigations add to a network beside its own head: an adversary on the features, or attributes as inputs.

Their parameters lie beside the network's, under 'adversary' and 'aware'; they train with the member's optimiser.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
from flax import struct

Array = Any
Tree = Any

KINDS = ADVERSARY, AWARE = "adversary", "aware"
NO_ADVERSARY, CONFUSION, REVERSAL, LAFTR = range(4)


class Adversary(struct.PyTreeNode):
    """What an adversary does; scalars, of one member."""

    kind: Array  # int32, NO_ADVERSARY ... LAFTR
    strength: Array  # of its pull on the features
    conditional: Array  # 1: it knows the true class


def initial(
    key: jax.Array, kind: str, features: int, classes: int, groups: int, inputs: int, adversaries: int = 1
) -> Tree:
    """Parameters beside the network's: {} or {kind: {...}}, uniform in 1 / sqrt(inputs) as torch's Linear.

    Args:
      key: PRNG key.
      kind: ADVERSARY: A adversaries of K x G outputs on F features; AWARE: F outputs on D inputs; else: none.
      features, classes, groups, inputs, adversaries: F, K, G, D, A.
    """
    shapes = {ADVERSARY: (adversaries, features, classes * groups), AWARE: (inputs, features)}
    if kind not in shapes:
        return {}
    shape = shapes[kind]
    bound = shape[-2] ** -0.5
    keys = jax.random.split(key)
    kernel = jax.random.uniform(keys[0], shape, minval=-bound, maxval=bound)
    bias = jax.random.uniform(keys[1], (*shape[:-2], shape[-1]), minval=-bound, maxval=bound)
    return {kind: {"kernel": kernel, "bias": bias}}


def _linear(p: Tree, x: jax.Array) -> jax.Array:
    return x @ p["kernel"] + p["bias"]


def aware_logits(params: Tree, logits: jax.Array, inputs: jax.Array) -> jax.Array:
    """Logits of W (features + U a) from those of W features, a the inputs [..., D]; the head must be linear, 'fc'.

    Attribute-aware network of Xu et al. 2020 as the first study builds it: Linear(D, F) on the attributes, no
    activation, added to the features before the head.
    """
    return logits + _linear(params[AWARE], inputs) @ params["fc"]["kernel"]


def marginalised(
    params: Tree, logits: jax.Array, groups: jax.Array, table: jax.Array, shares: jax.Array, multilabel: bool = False
) -> jax.Array:
    """Attribute-aware logits where some images' groups are not known.

    Args:
      params: of the member.
      logits: [B, K] without attributes.
      groups: int [B], -1 not known.
      table: [G, D] inputs of each group.
      shares: [G] of the groups in training.
      multilabel: whether predictions are sigmoids and not a softmax.

    Returns:
      [B, K] logits of the prediction with the image's own attributes, or of sum_g share_g p(y | x, g).
    """
    every = aware_logits(params, logits[:, None, :], table)  # [B, G, K]
    if multilabel:
        own = jnp.take_along_axis(every, jnp.maximum(groups, 0)[:, None, None], 1)[:, 0]
        weight = jnp.log(jnp.maximum(shares, 1e-30))[:, None]
        yes, no = (jax.nn.logsumexp(jax.nn.log_sigmoid(z) + weight, 1) for z in (every, -every))
        return jnp.where((groups >= 0)[:, None], own, yes - no)
    log_p = jax.nn.log_softmax(every)
    own = jnp.take_along_axis(log_p, jnp.maximum(groups, 0)[:, None, None], 1)[:, 0]
    mixed = jax.nn.logsumexp(log_p + jnp.log(jnp.maximum(shares, 1e-30))[:, None], 1)
    return jnp.where((groups >= 0)[:, None], own, mixed)


def adversary_loss(
    params: Tree,
    features: jax.Array,
    labels: jax.Array,
    memberships: jax.Array,
    valid: jax.Array,
    a: Adversary,
) -> jax.Array:
    """Sum over adversaries of `_one_adversary`; memberships are one-hot [A, B, G], one division for each."""

    def one(p: Tree, membership: jax.Array) -> jax.Array:
        return _one_adversary(p, features, labels, membership, valid, a)

    return jax.vmap(one)(params[ADVERSARY], memberships).sum()


def _one_adversary(
    adversary: Tree,
    features: jax.Array,
    labels: jax.Array,
    membership: jax.Array,
    valid: jax.Array,
    a: Adversary,
) -> jax.Array:
    """What an adversary adds to the loss: its own objective, and the pull on the features.

    The adversary's parameters see its own objective only, on features held constant; the features see the pull only,
    with the adversary held constant.

    Args:
      adversary: its parameters.
      features: [B, F].
      labels: int [B].
      membership: one-hot [B, G].
      valid: bool [B].
      a: the member's.

    Returns:
      Scalar. CONFUSION (Alvi et al. 2018): the adversary's cross-entropy, and strength times the features'
      cross-entropy to the uniform distribution over groups. REVERSAL (Ganin et al. 2016): the cross-entropy, and minus
      strength times it. LAFTR (Madras et al. 2018), over G groups: 1 - p(group), half the l1 distance of its binary
      form, averaged within each cell of group and class and then over the cells of the batch; minus strength times the
      same for the features.
    """
    groups = membership.shape[-1]
    known = (valid & (membership.sum(-1) > 0)).astype(jnp.float32)

    def log_p(p: Tree, x: jax.Array) -> jax.Array:
        out = _linear(p, x).reshape(x.shape[0], -1, groups)
        row = jnp.where(a.conditional > 0, labels, 0)
        return jax.nn.log_softmax(jnp.take_along_axis(out, row[:, None, None], 1)[:, 0])

    def mean(x: jax.Array) -> jax.Array:
        return (x * known).sum() / jnp.maximum(known.sum(), 1)

    def wrong(q: jax.Array) -> jax.Array:
        """LAFTR's: over cells of group and class."""
        miss = 1 - jnp.exp((q * membership).sum(-1))
        classes = adversary["kernel"].shape[-1] // groups
        cells = (jax.nn.one_hot(labels, classes)[:, :, None] * membership[:, None]).reshape(len(q), -1) * known[:, None]
        size = cells.sum(0)
        each = (cells * miss[:, None]).sum(0) / jnp.maximum(size, 1)
        return each.sum() / jnp.maximum((size > 0).sum(), 1)

    trained = log_p(adversary, jax.lax.stop_gradient(features))
    felt = log_p(jax.lax.stop_gradient(adversary), features)
    cross = mean(-(trained * membership).sum(-1))
    confusion = cross + a.strength * mean(-felt.mean(-1))
    reversal = cross - a.strength * mean(-(felt * membership).sum(-1))
    laftr = wrong(trained) - a.strength * wrong(felt)
    return jnp.stack([jnp.zeros(()), confusion, reversal, laftr])[a.kind]
