"""Heads on cached features are the frozen network's, in training and prediction; caches go on where they stopped."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from frown_jax import config as configs
from frown_jax.data.annotations import Annotations
from frown_jax.errors import ConfigError, MitigationError
from frown_jax.inference.ensemble import Ensemble
from frown_jax.inputs import trunk as trunks
from frown_jax.jobs.job import train
from frown_jax.runs.directory import RunDir
from frown_jax.runtime import resident
from frown_jax.runtime.packing import Packing
from frown_jax.training import check
from frown_jax.training.build import check_programs
from frown_jax.training.grid import expand
from frown_jax.training.program import ProgramTrainer
from tests.conftest import any_weights, toy


def _config(name, how="cached", **fields):
    c = configs.default()
    configs.small(c)
    configs.smoke(c)
    c.model.name, c.model.width, c.model.hidden, c.model.trainable, c.model.features = name, 4, 8, "head", how
    c.model.image_size, c.epochs, c.optimiser.dropout_rate, c.model.pretrained = 32, 3, 0.3, "faces"
    c.augment.flip = c.augment.shift = 0.0
    c.data.min_occurrences = 1
    c.update_from_flattened_dict(fields)
    check.validate(c)
    return c


_initial = functools.partial(any_weights, seed=7)


def _trained(tmp_path, data, name, how, **fields):
    c = _config(name, how, **fields)
    c.data.cache_dir = str(tmp_path / "cache")
    (group,) = expand(c, [{}, {"optimiser.learning_rate": 0.01}])
    run = RunDir(tmp_path / f"{name}-{how}")
    run.path.mkdir(exist_ok=True)
    with ProgramTrainer(0, group, run, data, _initial) as trainer:
        state = trainer.train()
        return state, trainer.predict(state, data, ("test",))


@pytest.mark.parametrize("name", ["vgg16", pytest.param("resnet10", marks=pytest.mark.slow)])
def test_training_on_cached_features_is_training_through_the_frozen_network(tmp_path, name):
    data = toy()
    runs = {how: _trained(tmp_path, data, name, how) for how in ("cached", "computed")}
    (cached, p), (whole, q) = runs["cached"], runs["computed"]
    for module, leaves in cached.params.items():
        for a, b in zip(jax.tree.leaves(leaves), jax.tree.leaves(whole.params[module]), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)
    assert set(cached.params) < set(whole.params)
    columns = [c for c in p if c.startswith("p_")]
    np.testing.assert_allclose(p[columns], q[columns], atol=1e-5)


def test_a_finished_run_predicts_from_pixels_again(tmp_path, monkeypatch):
    data = toy()
    monkeypatch.setattr("frown_jax.jobs.job.load", lambda *_: data)
    c = _config("vgg16", seeds=(0, 1))
    c.data.cache_dir = str(tmp_path / "cache")
    trained = train(c, [{}], tmp_path / "run", initial=_initial)
    ensemble = Ensemble(tmp_path / "run")
    test = data.split("test")
    found = ensemble.probabilities(test.images, Annotations.of(test))
    predictions = trained.predictions[trained.predictions["split"] == "test"]
    stored = predictions[[f"p_{k}" for k in data.classes]].to_numpy().reshape(2, len(test), -1)
    np.testing.assert_allclose(found, stored, atol=1e-6)


def test_an_interrupted_computation_goes_on(tmp_path, monkeypatch):
    c = _config("vgg16")
    variables, _ = trunks.split(_initial(c), c.model)
    images = np.random.default_rng(0).integers(0, 255, (200, 32, 32, 3), np.uint8)
    wanted = trunks.Trunk(c.model, variables, tmp_path / "other")(images, keep=False)
    monkeypatch.setattr(trunks, "_SAVED_EVERY", 1)
    trunk, calls = trunks.Trunk(c.model, variables, tmp_path), []
    apply = trunk._apply

    def dying(v, x):
        calls.append(1)
        if len(calls) == 3:
            raise KeyboardInterrupt
        return apply(v, x)

    trunk._apply = dying
    with pytest.raises(KeyboardInterrupt):
        trunk(images)
    (state,) = (tmp_path / "features").glob("*.json")
    assert json.loads(state.read_text()) == {"rows": 128}
    np.testing.assert_array_equal(trunk(images), wanted)
    assert len(calls) == 5  # two batches, the one that died, and the two that were left
    np.testing.assert_array_equal(trunk(images), wanted)
    assert len(calls) == 5
    # Other weights or other images are other files.
    other = jax.tree.map(lambda a: a * 1.01, variables)
    assert trunks.Trunk(c.model, other, tmp_path).fingerprint != trunk.fingerprint
    assert trunk(images[:100]).shape == (100, trunk.count)
    assert len(list((tmp_path / "features").glob("*.npy"))) == 2


def test_rows_outside_the_device_are_the_same_rows():
    array = np.random.default_rng(0).normal(size=(20, 3)).astype(np.float32)
    near, far = (resident.put(array, Packing("map"), limit) for limit in (1e9, 10))
    assert isinstance(far, resident.HostRows) and len(far) == 20
    rows = jnp.asarray([[3, 4], [0, 19], [7, 7]])
    take = jax.jit(jax.vmap(resident.take, (None, 0)))
    np.testing.assert_array_equal(take(near, rows), array[np.asarray(rows)])
    np.testing.assert_array_equal(take(far, rows), array[np.asarray(rows)])
    resident.release(far)


@pytest.mark.parametrize("how", ["cached", pytest.param("computed", marks=pytest.mark.slow)])
def test_training_from_outside_the_device_is_the_same_training(tmp_path, monkeypatch, how):
    data = toy()
    near, p = _trained(tmp_path, data, "vgg16", how)
    monkeypatch.setattr(resident, "_SHARE", 0.0)
    (tmp_path / "far").mkdir()
    _, q = _trained(tmp_path / "far", data, "vgg16", how)
    assert int(near.best.epoch[0]) >= 0
    columns = [c for c in p if c.startswith("p_")]
    np.testing.assert_allclose(p[columns], q[columns], atol=1e-6)
    assert not resident._OUTSIDE  # what stood in for the devices is let go of


def test_a_plan_knows_where_rows_will_lie():
    """Shapes without arrays say what arrays become, wherever they fit."""
    array = np.zeros((20, 3), np.float32)
    for limit in (1e9, 10):
        real, planned = (
            resident.put(array, Packing("map"), limit),
            resident.abstract(array.shape, array.dtype, Packing("map"), limit),
        )
        assert jax.tree.structure(real) == jax.tree.structure(planned)
        for a, b in zip(jax.tree.leaves(real), jax.tree.leaves(planned), strict=True):
            assert (a.shape, a.dtype, a.sharding) == (b.shape, b.dtype, b.sharding)
        resident.release(real)


def test_what_changes_images_needs_them_computed():
    data = toy()
    train_, val = (Annotations.of(data.split(s)) for s in ("train", "val"))
    for mitigation in ("invert()", "mixup()"):
        groups = expand(_config("vgg16", "auto", mitigation=mitigation), [{}])
        with pytest.raises(MitigationError, match=r"needs --config\.model\.features=computed"):
            check_programs(groups, train_, val)
        check_programs(expand(_config("vgg16", "computed", mitigation=mitigation), [{}]), train_, val)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"augment.flip": 0.5}, "computes the features of an image once"),
        ({"model.trainable": "all"}, "needs model.trainable=head"),
        ({"model.pretrained": ""}, "freezes random weights"),
        ({"model.weights": "f.pth", "model.width": 64}, "can begin with one of them"),
    ],
)
def test_impossible_settings(fields, message):
    with pytest.raises(ConfigError, match=message):
        _config("vgg16", **fields)
