"""Each mitigation does what it claims, on images with a known, planted bias; against ERM over several seeds.

Bars across (class 0) or down (class 1) are faint; a red or green background is not, and in training it goes with the
class 19 times in 20. Validation and test are balanced. A third class, of crossed bars, is rare and has no colour of its
own, for what is about rare classes.
"""

import functools
import pathlib
import sys
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pandas as pd
import pytest
from optax.losses import softmax_cross_entropy_with_integer_labels

from frown_jax import config as configs
from frown_jax.data.annotations import Annotations
from frown_jax.data.dataset import Dataset
from frown_jax.inputs.images import Images
from frown_jax.jobs.job import ProgramTrainer
from frown_jax.member import augment
from frown_jax.metrics import results_table
from frown_jax.runs.directory import RunDir
from frown_jax.training.grid import expand
from frown_jax.training.readout import Readout

pytestmark = pytest.mark.slow

SEEDS, EPOCHS = (0, 1), 6
BIAS = 0.95  # share of the images of classes 0 and 1 whose colour goes with the class
CLASSES = ("across", "down", "crossed")
BY = "by='colour'"
BOTH = "by=('emotion', 'colour')"
METHODS = {
    "ERM": "",
    "reweighing": f"reweighing({BY})",
    "group weights": f"group_weights({BOTH})",
    "balanced sampling": f"balanced_sampling({BOTH})",
    "sqrt sampling": f"sqrt_sampling({BOTH})",
    "subg": f"subg({BOTH}) + matched_steps()",
    "equalise": f"equalise({BOTH}, how='max')",
    "group DRO": f"group_dro({BOTH}, rate=0.1) + balanced_sampling({BOTH})",
    "CVaR": "cvar_dro(alpha=0.5)",
    "focal": "focal(gamma=2)",
    "LDAM": "ldam(margin=2.0)",
    "logit adjustment": "logit_adjustment()",
    "group logit adjustment": f"group_logit_adjustment({BY})",
    "demographic parity": f"demographic_parity_gap({BY}, weight=30)",
    "equal opportunity": f"equal_opportunity_gap({BY}, weight=30)",
    "equalized odds": f"equalized_odds_gap({BY}, weight=30)",
    "HSIC": f"hsic({BY}, weight=300)",
    "MMD": f"mmd({BY}, weight=1)",
    "MinDiff": f"mindiff({BY}, weight=1)",
    "CORAL": f"coral({BY}, weight=1)",
    "domain independent": f"domain_independent({BY})",
    "domain discriminative": f"domain_discriminative({BY})",
    "confusion": f"uniform_confusion({BY}, strength=1)",
    "DANN": f"dann({BY}, strength=0.5)",
    "conditional DANN": f"dann({BY}, strength=0.5, conditional=True)",
    "LAFTR": f"laftr({BY}, strength=1)",
    "attribute-aware": f"attribute_aware({BY})",
    "disentangled": f"disentangled({BY}, strength=1)",
    "affirmative action": f"affirmative_action({BOTH}, cells=('across x green', 'down x red'), factor=10.0)",
    "mixup": "mixup(alpha=0.4)",
    "LISA": f"lisa({BY}, alpha=0.5, same_label=1.0)",
    "JTT": "jtt(first=0.2, factor=5)",
    "SAM": "sam(radius=0.1)",
    "SWA": "swa(start=0.5, rate=0.3)",
    "SWAD": "swad(converge=2, tolerance=3, ratio=0.3)",
    "DFR": f"dfr({BOTH})",
    "cRT": "crt()",
    "cRT by cells": f"crt({BOTH})",
    "post-hoc logit adjustment": "posthoc_logit_adjustment()",
    "post-hoc group logit adjustment": f"posthoc_logit_adjustment({BY})",
    "group offsets": f"group_offsets({BY}, most_loss=0.05)",
}


CONTRAST, NOISE, TINT = 22, 30, 60  # of the bars, of everything, of the background


def _images(rng, labels, green, contrast=CONTRAST, tint=TINT):
    n = len(labels)
    x = rng.normal(110, NOISE, (n, 32, 32, 1))
    place = rng.integers(8, 24, (n, 2))
    steps = np.arange(32)
    across = np.abs(steps[None, :, None] - place[:, 0, None, None]) < 3
    down = np.abs(steps[None, None, :] - place[:, 1, None, None]) < 3
    bars = across * np.isin(labels, (0, 2))[:, None, None] | down * np.isin(labels, (1, 2))[:, None, None]
    x = x + contrast * bars[..., None]
    colour = tint * np.where(green[:, None], [-1, 1, 0], [1, -1, 0])[:, None, None]
    return np.clip(x + colour, 0, 255).astype(np.uint8)


PLANTED = (("train", (800, 800, 120), BIAS), ("val", (300, 300, 60), BIAS), ("test", (300, 300, 300), 0.5))
PLAIN = tuple(
    (split, counts, 0.5) for split, counts in (("train", (300,) * 3), ("val", (60,) * 3), ("test", (60,) * 3))
)


def _data(sizes=PLANTED, **looks):
    """Training and validation images with the bias, test images without."""
    rng = np.random.default_rng(0)
    parts = []
    for split, counts, share in sizes:
        labels = np.repeat(np.arange(3), counts)
        with_green = np.where(labels == 1, share, np.where(labels == 0, 1 - share, 0.5))
        green = rng.random(len(labels)) < with_green
        frame = pd.DataFrame({"split": split, "emotion": np.array(CLASSES)[labels]})
        frame["colour"] = np.where(green, "green", "red")
        parts.append((frame, _images(rng, labels, green, **looks)))
    frame = pd.concat([p[0] for p in parts], ignore_index=True)
    frame.insert(0, "id", [str(i) for i in range(len(frame))])
    return Dataset("planted", frame, np.concatenate([p[1] for p in parts]), CLASSES, {"colour": ("green", "red")}, "0")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train(tmp_path_factory.mktemp("run"), METHODS, SEEDS)


def train(path, methods, seeds):
    """(results of the test set, `_measures`), both by method and seed."""
    data = _data()
    predictions, measured = zip(
        *((p, _measures(r, data)) for p, r in _trained(path, methods, seeds, data)), strict=True
    )
    return results_table.results(pd.concat(predictions, ignore_index=True), data.attributes), pd.concat(measured)


def _trained(path, methods, seeds, data):
    """(test predictions, readout) of each program."""
    c = configs.default()
    configs.smoke(c)
    c.seeds, c.epochs, c.batch_size = seeds, EPOCHS, 32
    c.optimiser.learning_rate, c.optimiser.weight_decay = 3e-3, 0.05
    c.loss.class_weights = "none"
    c.augment.flip, c.augment.shift = 0.5, 0.2
    points = [{"method": m, "mitigation": text} for m, text in methods.items()]
    run = RunDir.create(path, c, points, {})
    for index, group in enumerate(expand(c, points)):
        trainer = ProgramTrainer(index, group, run, data)
        state = trainer.train()
        predictions = trainer.predict(state, data, ("test",))
        finishes = run.read_adjustments([s.member for trained in group.specs for s in trained.all])
        yield predictions, Readout(trainer.engine, state.best, group.specs, finishes)


def _fold(images, data=None):
    return Images(images, data, inverted=lambda: 255 - images)


def _measures(readout, data):
    """What no table of results has; a row for each method and seed.

    probe: accuracy of a fresh classifier of the colour. confidence: mean of the highest probability. tail: mean of the
    highest fifth of the losses on training images. sharpness: what training loss a step of 0.3 uphill adds.
    """
    test, train_ = data.split("test"), data.split("train")
    p = readout.probabilities(_fold(test.images, Annotations.of(test)))
    seen = readout.probabilities(_fold(train_.images, Annotations.of(train_)))
    held_out = data.take(np.flatnonzero(data.table["split"] != "train"))
    features = readout.outputs(_fold(held_out.images), range(len(readout._specs)), penultimate=True)
    trainings = [i for i, spec in enumerate(readout._specs) for _ in spec.all]
    rows = {}
    for j, (spec, i) in enumerate(zip(readout.members, trainings, strict=True)):
        losses_ = -np.log(np.maximum(seen[j][np.arange(len(train_)), train_.labels], 1e-12))
        rows[spec.method, spec.seed] = {
            "probe": _probe(features[i].penultimate, held_out),
            "confidence": p[j].max(1).mean(),
            "tail": np.sort(losses_)[-len(losses_) // 5 :].mean(),
            "sharpness": _sharpness(readout, i, train_) if spec.method in ("ERM", "SAM", "SWA", "SWAD") else np.nan,
        }
    return pd.DataFrame(rows).T.rename_axis(["method", "seed"])


@functools.partial(jax.jit, static_argnums=0)
def _loss_and_gradient(model, params, stats, x, y):
    def loss(params):
        logits = model.apply({"params": params, "batch_stats": stats}, x, train=False)[0]
        return softmax_cross_entropy_with_integer_labels(logits, y).mean()

    return jax.value_and_grad(loss)(params)


def _sharpness(readout, i, data):
    static, y = readout._engine.static, jnp.asarray(data.labels)
    mine = jax.tree.map(lambda a: a[i], readout._predictor)
    x = augment.plain(jnp.asarray(data.images), static.image_size)
    value, g = _loss_and_gradient(static.model, mine.params, mine.batch_stats, x, y)
    reach = 0.3 / optax.tree.norm(g)
    away = jax.tree.map(lambda p, d: p + reach * d, mine.params, g)
    return float(_loss_and_gradient(static.model, away, mine.batch_stats, x, y)[0] - value)


def _probe(features, data):
    """Accuracy of a fresh logistic regression that reads the colour from features, fitted on val, tested on test."""
    from sklearn.linear_model import LogisticRegression

    split, colour = data.table["split"].to_numpy(), data.groups("colour")
    scaled = (features - features.mean(0)) / (features.std(0) + 1e-6)
    model = LogisticRegression(max_iter=500).fit(scaled[split == "val"], colour[split == "val"])
    return model.score(scaled[split == "test"], colour[split == "test"])


def _value(results, method, metric, attribute="", target=""):
    chosen = results[
        (results["method"] == method)
        & (results["metric"] == metric)
        & (results["attribute"] == attribute)
        & (results["target"] == target)
        & (results["group"] == "")
    ]
    assert len(chosen) == len(SEEDS)
    return float(chosen["value"].mean())


def _mean(measured, method, name):
    return float(measured.loc[method, name].mean())


EOD = "equal_opportunity_difference_max"
DP = "demographic_parity_difference_max"


def _change(results, method, metric, attribute="colour", target=""):
    return _value(results, method, metric, attribute, target) - _value(results, "ERM", metric, attribute, target)


def test_the_bias_is_there(trained):
    results, measured = trained
    assert _value(results, "ERM", EOD, "colour") > 0.2
    assert _value(results, "ERM", "accuracy") > 0.75
    assert _mean(measured, "ERM", "probe") > 0.95


@pytest.mark.parametrize(
    "method",
    [
        "balanced sampling", "sqrt sampling", "subg", "equalise", "group DRO", "group logit adjustment", "LDAM", "MMD",
        "CORAL", "domain discriminative", "attribute-aware", "JTT", "DFR", "cRT", "cRT by cells",
        "post-hoc group logit adjustment", "group offsets",
    ],
)  # fmt: skip
def test_the_worst_cell_rises_and_its_gap_closes(trained, method):
    results, _ = trained
    assert _change(results, method, "worst_group_recall") > 0.05
    assert _change(results, method, EOD) < -0.05


@pytest.mark.parametrize("method", ["reweighing", "group weights"])
def test_weights_alone_close_the_gap_of_recalls(trained, method):
    # Not the worst cell's recall: with so few updates, rare images that count much are learnt by heart.
    results, _ = trained
    assert _change(results, method, EOD) < -0.05


@pytest.mark.parametrize("method", ["confusion", "DANN", "conditional DANN", "LAFTR"])
def test_adversaries_pay_without_hiding_the_colour(trained, method):
    # What they do here, not what they claim: a fresh probe still reads the colour, and accuracy falls.
    results, measured = trained
    assert _mean(measured, method, "probe") > 0.9
    assert _change(results, method, "accuracy", "") < 0


def test_disentangling_one_attribute_is_uniform_confusion(trained):
    results, measured = trained
    own, other = (measured.loc[m].to_numpy() for m in ("disentangled", "confusion"))
    np.testing.assert_array_equal(own, other)
    assert _change(results, "disentangled", EOD) == _change(results, "confusion", EOD)


@pytest.mark.parametrize(
    ("method", "metric"), [("demographic parity", DP), ("equal opportunity", EOD), ("equalized odds", EOD)]
)
def test_gap_penalties_close_their_gap_at_a_price(trained, method, metric):
    results, _ = trained
    assert _change(results, method, metric) < -0.03
    assert _change(results, method, "accuracy", "") < 0.02


@pytest.mark.parametrize("method", ["HSIC", "MMD"])
def test_a_fresh_probe_reads_less_colour_from_penalised_features(trained, method):
    _, measured = trained
    assert _mean(measured, method, "probe") < _mean(measured, "ERM", "probe") - 0.03


@pytest.mark.parametrize("method", ["logit adjustment", "post-hoc logit adjustment", "LDAM", "cRT", "DFR"])
def test_the_rare_class_rises(trained, method):
    results, _ = trained
    assert _change(results, method, "recall", "", "crossed") > 0.03


def test_affirmative_action_raises_the_cells_that_it_names(trained):
    results, _ = trained

    def cells(method):
        recall = results[(results["method"] == method) & (results["metric"] == "recall")]
        pairs = (("green", "across"), ("red", "down"))
        return np.mean([recall[(recall["group"] == g) & (recall["target"] == t)]["value"].mean() for g, t in pairs])

    assert cells("affirmative action") > cells("ERM") + 0.1


@pytest.mark.parametrize("method", ["focal", "mixup"])
def test_answers_are_less_sure(trained, method):
    # And less accurate here: easy images teach the colour first, and these methods hold that up.
    results, measured = trained
    assert _mean(measured, method, "confidence") < _mean(measured, "ERM", "confidence") - 0.03
    assert _change(results, method, "accuracy", "") < 0


def test_sam_ends_in_a_flatter_place(trained):
    results, measured = trained
    assert _mean(measured, "SAM", "sharpness") < 0.7 * _mean(measured, "ERM", "sharpness")
    assert _change(results, "SAM", "accuracy", "") < 0  # six epochs are too few for it


def test_averaged_weights_predict_as_well_or_a_little_worse(trained):
    results, _ = trained
    assert abs(_change(results, "SWA", "accuracy", "")) < 0.05
    assert -0.2 < _change(results, "SWAD", "accuracy", "") < 0.02  # its valley takes early epochs in


@pytest.mark.parametrize("method", ["MinDiff", "LISA", "domain independent"])
def test_what_does_not_help_here(trained, method):
    # MinDiff and LISA make the colour more tempting. Independent heads have forty images of the rarer cells, which do
    # not train a head; on CIFAR-10S they are the best method (docs/reproductions.md).
    results, _ = trained
    assert _change(results, method, EOD) > -0.05


def test_cvar_depends_on_the_seed(trained):
    # It helped with two seeds of three; nothing is claimed but that it trains.
    results, measured = trained
    assert _value(results, "CVaR", "accuracy") > 0.6
    assert _mean(measured, "CVaR", "tail") < 2 * _mean(measured, "ERM", "tail")


def test_changed_pixels_make_networks_robust_to_that_change(tmp_path):
    """On clear bars without colours: test images as they are, inverted, and 50 levels darker."""
    methods = {
        "ERM": "",
        "inversion": "invert(p=0.5)",
        "inversion, tested too": "invert(p=0.5) + invert_test(p=0.5)",
        "lighting": "lighting(brightness=0.6, contrast=0.0)",
    }
    data = _data(PLAIN, contrast=70, tint=0)
    test = data.split("test")
    changed = {"plain": test.images, "inverted": 255 - test.images, "dark": np.maximum(test.images, 50) - 50}
    accuracy, p = {m: {} for m in methods}, {}
    for _, readout in _trained(tmp_path / "run", methods, SEEDS, data):
        for name, images in changed.items():
            found = readout.probabilities(_fold(images))
            for method in methods:
                own = [q for s, q in zip(readout.members, found, strict=True) if s.method == method]
                accuracy[method][name] = np.mean([(q.argmax(1) == test.labels).mean() for q in own])
                p[method, name] = np.stack(own)
    print(pd.DataFrame(accuracy).T)
    assert min(a["plain"] for a in accuracy.values()) > 0.8
    assert accuracy["inversion"]["inverted"] > accuracy["ERM"]["inverted"] + 0.2
    assert accuracy["lighting"]["dark"] > accuracy["ERM"]["dark"] + 0.1
    # What is tested with inversion too, says the same of an image and of its negative.
    both = p["inversion, tested too", "plain"], p["inversion, tested too", "inverted"]
    np.testing.assert_allclose(*both, atol=1e-4)


def _report() -> None:
    """The table of docs/methods.md: python -m tests.test_behaviour."""
    with tempfile.TemporaryDirectory() as folder:
        results, measured = train(pathlib.Path(folder), METHODS, (*SEEDS, 2))
    if len(sys.argv) > 1:
        results.to_pickle(sys.argv[1] + ".results")
        measured.to_pickle(sys.argv[1] + ".measured")
    results = results[results["group"] == ""]
    columns = {
        "accuracy": ("accuracy", "", ""),
        "worst cell": ("worst_group_recall", "colour", ""),
        "EOD": (EOD, "colour", ""),
        "DP": (DP, "colour", ""),
        "rare class": ("recall", "", "crossed"),
    }
    rows = {}
    for method in METHODS:
        own = results[results["method"] == method].set_index(["metric", "attribute", "target"])["value"]
        rows[method] = {name: own.loc[key].mean() for name, key in columns.items()} | dict(measured.loc[method].mean())
    print(pd.DataFrame(rows).T.to_string(float_format="{:.3f}".format))


if __name__ == "__main__":
    _report()
