"""What a setting may be, as data: each kind says it in words and finds what is wrong with a value."""

from __future__ import annotations

import dataclasses
import math
import re
from typing import Protocol

from frown_jax.config.words import RANGES

_LONGEST = 120  # characters of a value that a message repeats


def shown(value: object) -> str:
    """A value as a message shows it: on one line, and cut where it is long."""
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


class Check(Protocol):
    """One kind of value."""

    @property
    def allowed(self) -> str:
        """What may be written, as the end of a sentence: 'a whole number from 1 to 9'."""

    def fault(self, value: object) -> str:
        """Returns what to say after '--config.FIELD is VALUE: ', or '' where the value is allowed."""


class NumberCheck(Check, Protocol):
    """A kind of number, which can be read from text too."""

    def read(self, text: str) -> object:
        """The number that the text stands for, or the text itself where it stands for none."""


def _is_number(value: object, kinds: type | tuple[type, ...]) -> bool:
    return isinstance(value, kinds) and not isinstance(value, bool)


@dataclasses.dataclass(frozen=True)
class OneOf:
    """One of some words."""

    words: tuple[str, ...]

    @property
    def allowed(self) -> str:
        return f"one of {', '.join(word or repr(word) for word in self.words)}"

    def fault(self, value: object) -> str:
        return "" if isinstance(value, str) and value in self.words else self.allowed


@dataclasses.dataclass(frozen=True)
class Text:
    """Any text, or any but the empty one."""

    may_be_empty: bool = True

    @property
    def allowed(self) -> str:
        return "a text" if self.may_be_empty else "a text of at least one character"

    def fault(self, value: object) -> str:
        return "" if isinstance(value, str) and (value or self.may_be_empty) else self.allowed


@dataclasses.dataclass(frozen=True)
class Form:
    """Text of one form.

    Attributes:
      form: the form in words, 'VALUE:NUMBER'.
      pattern: a regular expression that the whole text matches.
    """

    form: str
    pattern: str

    @property
    def allowed(self) -> str:
        return f"a text {self.form}"

    def fault(self, value: object) -> str:
        good = isinstance(value, str) and re.fullmatch(self.pattern, value, re.ASCII | re.DOTALL)
        return "" if good else self.allowed


@dataclasses.dataclass(frozen=True)
class Whole:
    """A whole number between two others, both included."""

    low: int
    high: int

    @property
    def allowed(self) -> str:
        return f"a whole number from {self.low} to {self.high:,}"

    def fault(self, value: object) -> str:
        good = _is_number(value, int) and self.low <= value <= self.high  # type: ignore[operator]
        return "" if good else self.allowed

    def read(self, text: str) -> object:
        try:
            return int(text)
        except ValueError:
            return text


@dataclasses.dataclass(frozen=True)
class Between:
    """A number between two others, which are included unless `above` or `below` leave them out. NaN is no number."""

    low: float
    high: float
    above: bool = False
    below: bool = False

    @property
    def allowed(self) -> str:
        if not (self.above or self.below):
            return f"a number from {self.low:g} to {self.high:,.10g}"
        low, high = "above" if self.above else "of at least", "below" if self.below else "at most"
        return f"a number {low} {self.low:g} and {high} {self.high:,.10g}"

    def fault(self, value: object) -> str:
        if not _is_number(value, (int, float)):
            return self.allowed
        assert isinstance(value, (int, float))
        good = self.low <= value <= self.high
        good &= not (self.above and value == self.low) and not (self.below and value == self.high)
        return "" if good else self.allowed

    def read(self, text: str) -> object:
        try:
            return float(text)
        except ValueError:
            return text


@dataclasses.dataclass(frozen=True)
class WordOr:
    """A word, or a number written as text: such a setting is text, so that it can hold both."""

    word: str
    number: NumberCheck

    @property
    def allowed(self) -> str:
        return f"the word {self.word}, or {self.number.allowed}"

    def fault(self, value: object) -> str:
        if not isinstance(value, str):
            return f"{self.allowed}, written as text"
        return "" if value == self.word or not self.number.fault(self.number.read(value)) else self.allowed


@dataclasses.dataclass(frozen=True)
class TupleOf:
    """A tuple whose entries all pass one check.

    Attributes:
      each: the check of an entry.
      least: how many entries there are at least.
      distinct: whether all entries differ.
    """

    each: Check
    least: int = 0
    distinct: bool = False

    @property
    def allowed(self) -> str:
        entries = f"at least {self.least} {'entry' if self.least == 1 else 'entries'}" if self.least else "entries"
        distinct = ", and none twice" if self.distinct else ""
        return f"a tuple of {entries}, each {self.each.allowed}{distinct}"

    def fault(self, value: object) -> str:
        if not isinstance(value, tuple) or len(value) < self.least:
            return self.allowed
        for entry in value:
            if self.each.fault(entry):
                return f"{shown(entry)} is not {self.each.allowed}"
        twice = next((entry for i, entry in enumerate(value) if entry in value[:i]), None)
        return f"{shown(twice)} occurs twice" if self.distinct and twice is not None else ""


@dataclasses.dataclass(frozen=True)
class LowHigh:
    """A tuple of two numbers that both pass one check, the lower one first."""

    each: Between

    @property
    def allowed(self) -> str:
        return f"a tuple (LOW, HIGH) with LOW at most HIGH, each {self.each.allowed}"

    def fault(self, value: object) -> str:
        good = isinstance(value, tuple) and len(value) == 2 and not any(map(self.each.fault, value))
        return "" if good and value[0] <= value[1] else self.allowed  # type: ignore[index]


@dataclasses.dataclass(frozen=True)
class Tried:
    """The values that a search tries; the searched setting checks each of them.

    Attributes:
      ranges: whether it may be a range of numbers to draw from, too.
    """

    ranges: bool = True

    @property
    def allowed(self) -> str:
        return "a tuple of values" + ", or ('uniform', LOW, HIGH), or ('log', LOW, HIGH) above 0" * self.ranges

    def fault(self, value: object) -> str:
        if not isinstance(value, tuple):
            return self.allowed
        if not value or value[0] not in RANGES:
            return "" if all(isinstance(v, str) or _is_number(v, (int, float)) for v in value) else self.allowed
        if not self.ranges or len(value) != 3 or not all(_is_number(v, (int, float)) for v in value[1:]):
            return self.allowed
        kind, low, high = value
        good = 0 <= low < high < math.inf and (kind == "uniform" or low > 0)
        return "" if good else self.allowed
