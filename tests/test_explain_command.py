"""Explaining finished runs: the command on a small one, and that the measures measure."""

import pathlib
import subprocess
import sys

import pandas as pd
import pytest

from configs import baseline
from frown_jax import config as configs
from frown_jax.data.load import load
from frown_jax.explain import measure, regions, sanity
from frown_jax.explain.attribution import Method
from frown_jax.explain.networks import networks_of
from frown_jax.inference.ensemble import Ensemble
from frown_jax.inference.evaluation import evaluate
from frown_jax.jobs.job import train
from frown_jax.training import check
from tests.commands import CACHE, ROOT
from tests.pages import parsed


def _config(units=False, train_images=96, test_images=48, epochs=1, **faces):
    c = baseline.get_config("seeds=2")
    if units:
        c.data.target, c.data.min_occurrences = "aus", train_images // 5
    c.data.cache_dir = CACHE
    c.data.faces.train, c.data.faces.test, c.data.faces.joint = train_images, test_images, "balanced"
    c.data.faces.update(faces)
    c.model.name, c.model.width, c.model.image_size, c.epochs = "resnet10", 8, 48, epochs
    return c


def _trained(c, path):
    check.validate(c)
    train(c, [{}], path)
    return Ensemble(path)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    path = tmp_path_factory.mktemp("explained") / "run"
    _trained(_config(), path)
    return path


def _command(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "frown_jax.explain", *map(str, arguments)], cwd=ROOT, capture_output=True, text=True
    )


@pytest.mark.slow
def test_the_command_leaves_tables_pictures_and_a_page(run, tmp_path):
    out = tmp_path / "out"
    options = ("--images=24", "--twins=6", "--checked=6", "--stability=EpsilonPlus", "--attributes=gender")
    done = _command(f"--run={run}", f"--out={out}", *options)
    assert done.returncode == 0, done.stderr
    table = pd.read_parquet(out / "measures.parquet")
    assert len(table) == 24 * 2 * 7 and table["image"].nunique() == 24
    # Parts do not overlap, but where their edges fall within a pixel of another resolution it may count for two.
    assert (table["face"] + table["hair"].fillna(0) + table["background"]).dropna().max() <= 1.03
    assert table[["mass", "rank", "hit", "face", "background"]].stack().dropna().between(0, 1 + 1e-5).all()
    assert table.loc[table["target"] == "Neutral", "mass"].isna().all()  # nothing has to move in a neutral face
    assert (out / "specificity.png").stat().st_size > 5000
    twins = pd.read_csv(out / "twins.csv")
    assert set(twins["pair"]) == {"skin tone", "gender", "noise"}
    alike = twins[twins["quantity"] == "alike"].groupby("pair")["value"].mean()
    assert alike["noise"] > alike["skin tone"]  # noise changes maps less than a person's skin
    stages = pd.read_csv(out / "randomisation.csv")
    assert stages["spearman"].iloc[0] == 1 and stages["layers"].max() == 6
    page = parsed((out / "index.html").read_text())
    assert len(page.of("h2")) >= 5


@pytest.mark.slow
def test_what_cannot_be_done_is_one_clear_line(run):
    for arguments, message in (
        ((), "--run is missing"),
        ((f"--run={run}", "--composite=EpsilonMinus"), "there are EpsilonPlus"),
        ((f"--run={run}", "--members=9"), "--members: the run has 0 to 1, not 9"),
        ((f"--run={run}", "--landmarks=/nowhere.csv"), "--landmarks=/nowhere.csv: not a readable CSV"),
        ((f"--run={run}", "--attributes=hair"), "--attributes names hair"),
    ):
        done = _command(*arguments)
        assert done.returncode == 2 and message in done.stderr and "Traceback" not in done.stderr, done.stderr


def _measured(ensemble, c, method="EpsilonPlusFlat"):
    """Measures on the test images of a data section."""
    data = load(c.data, c.model.image_size).split("test")
    predictions = evaluate(ensemble, data, "test")
    find_one = regions.finder(c.data, list(data.table["id"]), data.classes, "", "polygon")
    found = regions.find(find_one, data.classes, len(data), (data.fingerprint,), pathlib.Path(CACHE))
    shown = measure.Shown(data, found, predictions)
    return measure.measure(networks_of(ensemble), shown, Method.of(method), mean_maps=False)[0]


@pytest.mark.slow
def test_relevance_lies_in_the_region_of_what_is_predicted_well(tmp_path):
    """No confounder: the background is drawn without looking at the labels, so the face is all there is to use."""
    c = _config(units=True, train_images=2400, test_images=160, epochs=10)
    ensemble = _trained(c, tmp_path / "run")
    table = _measured(ensemble, c)
    results = pd.read_csv(tmp_path / "run" / "results.csv")
    scores = results[(results["split"] == "test") & (results["metric"] == "target_auroc") & results["group"].isna()]
    scores = scores.groupby("target")["value"].mean()
    right = table[table["outcome"] == measure.TP].groupby("target")["normalised"].mean()
    shown = pd.DataFrame({"auroc": scores, "normalised": right}).dropna()
    print(shown.round(3))
    well = shown[shown["auroc"] > 0.7]
    assert len(well) >= 4
    assert (well["normalised"] > 1).all() and well["normalised"].mean() > 1.3


@pytest.mark.slow
def test_a_background_that_tells_the_label_draws_relevance(tmp_path):
    """Faces before backgrounds that are tied to the emotion in training, or not; measured on the same images."""
    plain = _config(train_images=1500, test_images=160, epochs=6)
    planted = _config(train_images=1500, test_images=160, epochs=6, spurious="background", spurious_strength=0.95)
    tables = {}
    for name, c in (("plain", plain), ("planted", planted)):
        tables[name] = _measured(_trained(c, tmp_path / name), planted)
    background = {name: table.groupby("member")["background"].mean() for name, table in tables.items()}
    print({k: v.round(3).tolist() for k, v in background.items()})
    assert background["planted"].min() > 1.25 * background["plain"].max()


@pytest.mark.slow
def test_maps_depend_on_what_was_learnt(run):
    ensemble = Ensemble(run)
    (networks,) = networks_of(ensemble)
    from frown_jax.explain.checks import first_members

    ((_, _, variables),) = first_members([networks])
    data = load(ensemble.config.data, ensemble.config.model.image_size).split("test")
    import jax.numpy as jnp

    from frown_jax.member import augment

    x = augment.plain(jnp.asarray(data.images[:16]), networks.image_size)
    for name in ("EpsilonPlusFlat", "Epsilon", "gradient_x_input"):
        stages = sanity.randomisation(networks.model, variables["params"], x, Method.of(name))
        print(name, stages.round(3).to_dict("list"))
        last = stages.iloc[-1]
        assert last["layers"] == 6 and last["spearman"] < 0.8  # fully randomised: no longer the same map
        assert stages.iloc[1]["ranks_changed"] > 0.9  # the last layer alone


def test_default_settings_leave_no_head_without_a_rule():
    """Every network that a config can ask for is explained by every composite: no layer lacks a rule."""
    import jax
    import jax.numpy as jnp

    from frown_jax.explain import intercept
    from frown_jax.explain.composites import COMPOSITES
    from frown_jax.models.build import network as build
    from frown_jax.models.fold_norms import fold_batch_norms

    for name in ("resnet18", "resnet10", "vgg16", "vgg16_bn"):
        c = configs.default()
        c.model.name, c.model.width = name, 2
        model = build(c.model, 3)
        x = jnp.zeros((1, 32, 32, 3))
        variables = jax.eval_shape(lambda k, m=model, x=x: m.init(k, x, train=False), jax.random.key(0))
        zeros = jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), dict(variables))
        plain, folded = fold_batch_norms(model, zeros)
        for composite in COMPOSITES.values():
            shape = jax.eval_shape(lambda x, p=plain, f=folded, r=composite: intercept.outputs(p, f, x, r), x)
            assert shape.shape == (1, 3)
