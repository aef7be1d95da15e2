"""Examples in the docs run, and what they list is there."""

import pathlib
import re
import subprocess
import sys

import numpy as np
import pytest

import frown_jax
from frown_jax import config as configs
from frown_jax.errors import UserError
from frown_jax.metrics.catalogue import METRICS
from frown_jax.mitigations import registry
from frown_jax.posthoc.adjustment import Adjustment, Outputs
from tests.test_mitigations import DATA, _build

DOCS = pathlib.Path(__file__).parent.parent / "docs"


def _run_blocks(name):
    """Runs the Python blocks of a page in their order; the names that they leave."""
    names: dict = {}
    for block in re.findall(r"```python\n(.*?)```", (DOCS / name).read_text(), re.S):
        exec(block, names)
    return names


def _registered(page, table):
    before = set(table)
    _run_blocks(page)
    yield set(table) - before
    for name in set(table) - before:
        del table[name]


@pytest.fixture
def example():
    yield from _registered("add_a_method.md", registry.METHODS)


@pytest.fixture
def example_metric():
    yield from _registered("add_a_metric.md", METRICS)


def test_the_example_methods_do_what_they_say(example):
    before, after = "rare_groups", "even_shares"
    assert example == {before, after}
    member = _build(f"{before}(by='race', power=1)")
    sizes = np.bincount(DATA.attributes["race"])
    first = [member.example_weights[DATA.attributes["race"] == g][0] for g in range(3)]
    np.testing.assert_allclose(np.array(first) * sizes, first[0] * sizes[0], rtol=1e-4)
    assert member.example_weights.mean() == pytest.approx(1, rel=1e-5)
    with pytest.raises(registry.MitigationError, match="power is 9"):
        _build(f"{before}(power=9)")
    outputs = Outputs(np.tile([2.0, 0, 0, 0, 0, 0, 0], (len(DATA), 1)), np.zeros((len(DATA), 1)))
    (step,) = registry.adjusters(f"{after}()", DATA, DATA)
    p = step((outputs, outputs), Adjustment()).probabilities(outputs, None).mean(0)
    np.testing.assert_allclose(p, np.bincount(DATA.labels) / len(DATA), atol=0.01)


def test_every_method_and_metric_is_documented():
    methods, metrics = (DOCS / "methods.md").read_text(), (DOCS / "metrics.md").read_text()
    for name in registry.METHODS:
        assert f"`{name}`" in methods, name
    for name in METRICS:
        base = re.sub(r"_(max|min|mean)$", "", name) if name not in metrics else name
        assert f"`{base}`" in metrics or f"`{base.replace('_ratio', '_difference')}`, `_ratio`" in metrics, name


def test_importing_the_package_does_not_start_jax():
    code = "import sys, frown_jax; assert 'jax' not in sys.modules; assert 'train' in dir(frown_jax)"
    subprocess.run([sys.executable, "-c", code], check=True)
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = frown_jax.nothing


def test_the_examples_of_the_python_page_run(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    found = _run_blocks("python.md")
    run, data = found["run"], found["data"]
    assert data.images.shape == (160, 32, 32, 3)
    assert set(run.comparisons["method"]) == {"focal"} and set(run.summary["method"]) == {"baseline", "focal"}
    # What a run predicts of its own test images is what it has written of them.
    test = run.predictions[run.predictions["split"] == "test"]
    written = test[[f"p_{c}" for c in run.classes]].to_numpy().reshape(4, 64, -1)
    np.testing.assert_allclose(found["probabilities"], written, atol=1e-4)
    right = np.array(found["guesses"]) == found["test"].table["emotion"].to_numpy()
    gender = found["test"].table["gender"].to_numpy()
    for group, value in found["frame"].by_group["accuracy"].dropna().items():
        assert value == pytest.approx(right[gender == group].mean())
    for call, words in (
        (lambda: frown_jax.load_data("nothing"), "there is no data set 'nothing'"),
        (lambda: frown_jax.load_data("faces", trains=3), "no setting 'trains'"),
        (lambda: frown_jax.load_data("faces", train="many"), "train='many'"),
        (lambda: run.predict(np.zeros((2, 8, 8))), "float64"),
    ):
        with pytest.raises(UserError, match=words) as error:
            call()
        assert "\n" not in str(error.value)


def test_a_method_and_a_metric_of_the_pages_are_in_an_analysis(example, example_metric, tmp_path):
    assert example_metric == {"error_rate"}
    config = configs.default()
    configs.smoke(config)
    config.data.faces.train, config.data.faces.test, config.epochs = 96, 64, 1
    points = [{"method": "baseline"}, {"method": "rare", "mitigation": "rare_groups(by='race', power=1)"}]
    run = frown_jax.train(config, points, tmp_path / "run")
    table = run.results.query("split == 'test' and attribute == '' and target == ''")
    values = table.pivot(index=["method", "seed"], columns="metric", values="value")
    assert set(values.index.get_level_values("method")) == {"baseline", "rare"}
    np.testing.assert_allclose(values["error_rate"], 1 - values["accuracy"], atol=1e-6)
    assert "error_rate" in set(run.summary["metric"])
