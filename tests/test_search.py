"""The hyperparameter search: what is trained once is what would have been trained, and the best is taken."""

import json

import numpy as np
import pytest

from configs import baseline, hparam_search
from frown_jax import config as configs
from frown_jax.config import SEARCHED
from frown_jax.errors import ConfigError
from frown_jax.jobs import search
from frown_jax.runs.directory import RunDir
from frown_jax.training import check
from frown_jax.training.grid import expand


def test_the_studys_48_combinations_are_24_trainings_or_12():
    for arg, trainings in (("", 24), ("rafdb,fidelity=paper", 24), ("rafdb,fidelity=repo", 12)):
        c = hparam_search.get_config(arg)
        check.validate(c)
        assert len(search.combinations(c)) == 48
        points = search.points(c)
        assert len(points) == trainings
        assert {p["stopping.patience"] for p in points} == {6}
        groups = expand(c, points)
        assert sorted(g.config.batch_size for g in groups) == [16, 32]
        assert sum(len(g.specs) for g in groups) == trainings
    assert c.loss.class_weights == "none"
    assert c.data.validation == "study"
    assert {p["optimiser.dropout_rate"] for p in points} == {0.0}


def _config(**values):
    c = baseline.get_config("seeds=1")
    for name, value in values.items():
        c.search[name] = value
    return c


def test_random_combinations_repeat_and_stay_in_their_ranges():
    c = _config(lr=("log", 1e-4, 1e-2), dropout=("uniform", 0.0, 0.5), patience=(3, 6), budget=40)
    found = search.combinations(c)
    assert found == search.combinations(c)
    assert len(found) == 40
    rates = np.log10([f["lr"] for f in found])
    assert -4 <= rates.min() < -3.5
    assert -2.5 < rates.max() <= -2
    assert {f["patience"] for f in found} == {3, 6}
    c.search.seed = 1
    assert found != search.combinations(c)
    some = search.combinations(_config(lr=(1e-4, 1e-3, 1e-2), weight_decay=(0.0, 0.1), budget=4))
    assert len({tuple(s.items()) for s in some}) == 4


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"lr": (1e-3, -1.0)}, r"--config.search: lr=-1.0: --config.optimiser.learning_rate is -1.0"),
        ({"lr": ("log", 1e-3, 1e-2)}, r"search.lr is a range: say how many to draw with --config.search.budget"),
        ({"lr": ("log", 0.0, 1e-2), "budget": 2}, r"search.lr is .*'log', LOW, HIGH\) above 0"),
        ({"mitigation": ("", "focl()")}, r"mitigation='focl\(\)': .*did you mean 'focal'"),
        ({"patience": (3.5,)}, r"patience=3.5"),
    ],
)
def test_a_bad_space_is_told(values, message):
    with pytest.raises(ConfigError, match=message):
        search.combinations(_config(**values))


def _slow_stop(aurocs, patience, least):
    best, waited, ran = 0.0, 0, 0
    for a in aurocs:
        ran += 1
        better = a - best >= least
        best, waited = (a, 0) if better else (best, waited + 1)
        if waited > patience:
            break
    return best, ran


def test_a_shorter_patience_is_a_prefix():
    rng = np.random.default_rng(0)
    for _ in range(200):
        series = np.cumsum(rng.normal(0.003, 0.01, 20)) + 0.6
        for patience in (0, 1, 3, 6):
            assert search.stopped(list(series), patience, 1e-4) == _slow_stop(series, patience, 1e-4)


@pytest.fixture
def run(tmp_path):
    """A run whose validation AUROC is made up: best with lr .001, and late, so that patience decides."""
    c = _config(lr=(1e-3, 1e-2), patience=(1, 6))
    c.seeds = (0, 1)
    out = RunDir.create(tmp_path / "run", c, search.points(c), {})
    series = {"lr=0.001": [0.7, 0.6, 0.6, 0.9], "lr=0.01": [0.8, 0.81, 0.8, 0.8]}
    rows = [
        {"program": 0, "epoch": e, "member": s, "method": m, "seed": s, "val_auroc": v + 0.01 * s}
        for m, values in series.items()
        for s in c.seeds
        for e, v in enumerate(values)
    ]
    out.metrics.append(0, rows)
    return c, out


def test_the_best_is_chosen_and_other_configs_take_it(run):
    c, out = run
    text = search.conclude(c, out)
    found = search.table(c, out)
    assert list(found["val_auroc"].round(4)) == [0.905, 0.815, 0.815, 0.705]
    assert list(found["epochs"]) == [4, 4, 4, 3]
    assert found.loc[0, "sd"] == pytest.approx(0.01 / 2**0.5)
    assert "4 combinations from 2 trainings" in text
    assert json.loads((out.path / "hparams.json").read_text()) == {
        "optimiser.learning_rate": 0.001,
        "stopping.patience": 6,
    }
    other = baseline.get_config()
    other.hparams = str(out.path / "hparams.json")
    other.stopping.patience = 9
    configs.read_hparams(other, {"stopping.patience": 9})
    assert (other.optimiser.learning_rate, other.stopping.patience) == (0.001, 9)


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "no such file"), ("[1]", "not the {field: value}"), ("{", "not the"), ('{"optimiser.speed": 1}', "speed")],
)
def test_bad_hparams_are_told(tmp_path, content, message):
    c = baseline.get_config()
    c.hparams = str(tmp_path / "h.json")
    if content is not None:
        (tmp_path / "h.json").write_text(content)
    with pytest.raises(ConfigError, match=message):
        configs.read_hparams(c)


def test_every_searched_name_sets_a_field():
    c = configs.default()
    for field in SEARCHED.values():
        c.update_from_flattened_dict({field: configs.field_of(c, field)})
