"""Regularisers that pull groups together, for K classes and G groups; each is 0 where there is nothing to compare.

Every penalty takes (p, features, labels, membership, valid): probabilities float32 [B, K]; features float32 [B, F];
labels int [B], or [B, K] of 1, 0 and -1 (not known) where an image has many labels; membership one-hot float32 [B, G]
(all 0 for an unknown group); valid bool [B]. It returns a scalar of at least 0. A group or class that a batch lacks
contributes 0, never NaN.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp

Penalty = Callable[[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array], jax.Array]
MMD_BANDWIDTHS = (1e-3, 1e-2, 1e-1, 1.0, 10.0, 100.0, 1000.0)
MINDIFF_LENGTH = 0.1


def _ratio(above: jax.Array, below: jax.Array) -> jax.Array:
    return jnp.where(below > 0, above / jnp.where(below > 0, below, 1), 0)


def _spread(values: jax.Array, membership: jax.Array) -> jax.Array:
    """Weighted variance over groups of the groups' means of each column: [B, C] -> [C]."""
    size = membership.sum(0)  # [G]
    means = _ratio(membership.T @ values, size[:, None])
    share = _ratio(size, size.sum())
    centre = share @ means
    return share @ (means - centre) ** 2


def demographic_parity(p, features, labels, membership, valid) -> jax.Array:
    """mean_k sum_a P(a) (E[p_k | a] - E[p_k])^2: soft demographic parity over K classes and G groups (ours)."""
    del features, labels
    return _spread(p, membership * valid[:, None]).mean()


def equal_opportunity(p, features, labels, membership, valid) -> jax.Array:
    """The same of p_y among the images of each class (that show an Action Unit), mean over those of the batch."""
    del features
    classes = p.shape[-1]

    def of_class(k: jax.Array) -> tuple[jax.Array, jax.Array]:
        inside = valid & ((labels == k) if labels.ndim == 1 else (labels[:, k] == 1))
        return _spread(p[:, k, None], membership * inside[:, None])[0], inside.any()

    values, present = jax.vmap(of_class)(jnp.arange(classes))
    return _ratio(values.sum(), present.sum())


def equalized_odds(p, features, labels, membership, valid) -> jax.Array:
    """The same of all p_j among the images of each class, mean over j and over the classes of the batch.

    With many labels an image: of p_k among those with the label and among those without, mean over both and over k.
    """
    del features
    classes = p.shape[-1]
    if labels.ndim == 2:

        def of_label(k: jax.Array, value: jax.Array) -> tuple[jax.Array, jax.Array]:
            inside = valid & (labels[:, k] == value)
            return _spread(p[:, k, None], membership * inside[:, None])[0], inside.any()

        of_value = jax.vmap(jax.vmap(of_label, (0, None)), (None, 0))
        values, present = of_value(jnp.arange(classes), jnp.array([0, 1]))
        return _ratio(values.sum(), present.sum())

    def of_class(k: jax.Array) -> tuple[jax.Array, jax.Array]:
        inside = valid & (labels == k)
        return _spread(p, membership * inside[:, None]).mean(), inside.any()

    values, present = jax.vmap(of_class)(jnp.arange(classes))
    return _ratio(values.sum(), present.sum())


def _squared_distances(x: jax.Array) -> jax.Array:
    norms = (x**2).sum(-1)
    return jnp.maximum(norms[:, None] + norms - 2 * x @ x.T, 0)


def _weights(membership: jax.Array, valid: jax.Array) -> tuple[jax.Array, jax.Array]:
    inside = membership * valid[:, None]
    size = inside.sum(0)
    return _ratio(inside, size), size > 0


def hsic(p, features, labels, membership, valid) -> jax.Array:
    """tr(K H L H) / (n - 1)^2 between features and groups (Gretton et al. 2005).

    K is Gaussian, exp(-d^2 / s) with s the batch's mean squared distance (held constant in the gradient); L is 1 for
    two images of one group, else 0.
    """
    del p, labels
    known = (valid & (membership.sum(-1) > 0)).astype(jnp.float32)
    n = known.sum()
    pairs = known[:, None] * known
    d = _squared_distances(features)
    scale = jax.lax.stop_gradient(_ratio((d * pairs).sum(), pairs.sum()))
    kernel = jnp.exp(-d / jnp.where(scale > 0, scale, 1)) * pairs
    same = (membership @ membership.T) * pairs
    centred = kernel - _ratio(kernel.sum(0), n) * known[:, None]
    centred = (centred - _ratio(centred.sum(1, keepdims=True), n) * known) * pairs
    return _ratio((centred * same).sum(), jnp.maximum(n - 1, 0) ** 2)


def _pairwise(kernel: jax.Array, membership: jax.Array, valid: jax.Array) -> jax.Array:
    """Mean over pairs of present groups of the squared maximum mean discrepancy of a kernel."""
    weights, present = _weights(membership, valid)
    means = weights.T @ kernel @ weights  # [G, G]
    own = jnp.diag(means)
    gaps = own[:, None] + own - 2 * means
    pairs = jnp.triu(present[:, None] & present, 1)
    return _ratio(jnp.where(pairs, gaps, 0).sum(), pairs.sum())


def mmd(p, features, labels, membership, valid) -> jax.Array:
    """Squared maximum mean discrepancy of features, Gaussian kernels exp(-b d^2) summed over seven bandwidths b.

    As in SubpopBench (Yang et al. 2023), mean over pairs of groups.
    """
    del p, labels
    d = _squared_distances(features)
    kernel = sum(jnp.exp(-b * d) for b in MMD_BANDWIDTHS)
    return _pairwise(jnp.asarray(kernel), membership, valid)


def mindiff(p, features, labels, membership, valid) -> jax.Array:
    """MinDiff (Prost et al. 2019): MMD^2 of the probability of the true class, kernel exp(-d^2 / l^2), l = 0.1.

    The published one compares binary scores of negatives; over K classes the true class' probability stands for it. As
    TensorFlow Model Remediation's, whose test vectors it gives. With many labels an image, the mean over labels of the
    same among the images of which the label is known.
    """
    del features
    if labels.ndim == 2:

        def of_label(p: jax.Array, label: jax.Array) -> jax.Array:
            score = jnp.where(label == 1, p, 1 - p)[:, None]
            kernel = jnp.exp(-_squared_distances(score) / MINDIFF_LENGTH**2)
            return _pairwise(kernel, membership, valid & (label >= 0))

        return jax.vmap(of_label, 1)(p, labels).mean()
    score = jnp.take_along_axis(p, labels[:, None], 1)
    kernel = jnp.exp(-_squared_distances(score) / MINDIFF_LENGTH**2)
    return _pairwise(kernel, membership, valid)


def coral(p, features, labels, membership, valid) -> jax.Array:
    """Deep CORAL (Sun & Saenko 2016): element means of (difference of means)^2 + (difference of covariances)^2."""
    del p, labels
    weights, present = _weights(membership, valid)
    size = (membership * valid[:, None]).sum(0)
    means = weights.T @ features  # [G, F]
    centred = features[:, None] - means  # [B, G, F]
    inside = (membership * valid[:, None])[:, :, None]
    covariances = jnp.einsum("bgf,bgh->gfh", centred * inside, centred)
    covariances = _ratio(covariances, jnp.maximum(size - 1, 0)[:, None, None])

    def gap(x: jax.Array) -> jax.Array:
        flat = x.reshape(len(x), -1)
        return ((flat[:, None] - flat) ** 2).mean(-1)

    pairs = jnp.triu(present[:, None] & present, 1)
    return _ratio(jnp.where(pairs, gap(means) + gap(covariances), 0).sum(), pairs.sum())


PENALTIES: dict[str, Penalty] = {
    "demographic_parity": demographic_parity,
    "equal_opportunity": equal_opportunity,
    "equalized_odds": equalized_odds,
    "hsic": hsic,
    "mmd": mmd,
    "mindiff": mindiff,
    "coral": coral,
}
