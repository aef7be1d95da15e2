"""Every config file loads with every argument that it says it takes, and its grid fits RAF-DB's training images."""

import importlib
import pathlib

import numpy as np
import pytest
from ml_collections import ConfigDict

from frown_jax.data.annotations import Annotations
from frown_jax.errors import ConfigError
from frown_jax.faces import sequences
from frown_jax.faces.sequences import SequenceRecipe
from frown_jax.jobs import search
from frown_jax.training import check
from frown_jax.training.build import check_programs, cohort_of
from frown_jax.training.grid import expand, points_of
from tests.test_mitigations import DATA

FILES = sorted(p.stem for p in (pathlib.Path(__file__).parent.parent / "configs").glob("*.py") if p.stem != "__init__")
UNITS = ["au_gender", "au_skin"]
FACES = [f for f in FILES if f not in ("cifar10s", *UNITS)]


def _load(name, arg):
    module = importlib.import_module(f"configs.{name}")
    c = module.get_config(arg)
    check.validate(c)
    sweep = getattr(module, "sweep", None)
    return module, c, search.points(c) if search.wanted(c) else points_of(sweep)


@pytest.mark.parametrize("name", FACES)
@pytest.mark.parametrize(
    "arg", ["", "runlocal", "rafdb,seeds=2", "manifest", "full", "fidelity=repo", "rafdb,fidelity=paper"]
)
def test_every_argument_makes_a_valid_config(name, arg):
    _, c, points = _load(name, arg)
    groups = expand(c, points)
    runs = [s for g in groups for trained in g.specs for s in trained.all]
    assert len(runs) == len(points) * len(c.seeds)
    methods = [s.method for s in runs]
    assert len(set(methods)) == len(points)
    for group in groups:
        check.validate(ConfigDict(group.config))
    for spec in runs:
        check.check_mitigation(spec.config.mitigation, spec.config.model.name)


@pytest.mark.parametrize("name", FACES)
def test_every_mitigation_fits_rafdb(name):
    _, c, points = _load(name, "rafdb,seeds=1")
    check_programs(expand(c, points), DATA, DATA)


def test_the_studys_nine_models_and_the_grids_programs():
    _, c, points = _load("resampling", "")
    studied = [p for p in points if "matched" not in p["method"] and p["method"] != "baseline"]
    assert len(studied) == 9
    assert len(expand(c, points)) == 1
    _, c, points = _load("mitigation_grid", "")
    # Data, heads of groups, one adversary, three adversaries, attributes as inputs, two gradients a step.
    assert len(expand(c, points)) == 6
    assert len(points) >= 30
    with pytest.raises(ConfigError, match="unknown"):
        _load("mitigation_grid", "rafbd")


def test_cifar10s():
    for arg in ("", "full", "seeds=1"):
        _, c, points = _load("cifar10s", arg)
        assert len(expand(c, points)) == 3
    assert c.data.per_class == 1200


@pytest.mark.parametrize("name", UNITS)
@pytest.mark.parametrize("arg", ["", "runlocal", "combined", "ckplus,draws=2,seeds=3", "actor_study", "manifest"])
def test_the_action_unit_experiments(name, arg):
    module = importlib.import_module(f"configs.{name}")
    c = module.get_config(arg)
    if not c.model.pretrained:
        with pytest.raises(ConfigError, match=r"freezes random weights: give --config\.model\.weights"):
            check.validate(c)
        c.model.weights = "vgg16-397923af.pth"
        assert (c.model.width, c.model.hidden, c.model.image_size) == (64, 0, 224)
    check.validate(c)
    (group,) = expand(c, points_of(module.sweep))
    # The study's numbers of subjects.
    people = sequences.subjects(SequenceRecipe())
    codes = {a: people[a].map(v.index).to_numpy(np.int32) for a, v in sequences.VALUES.items()}
    labels = np.zeros((len(people), 1), np.int32)
    data = Annotations(("AU1",), labels, dict(sequences.VALUES), codes, people["subject"].to_numpy(object))
    sizes = {"au_gender": {37}, "au_skin": {104}}[name]
    for spec in group.specs:
        found = cohort_of(spec, data)
        assert len(found.train) + len(found.validation) in sizes
    assert len(group.specs) == (3 if name == "au_gender" else 2) * len(c.seeds) * len(c.cohort.draws)
    # By one field it runs with a ResNet, and emotions run with a VGG.
    c.model.update(name="resnet18", hidden=0, weights="", pretrained="faces")
    check.validate(c)


def test_emotion_configs_run_with_a_vgg():
    _, c, _ = _load("baseline", "")
    c.model.name = "vgg16_bn"
    check.validate(c)
