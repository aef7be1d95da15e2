"""Every config file loads with every argument that it says it takes, and its grid fits RAF-DB's training images."""

import importlib
import pathlib

import pytest

from frown_jax import config as configs
from frown_jax import config_check, members, search
from tests.test_mitigations import DATA

FILES = sorted(p.stem for p in (pathlib.Path(__file__).parent.parent / "configs").glob("*.py") if p.stem != "__init__")
FACES = [f for f in FILES if f != "cifar10s"]


def _load(name, arg):
    module = importlib.import_module(f"configs.{name}")
    c = module.get_config(arg)
    config_check.validate(c)
    sweep = getattr(module, "sweep", None)
    return module, c, search.points(c) if search.wanted(c) else members.points_of(sweep)


@pytest.mark.parametrize("name", FACES)
@pytest.mark.parametrize(
    "arg", ["", "runlocal", "rafdb,seeds=2", "manifest", "full", "fidelity=repo", "rafdb,fidelity=paper"]
)
def test_every_argument_makes_a_valid_config(name, arg):
    _, c, points = _load(name, arg)
    groups = members.expand(c, points)
    runs = [s for g in groups for trained in g.specs for s in trained.all]
    assert len(runs) == len(points) * len(c.seeds)
    methods = [s.method for s in runs]
    assert len(set(methods)) == len(points)
    for group in groups:
        config_check.validate(configs.ConfigDict(group.config))
    for spec in runs:
        config_check.check_mitigation(spec.config.mitigation, spec.config.model.name)


@pytest.mark.parametrize("name", FACES)
def test_every_mitigation_fits_rafdb(name):
    _, c, points = _load(name, "rafdb,seeds=1")
    members.check(members.expand(c, points), DATA, DATA)


def test_the_studys_nine_models_and_the_grids_programs():
    _, c, points = _load("resampling", "")
    studied = [p for p in points if "matched" not in p["method"] and p["method"] != "baseline"]
    assert len(studied) == 9
    assert len(members.expand(c, points)) == 1
    _, c, points = _load("mitigation_grid", "")
    # Data, heads of groups, one adversary, three adversaries, attributes as inputs, two gradients a step.
    assert len(members.expand(c, points)) == 6
    assert len(points) >= 30
    with pytest.raises(configs.ConfigError, match="unknown"):
        _load("mitigation_grid", "rafbd")


def test_cifar10s():
    for arg in ("", "full", "seeds=1"):
        _, c, points = _load("cifar10s", arg)
        assert len(members.expand(c, points)) == 3
    assert c.data.per_class == 1200
