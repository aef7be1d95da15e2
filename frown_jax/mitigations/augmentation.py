"""What is done to pixels, in training only."""

from __future__ import annotations

import dataclasses

import numpy as np

from frown_jax.data.annotations import Annotations
from frown_jax.member.values import Member
from frown_jax.mitigations.registry import choice, number, register


def _augment(member: Member, **changes: float) -> Member:
    values = {k: np.float32(v) for k, v in changes.items()}
    return member.replace(augmentation=dataclasses.replace(member.augmentation, **values))


@register(needs="none")
def invert(data: Annotations, member: Member, p: float = 0.5, how: str = "pixels") -> Member:
    """Pixel inversion with probability p ("Frowning upon Bias").

    how='pixels' inverts the image; 'normalised' computes 1 - z after normalising, as the study's code does, which adds
    +0.87, +0.61, +0.16 to the true inversion's channels.
    """
    number("p", p, 0, 1)
    normalised = choice("how", how, ("pixels", "normalised")) == "normalised"
    return _augment(member, invert=p, invert_normalised=float(normalised))


@register(needs="none")
def lighting(data: Annotations, member: Member, brightness: float = 0.4, contrast: float = 0.4) -> Member:
    """Varying lighting: brightness and contrast factors, uniform in 1 -+ these (the study's photometric variant)."""
    return _augment(
        member, brightness=number("brightness", brightness, 0, 1), contrast=number("contrast", contrast, 0, 1)
    )
