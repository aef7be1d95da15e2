"""The study's table: what follows from its cell sizes, and the page that says so."""

import pathlib

import numpy as np
import pytest
from scipy import stats

from frown_jax import schema
from frown_jax.metrics.intervals import minimum_detectable_effect, wilson
from frown_jax.report import study_table

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "study_table.md"


def test_the_page_is_what_the_command_builds():
    assert PAGE.read_text() == study_table.page()


def test_every_accuracy_is_a_whole_number_of_images():
    table = study_table.results()
    n = schema.rafdb_cells("test").sum()
    assert n == 3068
    np.testing.assert_allclose(table["images"] / n, table["accuracy"], atol=5e-6)
    assert table.set_index("model").loc["attribute-aware", "images"] == 2636


def test_the_headline_gains_are_one_image():
    table = study_table.claims().set_index(["cell", "model"])
    first = table.loc[("African-American x Male x 40-69", "affirmative-1_0_3")]
    second = table.loc[("Asian x Female x 40-69", "affirmative-2_1_3")]
    assert (first["n"], first["correct"], first["gained"]) == (18, 13, 1)
    assert (second["n"], second["correct"], second["gained"]) == (21, 17, 1)
    assert first["accuracy"] - 12 / 18 == pytest.approx(1 / 18)
    assert [first["lower"], first["upper"]] == pytest.approx([float(x) for x in wilson(13, 18)])
    # scipy's exact test of one discordant pair.
    assert first["best_p"] == stats.binomtest(1, 1).pvalue == 1
    assert table.loc[("Asian x Female x 40-69", "age-up"), "best_p"] == stats.binomtest(3, 3).pvalue
    # The intervals of baseline and model overlap almost whole.
    base = table.loc[("African-American x Male x 40-69", "baseline")]
    assert base["upper"] > first["accuracy"] > first["lower"] < base["accuracy"]


def test_visible_gains_by_simulation():
    # A true gain of the visible size in the whole test set is found about 4 times in 5.
    n, base = 234, 0.8455
    gain = study_table.visible_gain(n, base)
    assert gain == minimum_detectable_effect(n, base, study_table.AGREEMENT)
    rng = np.random.default_rng(0)
    discordant = max(1 - study_table.AGREEMENT, gain)
    outcome = rng.multinomial(n, [(discordant + gain) / 2, (discordant - gain) / 2, 1 - discordant], 2000)
    found = [stats.binomtest(int(g), int(g + lost)).pvalue < 0.05 for g, lost, _ in outcome]
    assert np.mean(found) == pytest.approx(0.8, abs=0.03)
    assert np.isnan(study_table.visible_gain(18, 12 / 18))
