"""--config by path and by name: which file it means, and that both are the same run."""

import sys

import pytest
from absl import flags
from ml_collections import config_flags

from frown_jax import configs
from frown_jax.errors import ConfigFileError
from frown_jax.runs.directory import default_path
from frown_jax.runtime import config_flag
from tests.commands import ROOT

pytestmark = pytest.mark.filterwarnings("ignore:the load_module:DeprecationWarning")  # ml_collections' own way to load


def _parsed(monkeypatch, *argv):
    """The config, the fields that flags override and the file's name, of a command line."""
    values = flags.FlagValues()
    config_flag.define(values)
    monkeypatch.setattr(sys, "argv", ["launch", *argv])  # where ml_collections looks for overridden fields
    values(sys.argv)
    flag = values["config"]
    return values["config"].value, config_flags.get_override_values(flag), config_flags.get_config_filename(flag)


def test_the_shipped_configs_are_the_files_on_top():
    files = sorted(path.stem for path in (ROOT / "configs").glob("*.py") if path.stem != "__init__")
    assert config_flag.names() == files == configs.__all__


@pytest.mark.parametrize("argument", ["", ":runlocal", ":rafdb,seeds=2,fidelity=paper"])
def test_a_name_and_the_path_make_the_same_run(argument, monkeypatch):
    monkeypatch.chdir(ROOT)
    flag = "--config.optimiser.learning_rate=0.5"
    by_name, overrides, _ = _parsed(monkeypatch, f"--config=baseline{argument}", flag)
    by_path, same_overrides, _ = _parsed(monkeypatch, f"--config=configs/baseline.py{argument}", flag)
    assert by_name.to_json_best_effort() == by_path.to_json_best_effort()
    assert overrides == same_overrides == {"optimiser.learning_rate": 0.5}
    assert default_path("baseline-faces", by_name, [{}]) == default_path("baseline-faces", by_path, [{}])


def test_a_name_works_in_any_folder_and_its_grid_is_found(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config, _, name = _parsed(monkeypatch, "--config=mitigation_grid:rafdb,seeds=2")
    assert config.data.name == "rafdb"
    assert len(config.seeds) == 2
    points = []
    config_flag.module_of(name).sweep(lambda **point: points.append(point["method"]))
    assert points[0] == "baseline"
    assert "group DRO" in points
    assert len(points) > 30


def test_a_file_of_ones_own_comes_first_and_may_import_its_neighbours_and_shipped_configs(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "how_long.py").write_text("EPOCHS = 123\n")
    text = "from frown_jax.configs import baseline\nimport how_long\n\n\ndef get_config(arg=None):\n"
    text += "    c = baseline.get_config(arg)\n    c.epochs = how_long.EPOCHS\n    return c\n"
    for name in ("mine.py", "baseline"):  # the second has the name of a shipped one, and no suffix
        (tmp_path / name).write_text(text)
        config, _, _ = _parsed(monkeypatch, f"--config={name}:seeds=3")
        assert (config.epochs, len(config.seeds)) == (123, 3)


@pytest.mark.parametrize("value", ["baselin", "baselin:rafdb", ""])
def test_an_unknown_name_lists_the_shipped_configs(value, monkeypatch):
    with pytest.raises(ConfigFileError, match=r"there is no config '.*'; the package has .*au_gender.*baseline.*str"):
        _parsed(monkeypatch, f"--config={value}")


@pytest.mark.parametrize("value", ["baseline.py", "configs/nothing.py", "./baseline", "elsewhere/baseline:rafdb"])
def test_a_path_without_a_file_is_no_name(value, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigFileError, match=f"no such file: {value.partition(':')[0]}$"):
        _parsed(monkeypatch, f"--config={value}")
