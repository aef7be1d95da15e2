"""Each mitigation does what it claims, on images with a known, planted bias; against ERM over several seeds.

Bars across (class 0) or down (class 1) are faint; a red or green background is not, and in training it goes with the
class 19 times in 20. Validation and test are balanced. A third class, of crossed bars, is rare and has no colour of its
own, for what is about rare classes.
"""

import pathlib
import tempfile

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest

from frown_jax import augment, members
from frown_jax import config as configs
from frown_jax.data.dataset import Dataset
from frown_jax.metrics import table
from frown_jax.rundir import RunDir
from frown_jax.train import GroupTrainer

pytestmark = pytest.mark.slow

SEEDS = (0, 1, 2)
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
    "CVaR": "cvar_dro(alpha=0.2)",
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
}


CONTRAST, NOISE, TINT = 17, 30, 60  # of the bars, of everything, of the background


def _images(rng, labels, green):
    n = len(labels)
    x = rng.normal(110, NOISE, (n, 32, 32, 1))
    place = rng.integers(8, 24, (n, 2))
    steps = np.arange(32)
    across = np.abs(steps[None, :, None] - place[:, 0, None, None]) < 3
    down = np.abs(steps[None, None, :] - place[:, 1, None, None]) < 3
    bars = across * np.isin(labels, (0, 2))[:, None, None] | down * np.isin(labels, (1, 2))[:, None, None]
    x = x + CONTRAST * bars[..., None]
    tint = np.where(green[:, None], [-TINT, TINT, 0], [TINT, -TINT, 0])[:, None, None]
    return np.clip(x + tint, 0, 255).astype(np.uint8)


def _planted(seed=0):
    """Training and validation images with the bias, test images without."""
    rng = np.random.default_rng(seed)
    parts = []
    for split, counts, share in (
        ("train", (800, 800, 120), BIAS),
        ("val", (100, 100, 20), BIAS),
        ("test", (300, 300, 300), 0.5),
    ):
        labels = np.repeat(np.arange(3), counts)
        with_green = np.where(labels == 1, share, np.where(labels == 0, 1 - share, 0.5))
        green = rng.random(len(labels)) < with_green
        frame = pd.DataFrame({"split": split, "emotion": np.array(CLASSES)[labels]})
        frame["colour"] = np.where(green, "green", "red")
        parts.append((frame, _images(rng, labels, green)))
    frame = pd.concat([p[0] for p in parts], ignore_index=True)
    frame.insert(0, "id", [str(i) for i in range(len(frame))])
    return Dataset("planted", frame, np.concatenate([p[1] for p in parts]), CLASSES, {"colour": ("green", "red")}, "0")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    return train(tmp_path_factory.mktemp("run"), METHODS, SEEDS)


def train(path, methods, seeds):
    """(results of the test set, accuracy of a probe for the colour), both by method and seed."""
    data = _planted()
    c = configs.default()
    configs.smoke(c)
    c.seeds, c.epochs, c.batch_size = seeds, 10, 32
    c.optimiser.learning_rate, c.optimiser.weight_decay = 3e-3, 0.05
    c.loss.class_weights = "none"
    c.augment.flip, c.augment.shift = 0.5, 0.2
    points = [{"method": m, "mitigation": text} for m, text in methods.items()]
    groups = members.expand(c, points)
    run = RunDir.create(path, c, points, {})
    frames, probes = [], {}
    for index, group in enumerate(groups):
        trainer = GroupTrainer(index, group, run, data)
        state = trainer.train()
        frames.append(trainer.predict(state, data, ("test",)))
        features = _features(trainer, state, data)
        for spec, own in zip(group.specs, features, strict=True):
            probes[spec.method, spec.seed] = _probe(own, data)
    results = table.results(pd.concat(frames, ignore_index=True), data.attributes)
    return results, pd.Series(probes)


def _features(trainer, state, data):
    model, side = trainer._engine.static.model, trainer._engine.static.image_size
    x = augment.plain(jnp.asarray(data.images), side)

    def one(variables):
        params, stats = variables
        return model.apply({"params": params, "batch_stats": stats}, x, train=False)[1]["features"]

    return np.asarray(jax.lax.map(one, (state.best.params, state.best.batch_stats)))


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


EOD = "equal_opportunity_difference_max"
DP = "demographic_parity_difference_max"


def test_the_bias_is_there(trained):
    results, probes = trained
    assert _value(results, "ERM", EOD, "colour") > 0.2
    assert _value(results, "ERM", "accuracy") > 0.75
    assert probes["ERM"].mean() > 0.95


@pytest.mark.parametrize(
    "method", ["group weights", "balanced sampling", "sqrt sampling", "subg", "equalise", "group DRO"]
)
def test_weights_and_sampling_of_cells_raise_the_worst_one(trained, method):
    results, _ = trained
    for metric, better in (("worst_group_recall", 1), (EOD, -1)):
        change = _value(results, method, metric, "colour") - _value(results, "ERM", metric, "colour")
        assert better * change > 0.05, metric


@pytest.mark.parametrize("method", ["reweighing", "group logit adjustment"])
def test_what_makes_class_and_colour_independent_closes_gaps(trained, method):
    # Not the worst cell's recall: the rare class has no colour of its own, and counts no more than before.
    results, _ = trained
    for metric in (EOD, DP):
        assert _value(results, method, metric, "colour") < _value(results, "ERM", metric, "colour") - 0.05


def test_a_joint_head_closes_gaps(trained):
    # Independent heads do not here: forty images of the rarer cells do not train a head. On CIFAR-10S they do
    # (docs/reproductions.md).
    results, _ = trained
    for metric in (EOD, DP):
        gap = _value(results, "ERM", metric, "colour")
        assert _value(results, "domain discriminative", metric, "colour") < gap - 0.05


@pytest.mark.parametrize("method", ["confusion", "DANN", "conditional DANN", "LAFTR"])
def test_adversaries_pay_without_hiding_the_colour(trained, method):
    # What they do here, not what they claim: a fresh probe still reads the colour, and accuracy falls.
    results, probes = trained
    assert probes[method].mean() > 0.9
    assert _value(results, method, "accuracy") < _value(results, "ERM", "accuracy")


@pytest.mark.parametrize(
    ("method", "metric"), [("demographic parity", DP), ("equal opportunity", EOD), ("equalized odds", EOD)]
)
def test_gap_penalties_close_their_gap_at_a_price(trained, method, metric):
    results, _ = trained
    assert _value(results, method, metric, "colour") < _value(results, "ERM", metric, "colour") - 0.03
    assert _value(results, method, "accuracy") < _value(results, "ERM", "accuracy") + 0.02


@pytest.mark.parametrize("method", ["HSIC", "MMD", "CORAL"])
def test_a_fresh_probe_reads_less_colour_from_penalised_features(trained, method):
    _, probes = trained
    assert probes[method].mean() < probes["ERM"].mean() - 0.03


def test_logit_adjustment_raises_the_rare_class(trained):
    results, _ = trained
    rare = _value(results, "ERM", "recall", target="crossed")
    assert _value(results, "logit adjustment", "recall", target="crossed") > rare + 0.05


def _report() -> None:
    """The table of docs/methods.md: python -m tests.test_behaviour (seeds 0 and 1)."""
    with tempfile.TemporaryDirectory() as folder:
        results, probes = train(pathlib.Path(folder), METHODS, SEEDS[:2])
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
        rows[method] = {name: own.loc[key].mean() for name, key in columns.items()} | {"probe": probes[method].mean()}
    print(pd.DataFrame(rows).T.to_string(float_format="{:.3f}".format))


if __name__ == "__main__":
    _report()
