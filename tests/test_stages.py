"""Flatter minima, averaged weights, a second stage: in the engine, and through checkpoints."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from frown_jax.data.annotations import Annotations
from frown_jax.inference.ensemble import Ensemble
from frown_jax.jobs.job import ProgramTrainer
from frown_jax.member import augment, sampling
from frown_jax.member.state import no_sums
from frown_jax.member.values import stack, terms_of
from frown_jax.runs.directory import RunDir
from frown_jax.training import engine
from frown_jax.training.build import member_of
from frown_jax.training.compile import make_engine
from frown_jax.training.grid import expand
from frown_jax.training.step import Batch, MemberStep, Shape
from tests.test_engine import _assert_close, _config

PLAIN = {"augment.flip": 0.0, "augment.shift": 0.0, "schedule.name": "constant", "schedule.warmup_epochs": 0.0}


def _made(data, mitigation, batch_size=64, seeds=(0,), **fields):
    """Engine, stacked members, and training and validation arrays."""
    c = _config(batch_size=batch_size, mitigation=mitigation, **PLAIN, **fields)
    c.seeds = seeds
    (group,) = expand(c, [{}])
    train, val = data.split("train"), data.split("val")
    sets = [Annotations.of(train), Annotations.of(val)]
    shape = Shape(7)
    stacked = stack([member_of(s, sets[0], shape, sets[1]) for s in group.specs])
    steps = engine.steps_per_epoch(stacked, batch_size)
    e = make_engine(group.config, shape, steps, steps, terms=terms_of(stacked))
    arrays = [jnp.asarray(a) for a in (train.images, train.labels, val.images, val.labels)]
    return e, stacked, arrays


def _one(tree):
    return jax.tree.map(lambda a: a[0], tree)


def _first_step(data, mitigation):
    e, stacked, arrays = _made(data, mitigation)
    before = e.init(stacked, None)
    kept = jax.tree.map(jnp.copy, before)
    after, _ = e.train(before, no_sums(1), stacked, *arrays[:2], 0, 0, 1)
    return e, _one(stacked), _one(kept), _one(after), arrays


@pytest.mark.slow
def test_a_sharpness_aware_step_is_two_gradients(toy_data):
    """The batch is the whole training set, so that the order of its rows does not matter."""
    e, member, before, after, (images, labels, *_) = _first_step(toy_data, "sam(radius=0.3)")
    rows, valid = jnp.arange(64), jnp.ones(64, bool)
    x = augment.plain(images, e.static.image_size)
    batch = Batch(rows, labels, valid, x, rows, jnp.ones(()), jax.random.key(0))
    step = MemberStep(e.static, e.steps_per_epoch)

    @jax.jit
    def gradient(params):
        return jax.grad(lambda p: step.loss(p, before, member, batch)[0])(params)

    first = gradient(before.params)
    norm = np.sqrt(sum(float((g**2).sum()) for g in jax.tree.leaves(first)))
    second = gradient(jax.tree.map(lambda p, g: p + 0.3 * g / norm, before.params, first))
    # Adam's first moment after a step is (1 - b1) times the gradient.
    moment = jax.tree.map(lambda m: m / 0.1, optax.tree.get(after.optimiser, "mu"))
    _assert_close(moment, second, 0, 2e-4)
    apart = max(float(jnp.abs(a - b).max()) for a, b in zip(*map(jax.tree.leaves, (first, second)), strict=True))
    assert apart > 1e-2
    # Running statistics are those of the first pass.
    _, _, _, plain, _ = _first_step(toy_data, "")
    _assert_close(after.batch_stats, plain.batch_stats, 1e-5, 1e-6)


def _epochs(e, stacked, arrays, count):
    """States after each epoch."""
    state, out = e.init(stacked, None), []
    for epoch in range(count):
        state, _ = e.train(state, no_sums(len(stacked.seed)), stacked, *arrays[:2], epoch, 0, e.steps_per_call)
        state, _ = e.finish_epoch(state, stacked, *arrays[2:], epoch)
        out.append(jax.tree.map(jnp.copy, state))
    return state, out


@pytest.mark.slow
def test_swa_ends_with_the_mean_and_its_own_statistics(toy_data):
    e, stacked, arrays = _made(toy_data, "swa(start=0.5, rate=0.3)", epochs=4, **{"stopping.patience": 50})
    state, each = _epochs(e, stacked, arrays, 4)
    done = _one(e.conclude(state, stacked, arrays[0], *arrays[2:], 3))
    mean = jax.tree.map(lambda a, b: (a[0] + b[0]) / 2, each[2].params, each[3].params)
    _assert_close(done.best.params, mean, 1e-5, 1e-6)
    assert int(done.best.epoch) == 3
    # One batch is the whole set: the statistics are its own, found from statistics of 0.
    x = augment.plain(arrays[0], e.static.image_size)
    nothing = jax.tree.map(jnp.zeros_like, done.batch_stats)
    variables = {"params": mean, "batch_stats": nothing}
    moved = e.static.model.apply(variables, x, train=True, mutable=["batch_stats"])[1]["batch_stats"]
    _assert_close(done.best.batch_stats, jax.tree.map(lambda a: a / 0.1, moved), 1e-3, 1e-4)


@pytest.mark.slow
def test_bn_statistics_are_means_over_batches(toy_data):
    """Batches of 24, 24 and 16: means and unbiased variances of each, averaged."""
    e, stacked, arrays = _made(toy_data, "swa(start=0)", batch_size=24, epochs=1)
    state, _ = _epochs(e, stacked, arrays, 1)
    done = _one(e.conclude(state, stacked, arrays[0], *arrays[2:], 0))
    member, key = _one(stacked), jax.random.fold_in(jax.random.key(0), 3)
    rows = np.asarray(sampling.epoch_rows(key, member.redraw, member.sampling, 64, 3, 24)).ravel()[:64]
    stem = {"params": done.best.params, "batch_stats": done.batch_stats}
    out = []
    for first in (0, 24, 48):
        x = augment.plain(arrays[0][rows[first : first + 24]], e.static.image_size)
        conv = jax.lax.conv_general_dilated(
            x, stem["params"]["conv1"]["kernel"], (2, 2), ((3, 3), (3, 3)), dimension_numbers=("NHWC", "HWIO", "NHWC")
        )
        flat = np.asarray(conv).reshape(-1, conv.shape[-1])
        out.append((flat.mean(0), flat.var(0, ddof=1)))
    mean, var = np.mean(out, 0)
    np.testing.assert_allclose(done.best.batch_stats["bn1"]["mean"], mean, atol=1e-4)
    np.testing.assert_allclose(done.best.batch_stats["bn1"]["var"], var, rtol=1e-3)


def test_a_held_rate_reaches_the_weights(toy_data):
    """With rate 0.5 from the start on, the first step is half a plain one's."""
    *_, before, half, _ = _first_step(toy_data, "swa(start=0, rate=0.5)")
    *_, whole, _ = _first_step(toy_data, "")
    for a, b, c in zip(*(jax.tree.leaves(s.params) for s in (before, half, whole)), strict=True):
        np.testing.assert_allclose(b - a, (c - a) / 2, atol=1e-6)


@pytest.mark.slow
def test_just_train_twice_begins_anew_with_its_errors(toy_data):
    e, stacked, arrays = _made(toy_data, "jtt(first=0.5, factor=6)", epochs=4)
    assert list(np.asarray(stacked.restart.epochs)) == [2]
    state, each = _epochs(e, stacked, arrays, 2)
    assert bool(state.active[0])
    now = each[-1].best.replace(params=each[-1].params, batch_stats=each[-1].batch_stats, epoch=jnp.zeros(1, int))
    wrong = np.asarray(e.predict(now, jnp.full((1, 64), -1), jnp.arange(64)[None], arrays[0]))[0].argmax(
        1
    ) != np.asarray(arrays[1])
    assert 0 < wrong.sum() < 64
    early = e.restart(jax.tree.map(jnp.copy, each[0]), stacked, *arrays[:2], 0, None)
    _assert_close(early.params, each[0].params, 0, 0)
    again = e.restart(state, stacked, *arrays[:2], 1, None)
    factors = np.where(wrong, 6, 1)
    np.testing.assert_allclose(again.factors[0], factors / factors.mean(), rtol=1e-5)
    fresh = e.init(stacked, None)
    _assert_close((again.params, again.optimiser, again.best), (fresh.params, fresh.optimiser, fresh.best), 0, 0)
    # The second stage sees them as weights of examples, and lasts as long as a plain run.
    weighted = stacked.replace(example_weights=jnp.copy(again.factors))
    plain = fresh.replace(factors=jnp.ones_like(again.factors))
    results = []
    for members_, start in ((stacked, again), (weighted, plain)):
        state, _ = e.train(start, no_sums(1), members_, *arrays[:2], 2, 0, e.steps_per_call)
        results.append(state.params)
    _assert_close(*results, 1e-5, 1e-6)


@pytest.mark.slow
@pytest.mark.parametrize(
    "mitigation",
    ["jtt(first=0.5)", "swa(start=0.4)", "swad(converge=1, tolerance=1)", "sam()", "dfr(by='race', fewest=1)"],
)
def test_every_stage_is_trained_kept_and_read_again(toy_data, tmp_path, mitigation):
    """Through checkpoints: a finished run that is begun again trains nothing, and an ensemble predicts the same."""
    c = _config(mitigation=mitigation, epochs=2, batch_size=24)
    c.seeds = (0, 1)
    (group,) = expand(c, [{}])
    run = RunDir.create(tmp_path / "run", c, [{}], {})
    found = []
    for _ in range(2):
        trainer = ProgramTrainer(0, group, run, toy_data)
        state = trainer.train()
        found.append(trainer.predict(state, toy_data, ("test",)))
        lines = len(run.metrics.read())
    assert lines == 2 * (3 if "jtt" in mitigation else 2)
    np.testing.assert_array_equal(*(f.filter(like="p_").to_numpy() for f in found))
    run.write_json(
        "data.json",
        {"classes": toy_data.classes, "attributes": toy_data.attributes, "image_side": 32},
    )
    test = toy_data.split("test")
    again = Ensemble(run.path).probabilities(test.images, Annotations.of(test))
    np.testing.assert_allclose(again.reshape(-1, 7), found[0].filter(like="p_").to_numpy(), atol=1e-6)
