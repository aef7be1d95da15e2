"""The vmapped step against separate runs, hand-worked rules and a plain-Python schedule."""

import dataclasses
import doctest

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from optax.losses import softmax_cross_entropy_with_integer_labels

from frown_jax import config as configs
from frown_jax.data.annotations import Annotations
from frown_jax.member import class_weights, losses, sampling, schedule
from frown_jax.member.sampling import still
from frown_jax.member.state import no_sums
from frown_jax.member.values import stack
from frown_jax.metrics.auroc import binary_auroc, multiclass_auroc
from frown_jax.models import weights
from frown_jax.models.resnet import ResNet18
from frown_jax.training import engine
from frown_jax.training.build import member_of
from frown_jax.training.compile import make_engine
from frown_jax.training.grid import expand
from frown_jax.training.step import Shape
from tests import torch_resnet


def _config(**fields):
    c = configs.default()
    configs.small(c)
    configs.smoke(c)
    c.epochs, c.model.width = 3, 4
    c.augment.shift = 0.1
    c.update_from_flattened_dict(fields)
    return c


def _group(data, points, seeds=(0,), **fields):
    c = _config(**fields)
    c.seeds = seeds
    (group,) = expand(c, points)
    train = data.split("train")
    sets = [Annotations.without_attributes(x.labels, len(data.classes)) for x in (train, data.split("val"))]
    built = [member_of(s, sets[0], None, sets[1]) for s in group.specs]
    return group.config, stack(built)


def _run(data, config, stacked, epochs=3, steps_per_call=None):
    steps = engine.steps_per_epoch(stacked, config.batch_size)
    e = make_engine(config, Shape(len(data.classes)), steps, steps_per_call or steps)
    train, val = data.split("train"), data.split("val")
    images, labels = jnp.asarray(train.images), jnp.asarray(train.labels)
    state, history = e.init(stacked, None), []
    for epoch in range(epochs):
        sums = no_sums(len(stacked.seed))
        for first in range(0, steps, e.steps_per_call):
            state, sums = e.train(state, sums, stacked, images, labels, epoch, first, e.steps_per_call)
        state, metrics = e.finish_epoch(state, stacked, jnp.asarray(val.images), jnp.asarray(val.labels), epoch)
        history.append({"train_loss": sums.loss / sums.count, **metrics})
    return state, history


def _assert_close(a, b, rtol, atol):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        np.testing.assert_allclose(np.asarray(x, np.float64), np.asarray(y, np.float64), rtol=rtol, atol=atol)


POINTS = [
    {"optimiser.learning_rate": 1e-3},
    {"optimiser.learning_rate": 4e-3, "optimiser.weight_decay": 0.1, "augment.flip": 0.0},
    {"loss.class_weights": "inverse", "optimiser.dropout_rate": 0.3, "schedule.name": "step", "schedule.patience": 1},
]


@pytest.mark.parametrize("packing", [pytest.param("vmap", marks=pytest.mark.slow), "map"])
def test_packed_members_equal_separate_runs(toy_data, packing):
    """Parameters, batch statistics, optimiser and metrics; data order, lr, decay and augmentation differ by member.

    After one epoch to 1e-5: two separately compiled programs sum in different orders. Later a rounding that flips a
    near tie of a ReLU may grow (Adam divides by small gradients), so of three epochs only the metrics are compared.
    """
    # One lowering for both: what lowerings differ by is tested in test_conv, to 1e-12.
    same = {"model.conv": "gemm"}
    config, stacked = _group(toy_data, POINTS, packing=packing, **same)
    together, _ = _run(toy_data, config, stacked, epochs=1)
    _, history = _run(toy_data, config, stacked)
    config, _ = _group(toy_data, POINTS, packing="map", **same)
    for i in range(3):
        alone = jax.tree.map(lambda x, i=i: x[i : i + 1], stacked)
        state, _ = _run(toy_data, config, alone, epochs=1)
        mine = jax.tree.map(lambda x, i=i: x[i : i + 1], together)
        for part in ("params", "batch_stats", "optimiser"):
            _assert_close(getattr(mine, part), getattr(state, part), 1e-5, 1e-5)
        _, own = _run(toy_data, config, alone)
        for a, b in zip(history, own, strict=True):
            for name in ("train_loss", "val_loss", "val_auroc"):
                np.testing.assert_allclose(a[name][i], b[name][0], rtol=2e-2, atol=2e-2)


def test_batch_statistics_are_each_members_own(toy_data):
    """Two members on data of different brightness keep different running means; the average would be equal."""
    config, stacked = _group(toy_data, [{}], seeds=(3, 4))
    bright = np.flatnonzero(toy_data.split("train").labels >= 4)
    dark = np.flatnonzero(toy_data.split("train").labels <= 2)
    size = min(len(bright), len(dark))
    stacked = stacked.replace(
        seed=jnp.asarray([3, 3], jnp.uint32),
        sampling=stacked.sampling.at[0, :size].set(bright[:size]).at[1, :size].set(dark[:size]),
        sampling_size=jnp.asarray([size, size], jnp.int32),
    )
    state, _ = _run(toy_data, config, stacked, epochs=2)
    means = np.asarray(state.batch_stats["bn1"]["mean"])
    assert np.abs(means[0] - means[1]).max() > 0.1


@pytest.mark.slow
def test_chunks_of_an_epoch_equal_the_whole(toy_data):
    config, stacked = _group(toy_data, POINTS[:1])
    whole, _ = _run(toy_data, config, stacked, epochs=2)
    chunked, _ = _run(toy_data, config, stacked, epochs=2, steps_per_call=3)  # 4 steps: one call is part empty
    _assert_close(whole.params, chunked.params, 1e-5, 1e-6)


def _epoch_rows(member, epoch, steps, batch):
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(member.seed), 1), epoch)
    return sampling.epoch_rows(key, member.redraw, member.sampling, member.sampling_size, steps, batch)


def test_an_epoch_visits_every_row_once():
    member = stack([_member(sampling=np.arange(50, dtype=np.int32), size=50)])
    rows = jax.vmap(lambda m: _epoch_rows(m, 7, 4, 16))(member)
    assert sorted(np.asarray(rows).reshape(-1)[:50].tolist()) == list(range(50))
    other = jax.vmap(lambda m: _epoch_rows(m, 8, 4, 16))(member)
    assert (np.asarray(rows) != np.asarray(other)).any()


def test_padded_sampling_tables_draw_only_their_own_rows():
    member = stack([_member(sampling=np.array([5, 6, 7, 0, 0], np.int32), size=3)])
    rows = jax.vmap(lambda m: _epoch_rows(m, 0, 2, 3))(member)
    assert sorted(np.asarray(rows).reshape(-1)[:3].tolist()) == [5, 6, 7]


def _member(sampling, size):
    c = _config()
    spec = expand(c, [{}])[0].specs[0]
    return member_of(spec, Annotations.without_attributes(np.zeros(8, np.int64), 7)).replace(
        sampling=sampling, sampling_size=np.int32(size), redraw=still(8, len(sampling))
    )


def test_weight_zero_contributes_no_gradient_and_weight_two_counts_twice():
    logits = jax.random.normal(jax.random.key(0), (5, 3))
    labels = jnp.asarray([0, 1, 2, 1, 0])
    valid = jnp.ones(5, bool)

    def loss(logits, weights, normaliser=losses.PER_COUNT):
        return losses.reduce(softmax_cross_entropy_with_integer_labels(logits, labels), weights, valid, normaliser)

    weights = jnp.asarray([1.0, 0.0, 1.0, 1.0, 1.0])
    grad = jax.grad(loss)(logits, weights)
    assert (grad[1] == 0).all()
    assert loss(logits.at[1].set(-1e30), weights) == loss(logits, weights)
    # Doubling a weight equals listing that loss twice (same divisor).
    per_example = softmax_cross_entropy_with_integer_labels(logits, labels)
    doubled = loss(logits, jnp.ones(5).at[3].set(2.0))
    np.testing.assert_allclose(doubled, jnp.append(per_example, per_example[3]).sum() / 5, rtol=1e-6)
    by_weight = loss(logits, jnp.ones(5).at[3].set(2.0), losses.PER_WEIGHT)
    np.testing.assert_allclose(by_weight, jnp.append(per_example, per_example[3]).mean(), rtol=1e-6)
    assert loss(logits, jnp.zeros(5), losses.PER_WEIGHT) == 0


def test_example_weights_of_zero_equal_absence_from_the_loss(toy_data):
    """Training where half of the images weigh nothing equals training where their labels are wrong."""
    config, stacked = _group(toy_data, [{}], **{"loss.class_weights": "none"})
    ignored = np.arange(64) % 2 == 0
    stacked = stacked.replace(example_weights=jnp.asarray(np.where(ignored, 0.0, 1.0)[None], jnp.float32))
    state, _ = _run(toy_data, config, stacked, epochs=1)
    table = toy_data.table.copy()
    rows = np.flatnonzero((table["split"] == "train").to_numpy())[ignored]
    table.loc[rows, "emotion"] = "Anger"
    wrong, _ = _run(dataclasses.replace(toy_data, table=table), config, stacked, epochs=1)
    _assert_close(state.params, wrong.params, 0, 0)


def test_nan_stops_its_member_only(toy_data):
    config, stacked = _group(toy_data, [{"optimiser.learning_rate": 1e-3}, {"optimiser.learning_rate": 1e38}])
    clean, _ = _run(toy_data, config, jax.tree.map(lambda x: x[:1], stacked))
    state, history = _run(toy_data, config, stacked)
    assert np.asarray(state.failed_step)[0] == -1
    assert 0 <= np.asarray(state.failed_step)[1] < 12
    assert not np.asarray(state.active)[1]
    assert all(np.isfinite(x).all() for x in map(np.asarray, jax.tree.leaves(state.params)))
    _assert_close(jax.tree.map(lambda x: x[:1], state.params), clean.params, 2e-3, 2e-3)
    assert not np.asarray(history[-1]["ran"])[1]


def test_stopped_members_are_frozen(toy_data):
    points = [{"stopping.patience": 0, "stopping.min_improvement": 2.0}, {"stopping.patience": 50}]
    config, stacked = _group(toy_data, points)
    first, _ = _run(toy_data, config, stacked, epochs=1)
    assert np.asarray(first.active).tolist() == [False, True]  # an improvement of 2 in AUROC does not exist
    last, _ = _run(toy_data, config, stacked, epochs=3)
    _assert_close(jax.tree.map(lambda x: x[0], first.params), jax.tree.map(lambda x: x[0], last.params), 0, 0)
    moved = jax.tree.map(lambda a, b: float(jnp.abs(a[1] - b[1]).max()), first.params, last.params)
    assert max(jax.tree.leaves(moved)) > 0


def _finish(scores, losses_, **fields):
    """Feeds a member validation scores and losses, epoch by epoch; returns what schedules and stopping decided."""
    c = _config(epochs=50, **fields)
    spec = expand(c, [{}])[0].specs[0]
    member = jax.tree.map(jnp.asarray, member_of(spec, Annotations.without_attributes(np.zeros(8, np.int64), 2)))
    e = make_engine(spec.config, Shape(2), 4, 4)
    state = jax.tree.map(lambda x: x[0], e.init(stack([member]), None))
    out, finish = [], jax.jit(schedule.judge, static_argnums=5)
    for epoch, (score, loss) in enumerate(zip(scores, losses_, strict=True)):
        # Ten images; the chosen number of inversions gives the AUROC, the margin gives the loss.
        wrong = round((1 - score) * 25)
        labels = jnp.asarray([0] * 5 + [1] * 5)
        rank = np.r_[np.zeros(5), np.ones(5)].astype(float)
        for k in range(wrong):
            rank[k // 5] += 2 / 5
        logits = jnp.stack([jnp.zeros(10), jnp.asarray(rank) * 1e-3 + loss], 1)
        state, metrics = finish(state, member, logits.astype(jnp.float32), labels, jnp.int32(epoch), 4)
        out.append((float(metrics["val_loss"]), float(state.rate_scale), bool(state.active)))
    return state, out


def test_plateau_drops_like_torchs_scheduler():
    """ReduceLROnPlateau(factor 0.1, patience 2), worked by hand: the third epoch without a better loss drops."""
    offsets = [0.0, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5]
    _, out = _finish(
        [0.6] * 7, offsets, **{"schedule.name": "plateau", "schedule.patience": 2, "stopping.patience": 50}
    )
    np.testing.assert_allclose([scale for _, scale, _ in out], [1, 1, 1, 0.1, 0.1, 0.1, 0.01], rtol=1e-5)


@pytest.mark.parametrize(("name", "expected"), [("step", [1, 1, 1, 0.1, 0.1, 0.1, 0.01]), ("constant", [1] * 7)])
def test_step_schedule_is_the_studys(name, expected):
    c = _config(**{"schedule.name": name, "schedule.patience": 3, "schedule.warmup_epochs": 0.0})
    member = member_of(expand(c, [{}])[0].specs[0], Annotations.without_attributes(np.zeros(8, np.int64), 7))
    factors = [float(schedule.rate_factor(jax.tree.map(jnp.asarray, member), 1.0, e, 0, 4)) for e in range(7)]
    np.testing.assert_allclose(factors, expected, rtol=1e-5)


def test_cosine_and_warm_up():
    c = _config(**{"schedule.name": "cosine", "schedule.warmup_epochs": 1.0})
    c.epochs = 4
    member = jax.tree.map(
        jnp.asarray,
        member_of(expand(c, [{}])[0].specs[0], Annotations.without_attributes(np.zeros(8, np.int64), 7)),
    )
    factor = [float(schedule.rate_factor(member, 1.0, e, s, 4)) for e in range(4) for s in range(2)]
    progress = np.arange(8) / 8
    warm = np.minimum((np.arange(8) + 1) / 2, 1)
    np.testing.assert_allclose(factor, 0.5 * (1 + np.cos(np.pi * progress)) * warm, rtol=1e-5)


def test_pretrained_members_share_the_trunk_and_not_the_head(toy_data):
    config, stacked = _group(toy_data, [{"model.name": "resnet18"}], seeds=(0, 1))
    source = weights.convert(torch_resnet.state_dict(4, 1000, 3), ResNet18(classes=1000, width=4), "f", without=("fc",))
    state = make_engine(config, Shape(7)).init(stacked, source)
    for name, part in source["params"].items():
        for found, given in zip(jax.tree.leaves(state.params[name]), jax.tree.leaves(part), strict=True):
            np.testing.assert_array_equal(found, np.stack([given, given]))
    np.testing.assert_array_equal(state.batch_stats["bn1"]["var"][1], source["batch_stats"]["bn1"]["var"])
    heads = np.asarray(state.params["fc"]["kernel"])
    assert heads.shape == (2, 32, 7)
    assert (heads[0] != heads[1]).any()


def test_doctests():
    assert doctest.testmod(losses).failed == 0


def test_auroc_matches_scikit_learn():
    metrics = pytest.importorskip("sklearn.metrics")
    rng = np.random.default_rng(0)
    scores = rng.integers(0, 12, (200, 5)).astype(np.float32)  # many ties
    labels = rng.integers(0, 5, 200)
    expected = metrics.roc_auc_score(np.eye(5)[labels], scores, average="macro")
    np.testing.assert_allclose(multiclass_auroc(jnp.asarray(scores), jnp.asarray(labels)), expected, rtol=1e-5)
    assert np.isnan(binary_auroc(jnp.ones(3), jnp.zeros(3, bool)))
    only_two = np.where(labels > 1, 1, 0)
    defined = metrics.roc_auc_score(only_two, scores[:, 1])
    found = multiclass_auroc(jnp.asarray(scores[:, [1, 1, 2]]), jnp.asarray(only_two))
    other = metrics.roc_auc_score(1 - only_two, scores[:, 1])
    np.testing.assert_allclose(found, (defined + other) / 2, rtol=1e-5)


def test_class_weights_reproduce_the_studys_softmax():
    counts = np.array([1290, 281, 717, 4772, 1982, 705, 2524])
    repo = class_weights.from_counts("repo", counts)
    np.testing.assert_allclose([repo.min(), repo.max()], [0.14272, 0.14320], atol=5e-6)
    inverse = class_weights.from_counts("inverse", counts)
    np.testing.assert_allclose((inverse * counts).sum() / counts.sum(), 1, rtol=1e-6)
    np.testing.assert_allclose(inverse * counts, np.full(7, counts.sum() / 7), rtol=1e-5)
    assert class_weights.from_counts("inverse", np.array([3, 0]))[1] == 0
    # Cui et al. 2019 with b = .9999: (1 - b) / (1 - b^n), here from the sum of the geometric series.
    effective = class_weights.from_counts("effective_number", counts)
    series = np.array([1 / (0.9999 ** np.arange(n)).sum() for n in counts])
    np.testing.assert_allclose(effective / effective[0], series / series[0], rtol=1e-4)
    assert (effective * counts).sum() == pytest.approx(counts.sum(), rel=1e-5)
    assert class_weights.from_counts("effective_number", np.array([3, 0]))[1] == 0


def test_traced_fields_share_a_program_and_static_ones_do_not():
    c = _config()
    c.seeds = (0, 1)
    points = [{"optimiser.learning_rate": r} for r in (1e-3, 1e-2)] + [{"batch_size": 8}, {"model.width": 8}]
    groups = expand(c, points)
    assert [len(g.specs) for g in groups] == [4, 2, 2]
    assert sorted(s.member for g in groups for s in g.specs) == list(range(8))
    with pytest.raises((KeyError, AttributeError), match="learning_rat"):
        expand(c, [{"optimiser.learning_rat": 1.0}])
