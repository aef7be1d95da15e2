"""What the outputs of a network mean: one class an image (softmax), or many labels, Action Units (sigmoids).

Labels tell which: int [N] are classes, int [N, T] of 1, 0 and -1 (not known) are many.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from optax.losses import softmax_cross_entropy_with_integer_labels
from scipy import special

from frown_jax.member import losses
from frown_jax.metrics.auroc import multiclass_auroc, multilabel_auroc

Array = Any


def probabilities(logits: jax.Array, multilabel: bool) -> jax.Array:
    """[..., T] in 0 to 1."""
    return jax.nn.sigmoid(logits) if multilabel else jax.nn.softmax(logits)


def probabilities_of(logits: np.ndarray, multilabel: bool) -> np.ndarray:
    """The same in numpy."""
    return special.expit(logits) if multilabel else special.softmax(logits, -1)


def auroc(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Macro mean of the areas under the ROC curves; a label of -1 does not count."""
    if labels.ndim == 2:
        return multilabel_auroc(jax.nn.sigmoid(logits), labels)
    return multiclass_auroc(jax.nn.softmax(logits), labels)


def mean_loss(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Mean cross-entropy over the known labels, nats; 0 if there are none."""
    entropy = losses.binary_cross_entropy if labels.ndim == 2 else softmax_cross_entropy_with_integer_labels
    return _mean(entropy(logits.astype(jnp.float32), labels), labels >= 0)


def accuracy(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Share of the known labels that are predicted."""
    return _mean(_right(logits, labels).astype(jnp.float32), labels >= 0)


def correct(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Of each image, whether its class is predicted; the share of its known labels that is. Float32 [N]."""
    right = _right(logits, labels).astype(jnp.float32)
    if labels.ndim == 1:
        return right
    known = labels >= 0
    return (right * known).sum(-1) / jnp.maximum(known.sum(-1), 1)


def _right(logits: jax.Array, labels: jax.Array) -> jax.Array:
    return (logits > 0) == (labels == 1) if labels.ndim == 2 else logits.argmax(-1) == labels


def _mean(x: jax.Array, known: jax.Array) -> jax.Array:
    return jnp.where(known, x, 0).sum() / jnp.maximum(known.sum(), 1)


def as_index(labels: jax.Array) -> jax.Array:
    """Labels for what tells classes apart within a batch; with many labels an image, all of one class."""
    return labels if labels.ndim == 1 else jnp.zeros(labels.shape[0], labels.dtype)
