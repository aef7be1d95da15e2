"""The Action Unit study end to end: a planted difference of appearance is found, and none where none is planted."""

import importlib

import pandas as pd
import pytest

from frown_jax.jobs import pretrain
from frown_jax.jobs.analyse import analyse
from frown_jax.jobs.job import train
from frown_jax.report.draws import PUBLISHED
from frown_jax.training import check
from frown_jax.training.grid import points_of

DRAWS = 6


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return str(tmp_path_factory.mktemp("cache"))


def _run(cache, path, monkeypatch, **fields):
    """configs/au_gender.py, less of everything; what was trained, the text, and differences between training sets."""
    monkeypatch.setattr(pretrain, "_IMAGES", 4000)
    module = importlib.import_module("configs.au_gender")
    c = module.get_config(f"draws={DRAWS},seeds=1")
    c.data.cache_dir = cache
    c.update_from_flattened_dict(fields)
    check.validate(c)
    trained = train(c, points_of(module.sweep), path, initial=pretrain.initial)
    shown = analyse(c, trained, path)
    table = pd.read_csv(path / "contrasts.csv", keep_default_na=False)
    return trained, shown, table[table["metric"] == "macro_f1"].set_index(["method", "control", "group"])


@pytest.mark.slow
def test_a_planted_look_of_women_is_lost_on_a_model_trained_on_men_and_nothing_else_is(cache, tmp_path, monkeypatch):
    planted = {"data.sequences.group_view": ("gender=Female:1.0",)}
    trained, _, found = _run(cache, tmp_path / "planted", monkeypatch, **planted)
    on_women, on_men = (found.loc[("male", "female", g)] for g in ("Female", "Male"))
    assert on_women["upper"] < 0 and on_women["p_holm"] < 0.05  # trained on men, tested on women
    assert on_men["lower"] > 0
    mixed = found.loc[("mixed", "male", "Female")]
    assert mixed["lower"] > 0  # and a mixed training set mends it
    # Nobody is in two sets of a draw, and the tests of a draw are the same people.
    for _, part in trained.predictions.groupby("draw"):
        of = part.groupby(["member", "split"])["subject"].agg(set)
        tests = [of[m, "test"] for m in part["member"].unique()]
        assert all(t == tests[0] and len(t) == 20 for t in tests)
        assert not any(of[m, "val"] & of[m, "test"] for m in part["member"].unique())

    trained, shown, found = _run(cache, tmp_path / "plain", monkeypatch)
    for pair in (("male", "female"), ("mixed", "female"), ("mixed", "male")):
        for group in ("Female", "Male"):
            row = found.loc[(*pair, group)]
            assert row["lower"] <= 0 <= row["upper"] or row["p_holm"] > 0.05, (pair, group)
    row = found.loc[("male", "female", "Female")]
    assert row["lower"] <= 0 <= row["upper"]
    assert all(f"{v:.2f}" in shown for groups in PUBLISHED["gender"].values() for pair in groups.values() for v in pair)
    for name in (
        "draws.csv",
        "contrasts.csv",
        "occurrences.csv",
        "occurrences.png",
        "table.txt",
        "trunks/program0.json",
    ):
        assert (tmp_path / "plain" / name).is_file()
