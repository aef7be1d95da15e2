import json

import ml_collections
import numpy as np
import pandas as pd
import pytest

from configs import baseline
from frown_jax import config as configs
from frown_jax.errors import ConfigError
from frown_jax.inference.ensemble import Ensemble
from frown_jax.jobs.job import reopen
from frown_jax.report.stored import read as read_stored
from frown_jax.runs.directory import RunDir, default_path
from frown_jax.training import check


@pytest.mark.parametrize("arg", [None, "", "full", "rafdb", "manifest", "runlocal", "rafdb,fidelity=paper", "seeds=2"])
def test_every_variant_is_valid(arg):
    c = baseline.get_config(arg)
    assert isinstance(c, ml_collections.ConfigDict)
    c.lock()
    check.validate(c)
    assert c.data.name == (arg.split(",")[0] if arg and arg.split(",")[0] in configs.DATA else "faces")


def test_readings_of_the_study():
    paper, repo, sound = (baseline.get_config(f"rafdb,fidelity={f}") for f in ("paper", "repo", "sound"))
    assert (paper.data.validation, repo.data.validation, sound.data.validation) == ("study", "test", "stratified")
    assert (paper.loss.class_weights, repo.loss.class_weights, sound.loss.class_weights) == (
        "inverse",
        "repo",
        "inverse",
    )
    for c in (paper, repo):
        assert (c.schedule.name, c.schedule.patience, c.schedule.factor, c.stopping.patience) == ("step", 3, 0.1, 3)
        assert (c.optimiser.learning_rate, c.optimiser.weight_decay, c.batch_size) == (1e-3, 1e-3, 32)
        assert (c.augment.flip, c.augment.shift, len(c.seeds), c.epochs, c.model.image_size) == (0, 0, 1, 50, 224)
    assert len(sound.seeds) == 16


def test_arguments_are_typed_and_unknown_ones_refused():
    words, values = configs.parse_arg("full, seeds=3", flags=("full",), seeds=0, fidelity="sound")
    assert words == {"full"}
    assert values == {"seeds": 3, "fidelity": "sound"}
    with pytest.raises(ConfigError, match="seeds takes a whole number"):
        configs.parse_arg("seeds=many", seeds=0)
    with pytest.raises(ConfigError, match="there are full, seeds="):
        configs.parse_arg("half", flags=("full",), seeds=0)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("batch_size", 0),
        ("epochs", 0),
        ("model.image_size", 16),
        ("optimiser.learning_rate", -1.0),
        ("optimiser.dropout_rate", 1.0),
        ("augment.flip", 1.5),
        ("data.val_fraction", 1.0),
        ("schedule.name", "linear"),
        ("loss.class_weights", "sqrt"),
        ("model.trainable", "head"),
        ("seeds", ()),
        ("seeds", (-1,)),
    ],
)
def test_impossible_settings_name_their_field(field, value):
    c = configs.default()
    c.update_from_flattened_dict({field: value})
    with pytest.raises(ConfigError, match=field.replace(".", r"\.")):
        check.validate(c)


def test_default_run_directory_follows_the_settings_but_not_the_cache():
    def path(**fields):
        c = baseline.get_config()
        c.update_from_flattened_dict(fields)
        return default_path("x", c, [{}])

    assert path() == path(**{"data.cache_dir": "/elsewhere"})
    assert path() != path(epochs=3)


def test_a_run_directory_refuses_other_settings(tmp_path):
    c = baseline.get_config()
    RunDir.create(tmp_path, c, [{}], {})
    RunDir.create(tmp_path, c, [{}], {})
    c.epochs += 1
    with pytest.raises(ConfigError, match="epochs: 16 there, 17 now"):
        RunDir.create(tmp_path, c, [{}], {})
    with pytest.raises(ConfigError, match="no run"):
        RunDir.open(tmp_path / "none")


def test_a_run_of_another_version_is_refused_in_one_line(tmp_path):
    """By whatever opens runs: the run's command, evaluate, report, --resume."""
    c = configs.default()
    RunDir.create(tmp_path / "run", c, [{}], {})
    file = tmp_path / "run" / "config.json"
    kept = json.loads(file.read_text())
    del kept["format"]  # as the first version left it
    file.write_text(json.dumps(kept))
    for begin in (lambda p: RunDir.create(p, c, [{}], {}), RunDir.open, Ensemble, read_stored, reopen):
        with pytest.raises(ConfigError, match=r"its format is 1, this version reads 2\): use that version") as found:
            begin(tmp_path / "run")
        assert "\n" not in str(found.value)


def test_tables_are_read_as_they_were_written(tmp_path):
    """Blank text is no missing value, and groups may have the names that pandas takes for one."""
    table = pd.DataFrame(
        {"attribute": ["", "race"], "group": ["", "NA"], "value": [0.5, np.nan], "verdict": ["", "gain"]}
    )
    run = RunDir(tmp_path)
    run.write_csv("t.csv", table)
    pd.testing.assert_frame_equal(run.read_csv("t.csv"), table, check_dtype=False)


def test_metrics_after_the_checkpoint_are_dropped_on_resume(tmp_path):
    run = RunDir(tmp_path)
    for g in (0, 1):
        run.metrics.append(g, [{"program": g, "epoch": e} for e in range(3)])
    with open(tmp_path / "metrics" / "0.jsonl", "a") as file:
        file.write('{"program": 0, "epo')  # killed in mid-line
    run.metrics.keep(0, epochs_done=1)
    run.metrics.join()
    lines = (tmp_path / "metrics.jsonl").read_text().splitlines()
    assert lines == [
        '{"program": 0, "epoch": 0}',
        '{"program": 1, "epoch": 0}',
        '{"program": 1, "epoch": 1}',
        '{"program": 1, "epoch": 2}',
    ]
