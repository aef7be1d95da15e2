"""Examples in the docs run, and what they list is there."""

import pathlib
import re

import numpy as np
import pytest

from frown_jax.metrics.catalogue import METRICS
from frown_jax.mitigations import registry
from frown_jax.posthoc.adjustment import Adjustment, Outputs
from tests.test_mitigations import DATA, _build

DOCS = pathlib.Path(__file__).parent.parent / "docs"


@pytest.fixture
def example():
    text = (DOCS / "add_a_method.md").read_text()
    before = set(registry.METHODS)
    for block in re.findall(r"```python\n(.*?)```", text, re.S):
        exec(block, {})
    yield "rare_groups", "even_shares"
    for name in set(registry.METHODS) - before:
        del registry.METHODS[name]


def test_the_example_methods_do_what_they_say(example):
    before, after = example
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
