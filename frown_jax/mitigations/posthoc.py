"""What is done after training: another last layer, offsets to the logits, inverted test images.

Runs that differ in nothing else share one training.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from frown_jax.data.annotations import Annotations, Groups, cells, columns_of
from frown_jax.errors import MitigationError
from frown_jax.mitigations.registry import Adjuster, choice, number, register_after
from frown_jax.posthoc import offsets, refit
from frown_jax.posthoc.adjustment import Adjustment, Outputs

# Kirichenko et al. 2023's inverse strengths of the l1 penalty, as scikit-learn counts them.
DFR_C = (1.0, 0.7, 0.3, 0.1, 0.07, 0.03, 0.01)


@register_after(needs="validation", refits=True, classes_only=True)
def dfr(
    train: Annotations,
    validation: Annotations,
    by: str | Sequence[str] = ("emotion", "race"),
    c: float | Sequence[float] = DFR_C,
    refits: int = 20,
    fewest: int = 2,
    seed: int = 0,
    drop: Sequence[str] = (),
) -> Adjuster:
    """Deep feature reweighting (Kirichenko et al. 2023): the last layer refitted on group-balanced validation images.

    l1-penalised logistic regression on standardised features; the mean of `refits` fits, each on equally many images of
    each group; of several `c` (1 / (c n) is the penalty) the one with the best worst group on half of the validation
    images, fitted on the other. Groups of fewer than `fewest` images of either half are left out of the balance.
    Early stopping looks at the same validation images.
    """
    groups = validation.groups(by, drop)
    strengths = np.atleast_1d(np.asarray(c, np.float64))
    for value in strengths:
        number("c", float(value), 0, above=True)
    number("refits", refits, 1)
    rng = np.random.default_rng(seed)
    half = _half(groups, rng)
    halves = [np.flatnonzero(half & (groups.codes >= 0)), np.flatnonzero(~half & (groups.codes >= 0))]
    used = np.min([np.bincount(groups.codes[h], minlength=len(groups.names)) for h in halves], 0) >= fewest
    if used.sum() < 2:
        raise MitigationError(
            f"fewer than two groups of {by!r} have {fewest} images in each half of the {len(validation)} validation "
            "images: group by fewer columns, or hold out more (--config.data.val_fraction)"
        )

    def adjust(seen: tuple[Outputs, Outputs], so_far: Adjustment) -> Adjustment:
        x = seen[1].penultimate
        mean, sd = refit.scale_of(x)
        z, k = (x - mean) / sd, len(validation.classes)
        best = 0
        if len(strengths) > 1:
            draws = _balanced(groups.codes, halves[0], used, refits, rng)
            worst = []
            for value in strengths:
                kernel, bias = _mean_fit(z, validation.labels, draws, value, k)
                right = (z @ kernel + bias).argmax(1) == validation.labels
                members = [halves[1][groups.codes[halves[1]] == g] for g in np.flatnonzero(used)]
                worst.append(min(right[m].mean() for m in members))
            best = int(np.argmax(worst))
        draws = _balanced(groups.codes, np.concatenate(halves), used, refits, rng)
        kernel, bias = _mean_fit(z, validation.labels, draws, strengths[best], k)
        kernel, bias = refit.unscaled(kernel, bias, mean, sd)
        return dataclasses.replace(so_far, kernel=kernel, bias=bias)

    return adjust


def _half(groups: Groups, rng: np.random.Generator) -> np.ndarray:
    """Half of the images of each group, bool [N]."""
    order = rng.permutation(len(groups.codes))
    order = order[np.argsort(groups.codes[order], kind="stable")]
    half = np.zeros(len(order), bool)
    half[order[::2]] = True
    return half


def _balanced(
    codes: np.ndarray, rows: np.ndarray, used: np.ndarray, refits: int, rng: np.random.Generator
) -> np.ndarray:
    """Which images each refit takes: as many of every used group as the smallest has; int [refits, n]."""
    members = [rows[codes[rows] == g] for g in np.flatnonzero(used)]
    each = min(len(m) for m in members)
    return np.stack([np.concatenate([rng.choice(m, each, replace=False) for m in members]) for _ in range(refits)])


def _mean_fit(z: np.ndarray, labels: np.ndarray, draws: np.ndarray, c: float, k: int) -> tuple[np.ndarray, np.ndarray]:
    ones = np.ones(draws.shape, np.float32)
    l1 = np.full(len(draws), 1 / (c * draws.shape[1]), np.float32)
    kernel, bias = refit.fit(z.astype(np.float32)[draws], labels[draws], ones, l1, 0 * l1, k)
    return np.asarray(kernel).mean(0), np.asarray(bias).mean(0)


@register_after(refits=True, classes_only=True)
def crt(
    train: Annotations,
    validation: Annotations,
    by: str | Sequence[str] = "emotion",
    decay: float = 5e-4,
    drop: Sequence[str] = (),
) -> Adjuster:
    """Classifier re-training (Kang et al. 2020): the last layer fitted anew on training images, groups balanced.

    The paper's class-balanced SGD with weight decay for ten epochs; here the same objective, each group weighing the
    same, to its minimum. Features are standardised first and images not augmented.
    """
    groups = train.groups(by, drop)
    number("decay", decay, 0, above=True)
    present = groups.sizes > 0
    each = np.divide(1, groups.sizes, out=np.zeros(len(present)), where=present)
    weights = np.where(groups.codes >= 0, each[groups.codes], 0).astype(np.float32)

    def adjust(seen: tuple[Outputs, Outputs], so_far: Adjustment) -> Adjustment:
        mean, sd = refit.scale_of(seen[0].penultimate)
        z = ((seen[0].penultimate - mean) / sd).astype(np.float32)
        one = np.zeros(1, np.float32)
        kernel, bias = refit.fit(z[None], train.labels[None], weights[None], one, one + decay, len(train.classes))
        kernel, bias = refit.unscaled(kernel[0], bias[0], mean, sd)
        return dataclasses.replace(so_far, kernel=kernel, bias=bias)

    return adjust


def add_offsets(
    so_far: Adjustment, offsets: np.ndarray, by: str | Sequence[str] = (), drop: Sequence[str] = ()
) -> Adjustment:
    """Offsets [G + 1, K] to the logits of groups, on top of those before; see Adjustment.

    Raises:
      MitigationError: those before are of other groups.
    """
    columns, dropped = columns_of(by), tuple(drop)
    if so_far.offsets is not None:
        if (so_far.by, so_far.drop) != (columns, dropped):
            raise MitigationError("another mitigation of this run offsets other groups: give both the same `by`")
        offsets = offsets + so_far.offsets
    return dataclasses.replace(so_far, offsets=offsets, by=columns, drop=dropped)


@register_after(needs="train (by: and test)", classes_only=True)
def posthoc_logit_adjustment(
    train: Annotations,
    validation: Annotations,
    tau: float = 1.0,
    by: str | Sequence[str] = (),
    drop: Sequence[str] = (),
) -> Adjuster:
    """Predicts by z - tau log P(y) (Menon et al. 2021), P the classes' shares of the training images.

    With `by`, by z - tau log P(y | a) of the image's own group (ours), one image added to every class of a group;
    images of no known group by P(y). For a network trained without class weights or balanced sampling.
    """
    number("tau", tau, 0)
    groups = train.groups(by, drop)
    everybody = np.bincount(train.labels, minlength=len(train.classes))
    smoothed = np.vstack([cells(groups, train.labels, len(train.classes)), everybody]) + bool(columns_of(by))
    prior = np.maximum(smoothed, 0.5) / np.maximum(smoothed.sum(1, keepdims=True), 1)

    def adjust(seen: tuple[Outputs, Outputs], so_far: Adjustment) -> Adjustment:
        return add_offsets(so_far, -tau * np.log(prior), by, drop)

    return adjust


@register_after(needs="validation and test", classes_only=True)
def group_offsets(
    train: Annotations,
    validation: Annotations,
    by: str | Sequence[str] = "race",
    objective: str = "worst_group",
    most_loss: float = 0.01,
    drop: Sequence[str] = (),
) -> Adjuster:
    """Offsets to the logits for each group and class, fitted on validation images under an accuracy constraint (ours).

    In the spirit of OxonFair (Delaney et al. 2024). objective='worst_group' raises the lowest balanced accuracy of a
    group, 'opportunity' the ratio of the lowest to the highest one (Xu et al. 2020's F), among offsets that cost at
    most `most_loss` of the accuracy on the validation images. Images of no known group keep their logits.
    """
    groups = validation.groups(by, drop)
    choice("objective", objective, offsets.OBJECTIVES)
    number("most_loss", most_loss, 0, 1)
    if (groups.sizes > 0).sum() < 2:
        raise MitigationError(f"by={by!r} has one group in the validation images: there is nothing to balance")

    def adjust(seen: tuple[Outputs, Outputs], so_far: Adjustment) -> Adjustment:
        z = so_far.logits(seen[1], validation)
        found = offsets.fit(z, validation.labels, groups.codes, len(groups.names), objective, most_loss)
        return add_offsets(so_far, np.vstack([found, np.zeros(z.shape[1])]), by, drop)

    return adjust


@register_after(needs="none")
def invert_test(train: Annotations, validation: Annotations, p: float = 0.5) -> Adjuster:
    """Pixel inversion at test ("Frowning upon Bias"'s text; its code inverts in training only): put `invert` before it.

    The expected prediction, (1 - p) p(y | image) + p p(y | inverted image), in place of a drawn one.
    """
    share = number("p", p, 0, 1)

    def adjust(seen: tuple[Outputs, Outputs], so_far: Adjustment) -> Adjustment:
        return dataclasses.replace(so_far, inverted=share)

    return adjust
