"""Mitigations by name. A mitigation is a function (training set, member) -> member: it edits the member's values.

In a config a mitigation is the call that makes it, and several are joined by '+':

    --config.mitigation="equalise(by='race', how='mean')"
    --config.mitigation="reweighing(by='gender') + focal(gamma=2)"

docs/add_a_method.md shows how to add one.
"""

from __future__ import annotations

import ast
import contextlib
import dataclasses
import difflib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from frown_jax.data.annotations import Annotations, Groups, columns_of
from frown_jax.errors import MitigationError
from frown_jax.member.values import Member
from frown_jax.posthoc.adjustment import Adjustment, Outputs

Adjuster = Callable[[tuple[Outputs, Outputs], Adjustment], Adjustment]  # outputs on training and validation images
Function = Callable[..., Any]


@dataclasses.dataclass(frozen=True)
class Method:
    """A registered mitigation.

    Attributes:
      name: as in configs and tables.
      function: (Annotations, Member, **hyperparameters) -> Member; after training: (training set, validation set,
        **hyperparameters) -> Adjuster.
      head: what the network needs besides its own head: '' (nothing), 'domain' (a head for each group).
      needs: where attributes are needed: 'none', 'train', 'train and test'.
      each_column: whether the columns of `by` are groups of their own, in place of their combinations.
      apart: whether its runs cost so much more than others that they are no program with them.
      after: whether it follows training.
      refits: whether it puts another last layer in place of the network's own.
      classes_only: whether it needs one class an image, and means nothing for Action Units.
      moves_features: whether it works on features, and does nothing where these are frozen.
    """

    name: str
    function: Function
    head: str
    needs: str
    each_column: bool = False
    apart: bool = False
    after: bool = False
    refits: bool = False
    classes_only: bool = False
    moves_features: bool = False

    @property
    def parameters(self) -> dict[str, Any]:
        """Hyperparameters with their defaults."""
        found = list(inspect.signature(self.function).parameters.values())[2:]
        return {p.name: p.default for p in found}


METHODS: dict[str, Method] = {}


def register(head: str = "", needs: str = "train", **more: bool) -> Callable[[Function], Function]:
    """Makes a function a mitigation under its own name; the arguments are Method's."""

    def add(function: Function) -> Function:
        METHODS[function.__name__] = Method(function.__name__, function, head, needs, **more)
        return function

    return add


def register_after(
    needs: str = "train", refits: bool = False, classes_only: bool = False
) -> Callable[[Function], Function]:
    """The same for what follows training: the function checks its settings and returns a Adjuster."""
    return register(needs=needs, after=True, refits=refits, classes_only=classes_only)


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
    calls = parse(text)
    heads = [c for c in calls if c.method.head]
    refit = [c for c in calls if c.method.refits]
    if len(heads) > 1 or len(refit) > 1 or (heads and refit):
        names = " and ".join(c.method.name for c in heads + refit)
        raise MitigationError(f"{names} both bring a head: choose one")
    return heads[0].method.head if heads else ""


def in_training(text: str) -> str:
    """The mitigations that training sees; runs that agree in them (and in all else) share one training."""
    calls = [c for c in parse(text) if not c.method.after]
    return " + ".join(f"{c.method.name}({', '.join(f'{k}={v!r}' for k, v in c.arguments.items())})" for c in calls)


def check_labels(text: str, multilabel: bool) -> None:
    """Refuses what needs one class an image, where an image has many labels.

    Raises:
      MitigationError: naming the mitigation.
    """
    for call in parse(text) if multilabel else ():
        if call.method.classes_only or call.arguments.get("conditional", call.method.parameters.get("conditional")):
            usable = ", ".join(sorted(n for n, m in METHODS.items() if not m.classes_only))
            what = "conditional=True of " * (not call.method.classes_only) + call.method.name
            raise MitigationError(f"{what} needs one class an image, and Action Units are many labels: one of {usable}")


def adjusters(text: str, train: Annotations, validation: Annotations) -> list[Adjuster]:
    """What follows training, in order.

    Raises:
      MitigationError: a mitigation does not fit the data.
    """
    out = []
    for call in parse(text):
        if call.method.after:
            with _named(call):
                out.append(call.method.function(train, validation, **call.arguments))
    return out


def input_count(text: str, sizes: dict[str, int]) -> int:
    """Inputs that an attribute-aware mitigation needs: one for each value of its columns; else 1."""
    calls = [c for c in parse(text) if c.method.head == "aware"]
    return sum(sizes[c] for c in calls[0].by) if calls else 1


def adversary_count(text: str) -> int:
    """How many adversaries a mitigation has, at least 1."""
    return max([len(c.by) for c in parse(text) if c.method.each_column], default=1)


def signature(text: str) -> str:
    """What the program of a run depends on; runs that differ in it cannot share one."""
    parts = [f"{c.method.head} by {c.by}" if c.method.head else c.method.name for c in parse(text) if _own_program(c)]
    return " and ".join(sorted(parts))


def _own_program(call: Call) -> bool:
    return bool(call.method.head) or call.method.apart


def group_count(text: str, sizes: dict[str, int]) -> int:
    """How many groups the mitigation divides images into, at least 1.

    Args:
      text: of the config.
      sizes: number of values of each column.

    Raises:
      MitigationError: it groups by a column that there is not.
    """
    most = 1
    for call in (c for c in parse(text) if not c.method.after):
        for column in call.by:
            if column not in sizes:
                raise MitigationError(
                    f"{call.method.name}: there is no column {column!r} to group by: one of {', '.join(sizes)}"
                )
        together = max if call.method.each_column else np.prod
        most = max(most, int(together([sizes[c] for c in call.by])) if call.by else 1)
    return most


def head_groups(text: str, data: Annotations) -> np.ndarray:
    """Groups of any images as the mitigation's heads know them, int32 [N]; -1 if it has none."""
    for call in parse(text):
        if call.method.head:
            return data.groups(call.by, call.arguments.get("drop", ())).codes
    return np.full(len(data), -1, np.int32)


def apply(text: str, data: Annotations, member: Member) -> Member:
    """The member's values with every mitigation of the text applied, from left to right.

    Raises:
      MitigationError: a mitigation does not fit the data.
    """
    for call in parse(text):
        if not call.method.after:
            with _named(call):
                member = call.method.function(data, member, **call.arguments)
    return member


@contextlib.contextmanager
def _named(call: Call) -> Iterator[None]:
    """Errors of a mitigation say whose they are."""
    try:
        yield
    except MitigationError as e:
        raise MitigationError(f"{call.method.name}: {e}") from None


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


def grouped(member: Member, groups: Groups, **changes) -> Member:
    """Gives the objective its groups.

    Raises:
      MitigationError: another mitigation of the same run has given it other groups.
    """
    before = np.asarray(member.groups)
    if (before >= 0).any() and (before != groups.codes).any():
        raise MitigationError("another mitigation of this run looks at other groups: give both the same `by`")
    objective = member.objective
    sizes = np.zeros(len(objective.group_sizes), np.float32)
    sizes[: len(groups.sizes)] = groups.sizes
    return member.replace(groups=groups.codes, objective=objective.replace(group_sizes=sizes, **changes))
