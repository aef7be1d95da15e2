"""Mitigations by name. A mitigation is a function (training set, member) -> member: it edits the member's values.

In a config a mitigation is the call that makes it, and several are joined by '+':

    --config.mitigation="equalise(by='race', how='mean')"
    --config.mitigation="reweighing(by='gender') + focal(gamma=2)"

docs/add_a_method.md shows how to add one.
"""

from __future__ import annotations

import ast
import dataclasses
import difflib
import inspect
from collections.abc import Callable
from typing import Any

import numpy as np

from frown_jax.training_set import MitigationError, TrainingSet, columns_of

Values = dict[str, Any]  # the fields of a member, before it is one
Function = Callable[..., Values]


@dataclasses.dataclass(frozen=True)
class Method:
    """A registered mitigation.

    Attributes:
      name: as in configs and tables.
      function: (TrainingSet, member values, **hyperparameters) -> member values.
      head: what the network needs besides its own head: '' (nothing), 'domain' (a head for each group).
      needs: where attributes are needed: 'none', 'train', 'train and test'.
      each_column: whether the columns of `by` are groups of their own, in place of their combinations.
    """

    name: str
    function: Function
    head: str
    needs: str
    each_column: bool = False

    @property
    def parameters(self) -> dict[str, Any]:
        """Hyperparameters with their defaults."""
        found = list(inspect.signature(self.function).parameters.values())[2:]
        return {p.name: p.default for p in found}


METHODS: dict[str, Method] = {}


def register(head: str = "", needs: str = "train", each_column: bool = False) -> Callable[[Function], Function]:
    """Makes a function a mitigation under its own name; the arguments are Method's."""

    def add(function: Function) -> Function:
        METHODS[function.__name__] = Method(function.__name__, function, head, needs, each_column)
        return function

    return add


@dataclasses.dataclass(frozen=True)
class Call:
    """One mitigation with its hyperparameters."""

    method: Method
    arguments: dict[str, Any]

    @property
    def by(self) -> tuple[str, ...]:
        """Columns that it groups by."""
        by = self.arguments.get("by", self.method.parameters.get("by", ()))
        return columns_of(by)


def parse(text: str) -> list[Call]:
    """The calls of a config's mitigation; '' is none.

    Raises:
      MitigationError: not such an expression, an unknown name or hyperparameter; says what there is.
    """
    if not text.strip():
        return []
    try:
        tree = ast.parse(text, mode="eval").body
    except SyntaxError:
        raise MitigationError(f"{text!r} is no mitigation: write name(setting=value), several joined by '+'") from None
    return [_call(node, text) for node in _terms(tree)]


def _terms(node: ast.expr) -> list[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return _terms(node.left) + _terms(node.right)
    return [node]


def _call(node: ast.expr, text: str) -> Call:
    name_node = node.func if isinstance(node, ast.Call) else node
    if not isinstance(name_node, ast.Name) or (isinstance(node, ast.Call) and node.args):
        raise MitigationError(f"{text!r} is no mitigation: write name(setting=value), several joined by '+'")
    name = name_node.id
    if name not in METHODS:
        close = difflib.get_close_matches(name, METHODS, 1)
        if close:
            raise MitigationError(f"there is no mitigation {name!r}; did you mean {close[0]!r}?")
        raise MitigationError(f"there is no mitigation {name!r}: one of {', '.join(sorted(METHODS))}")
    method, arguments = METHODS[name], {}
    for keyword in node.keywords if isinstance(node, ast.Call) else ():
        if keyword.arg not in method.parameters:
            known = ", ".join(method.parameters) or "none"
            raise MitigationError(f"{name} has no setting {keyword.arg!r}: it has {known}")
        try:
            arguments[keyword.arg] = ast.literal_eval(keyword.value)
        except ValueError:
            raise MitigationError(f"{name}: {keyword.arg} must be a number, a text or a tuple of them") from None
    return Call(method, arguments)


def head_of(text: str) -> str:
    """The head that a mitigation needs beside the network's own; '' if none.

    Raises:
      MitigationError: two mitigations with heads of their own.
    """
    heads = [c for c in parse(text) if c.method.head]
    if len(heads) > 1:
        raise MitigationError(f"{' and '.join(c.method.name for c in heads)} both bring a head: choose one")
    return heads[0].method.head if heads else ""


def input_count(text: str, sizes: dict[str, int]) -> int:
    """Inputs that an attribute-aware mitigation needs: one for each value of its columns; else 1."""
    calls = [c for c in parse(text) if c.method.head == "aware"]
    return sum(sizes[c] for c in calls[0].by) if calls else 1


def adversary_count(text: str) -> int:
    """How many adversaries a mitigation has, at least 1."""
    return max([len(c.by) for c in parse(text) if c.method.each_column], default=1)


def signature(text: str) -> str:
    """What the program of a run depends on; runs that differ in it cannot share one."""
    calls = [c for c in parse(text) if c.method.head]
    return f"{head_of(text)} by {calls[0].by}" if calls else ""


def group_count(text: str, sizes: dict[str, int]) -> int:
    """How many groups the mitigation divides images into, at least 1.

    Args:
      text: of the config.
      sizes: number of values of each column.

    Raises:
      MitigationError: it groups by a column that there is not.
    """
    most = 1
    for call in parse(text):
        for column in call.by:
            if column not in sizes:
                raise MitigationError(
                    f"{call.method.name}: there is no column {column!r} to group by: one of {', '.join(sizes)}"
                )
        together = max if call.method.each_column else np.prod
        most = max(most, int(together([sizes[c] for c in call.by])) if call.by else 1)
    return most


def head_groups(text: str, data: TrainingSet) -> np.ndarray:
    """Groups of any images as the mitigation's heads know them, int32 [N]; -1 if it has none."""
    for call in parse(text):
        if call.method.head:
            return data.groups(call.by, call.arguments.get("drop", ())).codes
    return np.full(len(data), -1, np.int32)


def apply(text: str, data: TrainingSet, member: Values) -> Values:
    """The member's values with every mitigation of the text applied, from left to right.

    Raises:
      MitigationError: a mitigation does not fit the data.
    """
    for call in parse(text):
        try:
            member = call.method.function(data, member, **call.arguments)
        except MitigationError as e:
            raise MitigationError(f"{call.method.name}: {e}") from None
    return member


def number(name: str, value: Any, low: float, high: float = np.inf, above: bool = False) -> float:
    """A hyperparameter as a float.

    Raises:
      MitigationError: not a number, or outside [low, high] (`above`: equal to `low`).
    """
    ok = isinstance(value, int | float) and not isinstance(value, bool) and low <= value <= high
    if not ok or (above and value == low):
        limit = f"above {low:g}" if above else f"at least {low:g}"
        raise MitigationError(f"{name} is {value!r}: {limit}" + (f" and at most {high:g}" if high < np.inf else ""))
    return float(value)


def choice(name: str, value: Any, known: tuple[str, ...]) -> str:
    """A hyperparameter that is one of some words.

    Raises:
      MitigationError: it is not.
    """
    if value not in known:
        raise MitigationError(f"{name} is {value!r}: one of {', '.join(known)}")
    return value
