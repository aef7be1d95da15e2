"""The rooms of the package: each imports what its docstring says, nothing runs in circles, privates stay at home."""

import ast
import graphlib
import importlib
import pathlib
import re
import tomllib

import pytest

PACKAGE = pathlib.Path(__file__).parent.parent / "frown_jax"
GROUND = {"schema": set(), "errors": set(), "_version": set()}
# What users type or call: these may import every room.
COMMANDS = {
    "launch",
    "audit",
    "evaluate",
    "predict",
    "convert",
    "plan",
    "notebook",
}
ROOMS = sorted(p.parent.name for p in PACKAGE.glob("*/__init__.py"))


def _allowed(room: str) -> set[str]:
    """What the room's docstring says, read as it is written."""
    text = " ".join((importlib.import_module(f"frown_jax.{room}").__doc__ or "").split())
    found = re.search(r"It may import ([\w, ]+)\.", text)
    assert found, f"frown_jax/{room}/__init__.py does not say what it may import"
    return set(re.split(r", | and ", found[1]))


def _imports():
    """(file, room, what room it imports from, the module in there or '', name) of every import of ours."""
    for path in sorted({*PACKAGE.rglob("*.py"), *PACKAGE.glob("configs/*.py")}):  # configs is a link, rglob passes by
        room = path.relative_to(PACKAGE).parts[0].removesuffix(".py")
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    assert not alias.name.startswith("frown_jax."), f"{path}: import names from modules"
            if isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{path}: relative import"
                if (node.module or "").split(".")[0] == "frown_jax":
                    for alias in node.names:
                        parts = [*node.module.split("."), alias.name][1:]
                        yield path, room, parts


def test_every_room_imports_only_what_its_docstring_says():
    allowed = {room: _allowed(room) for room in ROOMS}
    wrong = []
    for path, room, parts in _imports():
        if room == "__init__" or parts[0] == room:
            continue
        may = allowed.get(room) if room in allowed else ({*ROOMS, *GROUND} if room in COMMANDS else GROUND[room])
        if parts[0] not in may:
            wrong.append(f"{path.relative_to(PACKAGE)} imports {'.'.join(parts)}")
    assert not wrong, "\n".join(wrong)


def test_what_docstrings_allow_has_no_circle():
    graph = {room: _allowed(room) for room in ROOMS}
    order = list(graphlib.TopologicalSorter(graph).static_order())  # raises CycleError
    assert {"errors", "schema"} <= set(order[: len(GROUND)]) | {"errors", "schema"}
    assert not {name for may in graph.values() for name in may} - {*ROOMS, *GROUND}


def test_files_of_a_room_have_no_circle():
    graph: dict[str, set[str]] = {}
    for path, _, parts in _imports():
        own = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        target = PACKAGE.joinpath(*parts).with_suffix(".py")
        name = ".".join(parts if target.exists() else parts[:-1])
        if name and name != own and not own.endswith("__init__"):
            graph.setdefault(own, set()).add(name)
    list(graphlib.TopologicalSorter(graph).static_order())


@pytest.mark.parametrize("room", ROOMS)
def test_what_others_use_of_a_room_is_public(room):
    public = importlib.import_module(f"frown_jax.{room}").__all__
    assert all(not name.startswith("_") for name in public)
    for path, other, parts in _imports():
        if parts[0] != room or other == room:
            continue
        where = f"{path.relative_to(PACKAGE)}: {'.'.join(parts)}"
        if len(parts) > 1:
            assert parts[1] in public, f"{where} is not in __all__ of frown_jax.{room}"


def test_nothing_private_leaves_its_file():
    wrong = []
    for path, _, parts in _imports():
        if parts[-1].startswith("_") and parts[-1] not in ("_version", "__version__"):
            wrong.append(f"{path.relative_to(PACKAGE)}: {'.'.join(parts)}")
    assert not wrong, "\n".join(wrong)


def test_modules_stay_small():
    long = {
        str(p.relative_to(PACKAGE)): n for p in PACKAGE.rglob("*.py") if (n := len(p.read_text().splitlines())) > 420
    }
    assert not long


def test_a_wheel_has_all_that_is_not_code():
    settings = tomllib.loads((PACKAGE.parent / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    packed = {path for pattern in settings["frown_jax"] for path in PACKAGE.glob(pattern)}
    there = {path for path in PACKAGE.rglob("*") if path.is_file() and path.suffix not in (".py", ".pyc")}
    assert there == packed
