"""Which rule each layer of a network gets: composites, named as in zennit, and users' own tables."""

from __future__ import annotations

import dataclasses
import fnmatch
import functools
from collections.abc import Callable, Mapping

from frown_jax.errors import ConfigError
from frown_jax.explain.rules import (
    AlphaBeta,
    Epsilon,
    Flat,
    Gamma,
    Rule,
    WSquare,
    ZBox,
    ZPlus,
)
from frown_jax.member.augment import IMAGENET_MEAN, IMAGENET_SD

# What a key of a table may name, beside a path: the first linear layer, and kinds of layers.
KINDS = FIRST, CONV, DENSE, ACTIVATION, ADD, MEAN, MAX = "first", "conv", "dense", "activation", "add", "mean", "max"

# Of layers without weights. Activations: relevance through, or the gradient. Sums: by contribution, all through the
# branch (the shortcut gets none), or the gradient, which counts it twice. Max pooling: the winner takes it all.
PASS, NORM, MAIN, GRADIENT = "pass", "norm", "main", "gradient"
CHOICES = {ACTIVATION: (PASS, GRADIENT), ADD: (NORM, MAIN, GRADIENT), MEAN: (NORM, GRADIENT), MAX: (GRADIENT,)}
DEFAULTS = {ACTIVATION: PASS, ADD: NORM, MEAN: NORM, MAX: GRADIENT}

# Pixels after normalisation: black and white.
LOW = tuple(float(v) for v in (0 - IMAGENET_MEAN) / IMAGENET_SD)
HIGH = tuple(float(v) for v in (1 - IMAGENET_MEAN) / IMAGENET_SD)

# Rules by name, and what their numbers are called.
_RULES: Mapping[str, tuple[Callable[..., Rule], tuple[str, ...]]] = {
    "epsilon": (Epsilon, ("stabiliser",)),
    "zplus": (ZPlus, ()),
    "alphabeta": (AlphaBeta, ("alpha", "beta")),
    "gamma": (Gamma, ("gamma",)),
    "zbox": (functools.partial(ZBox, low=LOW, high=HIGH), ()),
    "wsquare": (WSquare, ()),
    "flat": (Flat, ()),
}


@dataclasses.dataclass(frozen=True)
class Composite:
    """An ordered table: the first key that fits a layer decides.

    Attributes:
      name: shown in results.
      table: (key, rule) pairs. A key is a kind of KINDS, or a path of module names with wildcards
        ('layer4_*/conv2'); of layers without weights the rule is a word of CHOICES.
    """

    name: str
    table: tuple[tuple[str, Rule | str], ...]

    def __post_init__(self) -> None:
        for key, rule in self.table:
            allowed = CHOICES.get(key)
            if allowed is not None and rule not in allowed:
                raise ConfigError(f"composite {self.name}: {key} takes {', '.join(allowed)}, not {rule}")

    def linear(self, path: tuple[str, ...], kind: str, first: bool) -> Rule | None:
        """The rule of a linear layer; None: the table has none."""
        text = "/".join(path)
        for key, rule in self.table:
            if isinstance(rule, str):
                continue
            if key == kind or (key == FIRST and first) or (key not in KINDS and fnmatch.fnmatchcase(text, key)):
                return rule
        return None

    def other(self, path: tuple[str, ...], kind: str) -> str:
        """What happens in a layer without weights."""
        text = "/".join(path)
        for key, rule in self.table:
            if not isinstance(rule, str) or (key in KINDS and key != kind):
                continue
            if (key == kind or fnmatch.fnmatchcase(text, key)) and rule in CHOICES[kind]:
                return rule
        return DEFAULTS[kind]

    def residual(self, rule: str) -> Composite:
        """The same with another rule for sums.

        Raises:
          ConfigError: there is no such rule.
        """
        rest = tuple(entry for entry in self.table if entry[0] != ADD)
        return dataclasses.replace(self, table=((ADD, rule), *rest))


def _composite(name: str, conv: Rule, dense: Rule, first: Rule | None = None, **others: str) -> Composite:
    start: tuple[tuple[str, Rule | str], ...] = ((FIRST, first),) if first else ()
    return Composite(name, (*start, (CONV, conv), (DENSE, dense), *others.items()))


COMPOSITES: Mapping[str, Composite] = {
    c.name: c
    for c in (
        _composite("EpsilonPlus", ZPlus(), Epsilon()),
        _composite("EpsilonPlusFlat", ZPlus(), Epsilon(), Flat()),
        _composite("EpsilonAlpha2Beta1", AlphaBeta(), Epsilon()),
        _composite("EpsilonAlpha2Beta1Flat", AlphaBeta(), Epsilon(), Flat()),
        _composite("EpsilonGammaBox", Gamma(), Epsilon(), ZBox(low=LOW, high=HIGH)),
        _composite("ExcitationBackprop", ZPlus(), ZPlus(), activation=GRADIENT),
        _composite("Epsilon", Epsilon(), Epsilon()),
    )
}


def _number(text: str, entry: str) -> float:
    try:
        return float(text)
    except ValueError:
        raise ConfigError(f"--composite: {text!r} in {entry!r} is not a number") from None


def _rule(key: str, text: str) -> Rule | str:
    name, *numbers = text.split(":")
    if name in {w for words in CHOICES.values() for w in words}:
        return name
    if name not in _RULES:
        raise ConfigError(f"--composite: {name!r} of {key!r} is no rule; there are {', '.join(_RULES)}")
    made, fields = _RULES[name]
    if len(numbers) > len(fields):
        raise ConfigError(f"--composite: {name} takes {len(fields)} numbers, not {len(numbers)}")
    values = {f: _number(n, text) for f, n in zip(fields, numbers, strict=False)}
    try:
        return made(**values)
    except ValueError as e:
        raise ConfigError(f"--composite: {e}") from None


def parse(text: str) -> Composite:
    """A composite by name, or from a table in text.

    Args:
      text: 'EpsilonPlusFlat', or 'first=flat;layer4_*/conv2=gamma:0.5;conv=alphabeta:2:1;dense=epsilon:0.1;add=main'.

    Raises:
      ConfigError: neither; the message lists what there is.
    """
    if text in COMPOSITES:
        return COMPOSITES[text]
    if "=" not in text:
        raise ConfigError(
            f"--composite={text}: there are {', '.join(COMPOSITES)}, or a table like "
            "'first=flat;conv=zplus;dense=epsilon'"
        )
    table = []
    for entry in filter(None, (e.strip() for e in text.split(";"))):
        key, equals, rule = (p.strip() for p in entry.partition("="))
        if not (key and equals and rule):
            raise ConfigError(f"--composite: {entry!r} is not of the form key=rule")
        table.append((key, _rule(key, rule)))
    return Composite(text, tuple(table))
