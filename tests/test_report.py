"""The report: its numbers against slow forms and the stored tables; every shape of run renders."""

import dataclasses
import json

import numpy as np
import pandas as pd
import pytest

from frown_jax import schema
from frown_jax.errors import ConfigError
from frown_jax.report import (
    action_units,
    build,
    chart,
    comparing,
    groups,
    noise,
    published,
    stored,
)
from frown_jax.report.folder import Folder
from tests.pages import HOSTILE, parsed
from tests.runs import CLASSES, drawn, finished

SECTIONS = tuple(build.SECTIONS)


def charts_of(text):
    """What a page's script reads: of each chart the drawing, the data as a table, and the names of the choices."""
    page = parsed(text)
    figures = [attributes for attributes, _ in page.of("figure") if attributes.get("class") == "chart"]
    specs, data = (
        [json.loads(held) for attributes, held in page.of("script") if attributes.get("class") == name]
        for name in ("spec", "data")
    )
    found = {}
    for figure, spec, columns in zip(figures, specs, data, strict=True):
        table = {k: [c["of"][i] for i in c["at"]] if isinstance(c, dict) else c for k, c in columns.items()}
        found[figure["id"]] = spec, pd.DataFrame(table), json.loads(figure["data-choices"])
    return found


def report(run, folder, stills=False):
    text = build.build([stored.read(run)], folder, stills).read_text()
    for section in SECTIONS:
        assert f"<h2>{section}</h2>" in text
    return text


@pytest.fixture(scope="module")
def grid(tmp_path_factory):
    """A run of three methods, its page's text, and the report's folder."""
    path = tmp_path_factory.mktemp("grid")
    run = finished(path / "run", ("a", "b", "c"), attributes=("race", "gender"), crossed=2, seeds=3)
    return run, report(run, path / "report", stills=True), path / "report"


def blank(path):
    return pd.read_csv(path, keep_default_na=False, na_values={})


def test_the_front_is_what_nothing_beats():
    fairness, accuracy = -np.array([0.1, 0.2, 0.3, 0.2, np.nan]), np.array([0.5, 0.6, 0.55, 0.6, 0.9])
    assert comparing.front(accuracy, fairness).tolist() == [True, True, False, True, False]


def test_confusion_and_calibration_equal_slow_forms(grid):
    run = stored.read(grid[0])
    table = run.predictions[run.predictions["method"] == "b"]
    confusion, calibration = groups.predicted(run)
    for whose, own in (("everybody", table), ("race: Asian", table[table["race"] == "Asian"])):
        got = confusion[(confusion["whose"] == whose) & (confusion["method"] == "b")]
        wanted = pd.crosstab(own["emotion"], own["prediction"]).reindex(index=CLASSES, columns=CLASSES, fill_value=0)
        counts = got.pivot_table(index="true", columns="predicted", values="n").loc[list(CLASSES), list(CLASSES)]
        np.testing.assert_array_equal(counts, wanted.fillna(0))
        row = got[(got["true"] == "Fear") & (got["predicted"] == "Anger")].iloc[0]
        of_class = own[own["emotion"] == "Fear"]
        np.testing.assert_allclose(row["share"], (of_class["prediction"] == "Anger").mean())
    own = table[table["gender"] == "Male"]
    top = own[[f"p_{c}" for c in CLASSES]].max(axis=1)
    inside = (top >= 0.5) & (top < 0.6)
    got = calibration[(calibration["group"] == "Male") & (calibration["method"] == "b")]
    assert got["n"].sum() == len(own)
    row = got.iloc[(got["confidence"] - top[inside].mean()).abs().argmin()]
    assert row["n"] == inside.sum()
    np.testing.assert_allclose(row["confidence"], top[inside].mean(), rtol=1e-6)
    np.testing.assert_allclose(row["accuracy"], (own["emotion"] == own["prediction"])[inside].mean())


def test_a_report_fetches_nothing_and_leaves_files(grid):
    _, text, folder = grid
    parsed(text)
    assert "&lt;b&gt;none&lt;/b&gt;" in text and "<b>none" not in text
    assert "\\begin{tabular}" in (folder / "run-headline.tex").read_text()
    for name in charts_of(text):
        assert (folder / f"{name}.csv").is_file()
        stills = list(folder.glob(f"{name}*.png"))
        assert stills and all(p.with_suffix(".svg").is_file() and p.stat().st_size > 2000 for p in stills)


def test_what_is_drawn_is_what_is_stored(grid):
    path, text, _ = grid
    drawings = charts_of(text)
    summary, comparisons = blank(path / "summary.csv"), blank(path / "comparisons.csv")
    summary["mean"] = pd.to_numeric(summary["mean"], errors="coerce")

    def equal(table, column, source, value, keys):
        got = table.set_index(list(keys))[column].astype(float).sort_index()
        wanted = pd.to_numeric(source.set_index(list(keys.values()))[value], errors="coerce").sort_index()
        assert len(got) == len(wanted) > 0
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-12)

    table = drawings["run-groups"][1]
    for metric in table["metric"].unique():
        rows = summary[(summary["metric"] == metric.replace(" ", "_")) & (summary["group"] != "") & (summary["n"] > 0)]
        own = table[table["metric"] == metric]
        keys = {"attribute": "attribute", "method": "method", "group": "group"}
        equal(own, "value", rows, "mean", keys)
        equal(own, "lower", rows, "lower", keys)
        equal(own, "n", rows, "n", keys)
    cells = drawings["run-cells"][1]
    cells["group"] = [f"{r} x {c}" if r else c for r, c in zip(cells["row"], cells["column"], strict=True)]
    rows = summary[(summary["metric"] == "accuracy") & (summary["group"] != "")]
    equal(cells, "accuracy", rows, "mean", {"cells": "attribute", "method": "method", "group": "group"})
    assert set(cells["cells"]) == {"race", "gender", "race x gender"}
    control = cells[cells["method"] == "a"].set_index(["cells", "group"])["accuracy"]
    other = cells[cells["method"] == "c"].set_index(["cells", "group"])
    np.testing.assert_allclose(other["minus control"], other["accuracy"] - control.loc[other.index], atol=2e-5)
    recall = drawings["run-recall"][1]
    rows = summary[(summary["metric"] == "recall") & (summary["attribute"] == "race")]
    keys = {"method": "method", "row": "target", "column": "group"}
    equal(recall[recall["cells"] == "race"], "recall", rows, "mean", keys)
    for name, fair in (("performance", False), ("fairness", True)):
        table = drawings[f"run-difference-{name}"][1]
        rows = comparisons[(comparisons["group"] == "") & ((comparisons["attribute"] != "") == fair)]
        rows = rows.assign(metric=rows["metric"].str.replace("_", " "))
        rows["attribute"] = rows["attribute"].replace("", "everybody")
        keys = {"metric": "metric", "attribute": "attribute", "method": "method"}
        for column, source in (("difference", "difference"), ("upper", "upper"), ("p", "p_corrected")):
            equal(table, column, rows, source, keys)
    results = blank(path / "results.csv")
    results = results[(results["group"] == "") & (results["metric"] == "worst_group_accuracy")]
    tradeoff = drawings["run-tradeoff"][1]
    seeds = tradeoff[(tradeoff["kind"] == "seed") & tradeoff["fairness"].str.startswith("worst group")]
    rows = results[results["attribute"].isin(("race", "gender"))].astype({"seed": str})
    keys = {"attribute": "attribute", "method": "method", "seed": "seed"}
    equal(seeds, "value", rows, "value", keys)
    curves = drawings["run-curves"][1]
    loss = curves[(curves["measure"] == "loss") & (curves["split"] == "validation") & (curves["method"] == "b")]
    assert loss["median"].tolist() == [6.0, 6.0] and loss["highest"].tolist() == [7.0, 7.0]
    assert loss["lowest"].tolist() == [5.0, 5.0] and loss["epoch"].tolist() == [1, 2] and set(loss["n"]) == {3}


def test_every_choice_has_something_to_draw(grid):
    drawings = charts_of(grid[1])
    assert len(drawings) == 21
    for name, (spec, table, options) in drawings.items():
        combined = table[list(options["signals"])].drop_duplicates()
        full = np.prod([table[c].nunique() for c in options["signals"]])
        assert len(combined) == full, name
        signals = {s["name"] for s in spec["signals"]}
        assert signals >= set(options["signals"].values()), name
        assert [d["name"] for d in spec["data"]].count("table") == 1, name


def test_stills_hold_the_chosen_rows_only():
    table = pd.DataFrame(
        {"metric": ["x", "x", "y"], "method": ["a", "b", "a"], "role": ["control", "method", "control"]}
    )
    options = chart.choices(table, "metric", "method")
    plain = chart.Chart(None, table, options)
    assert plain.rows().index.tolist() == [0] and plain.rows({"metric": "y"}).index.tolist() == [2]
    beside = chart.Chart(None, table, options, beside=True)
    assert beside.rows({"method": "b"}).index.tolist() == [0, 1]


def test_page_numbers_keep_five_digits_and_mark_what_is_undefined():
    table = pd.DataFrame({"x": [0.123456789, np.nan, 2.0], "n": [1, 2, 3], "t": ["a", "b", "a"]})
    assert chart.columns(table) == {"x": [0.12346, None, 2], "n": [1, 2, 3], "t": {"of": ["a", "b"], "at": [0, 1, 0]}}
    assert chart.records(table)[2] == {"x": 2, "n": 3, "t": "a"}
    assert chart.records(table.iloc[:0]) == []


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"methods": ("only",), "seeds": 1}, "One method: there is nothing to compare it with"),
        ({"attributes": ()}, "The data has no attributes"),
        ({"without": ("metrics.jsonl", "timing.json")}, "metrics.jsonl is missing"),
        ({"without": ("predictions.parquet",)}, "predictions.parquet is missing"),
        ({"without": ("results.csv",)}, "results.csv is missing"),
        ({"without": ("summary.csv", "comparisons.csv")}, "There is no summary"),
        ({"images": 12, "attributes": ("race", "age"), "crossed": 2}, "Accuracy of every cell"),
    ],
)
def test_whatever_is_missing_is_named(tmp_path, fields, said):
    assert said in report(finished(tmp_path / "run", **fields), tmp_path / "report")


def test_runs_over_draws(tmp_path):
    path = drawn(tmp_path / "run")
    drawings = charts_of(report(path, tmp_path / "report"))
    table = drawings["run-units"][1]
    row = table[(table["metric"] == "f1") & (table["unit"] == "AU12") & (table["tested on"] == "gender: Male")]
    stored_rows = blank(path / "draws.csv").set_index(["method", "metric", "group", "target"])
    got = row.set_index("method")["mean"]
    assert got["male"] == pytest.approx(float(stored_rows.loc[("male", "f1", "Male", "AU12"), "mean"]), rel=1e-4)
    contrasts = drawings["run-contrasts"][1]
    assert contrasts["verdict"].tolist() == ["cannot tell", "loss"]
    headline = pd.read_csv(tmp_path / "report" / "run-headline.csv")
    assert headline["trained on"].tolist() == ["female", "male"] and len(headline.columns) == 7


def test_the_studies_stand_beside_runs_on_their_data(tmp_path):
    points = ({"method": "baseline"}, {"method": "mean", "mitigation": "equalise(by='race', how='mean')"})
    like = {"images": 600, "attributes": tuple(schema.ATTRIBUTES), "data": "rafdb", "points": points}
    path = finished(tmp_path / "run", ("baseline", "mean"), **like)
    table = published.first(stored.read(path))
    assert table["study's model"].tolist() == ["baseline", "race-mean"]
    assert table["accuracy, published"].tolist() == ["0.846", "0.820"]
    assert table["F race, published"].tolist() == ["0.885", "0.942"]
    summary = blank(path / "summary.csv")
    own = summary[(summary["metric"] == "generalized_equal_opportunity") & (summary["attribute"] == "age")]
    assert table["F age, here"][1].startswith(f"{float(own[own['method'] == 'mean']['mean'].iloc[0]):.3f} [")
    assert "race-mean" in report(path, tmp_path / "report")
    assert published.first(stored.read(finished(tmp_path / "other"))).empty
    table = published.second(stored.read(drawn(tmp_path / "units", "combined")))
    assert len(table) == 6 and table["F1 macro, published"].tolist() == ["0.55", "0.56", "0.44", "0.55", "0.54", "0.60"]
    assert table["F1 macro, here"].tolist()[-1] == "" and "[" in table["F1 macro, here"][0]
    assert published.second(stored.read(drawn(tmp_path / "generated"))).empty


def test_runs_on_different_data_are_not_mixed(tmp_path):
    runs = [stored.read(finished(tmp_path / name)) for name in ("a", "b")]
    stored.refuse_mixture(runs)
    other = dataclasses.replace(runs[1], data={**runs[1].data, "fingerprint": "1"})
    with pytest.raises(ConfigError, match=r"toy 0, .*b on toy 1.*--mixed_data"):
        stored.refuse_mixture([runs[0], other])
    stored.refuse_mixture([runs[0], dataclasses.replace(other, data={})])  # nothing is known of its data


def test_several_runs_share_a_page(tmp_path):
    (tmp_path / "x").mkdir()
    runs = [finished(tmp_path / name, methods=("only",), attributes=()) for name in ("a", "b", "x/a")]
    text = build.build([stored.read(r) for r in runs], tmp_path / "report", stills=False).read_text()
    assert "<h2>a: Headline</h2>" in text and "<h2>b: Headline</h2>" in text and "<h2>a-2: Headline</h2>" in text
    overview = pd.read_csv(tmp_path / "report" / "runs.csv")
    assert overview["run"].tolist() == ["a", "b", "a"] and overview["members"].tolist() == [2, 2, 2]


def test_the_headline_marks_what_differs_after_correction(tmp_path):
    run = stored.read(finished(tmp_path / "run", images=20, attributes=()))
    table = run.tables["comparisons"]
    table["verdict"] = np.where(table["metric"] == "macro_f1", "gain", "cannot tell")
    shown = build.headline(run).set_index("method")
    assert shown.loc["other", "macro f1"].endswith("] *")
    assert not shown["accuracy"].str.contains("*", regex=False).any() and "*" not in shown.loc["baseline", "macro f1"]


def test_explanations_are_shown_where_there_are_any(tmp_path):
    path = finished(tmp_path / "run", images=20, attributes=(), without=("summary.csv",))
    folder = path / "explanations" / "EpsilonPlus"
    folder.mkdir(parents=True)
    (folder / "index.html").touch()
    (folder / "gallery-AU12.png").write_bytes(b"picture")
    text = report(path, tmp_path / "report")
    assert 'alt="EpsilonPlus: gallery-AU12" src="data:image/png;base64,cGljdHVyZQ=="' in text


def test_there_must_be_a_run(tmp_path):
    with pytest.raises(ConfigError, match="there is no run"):
        stored.read(tmp_path)


def test_tables_hold_no_formulas(tmp_path):
    evil = ["=cmd|' /C calc'!A0", "+1", "-1", "@SUM(A1)", "\tx", "fine", "70+", "1-2"]
    table = pd.DataFrame({"=head": evil, "value": -1.5, "n": range(8)})
    Folder(tmp_path, "t").table("s", "x", table)
    got = pd.read_csv(tmp_path / "x.csv")
    assert got.columns.tolist() == ["'=head", "value", "n"]
    assert got["'=head"].tolist() == ["'" + e for e in evil[:5]] + evil[5:] and got["value"].tolist() == [-1.5] * 8


def test_names_are_text(tmp_path):
    called = dict(zip((*schema.GENDERS, "Fear", "Anger", "gender"), HOSTILE[2:], strict=False))
    path = tmp_path / HOSTILE[1]
    finished(path, HOSTILE[:2], attributes=(called["gender"],), data=HOSTILE[0], called=called)
    (path / "versions.json").write_text(json.dumps({"device": HOSTILE[8]}))
    folder = path / "explanations" / "<b>rule"
    folder.mkdir(parents=True)
    (folder / "index.html").touch()
    (folder / "gallery-<i>unit.png").write_bytes(b"picture")
    text = report(path, tmp_path / "report")
    page = parsed(text)
    assert page.of("h1") == [({}, f"Report of {HOSTILE[1]}")]
    assert {*HOSTILE[:2], HOSTILE[8]} <= {text for _, text in page.of("td")}
    assert [attributes["alt"] for attributes, _ in page.of("img")] == ["<b>rule: gallery-<i>unit"]
    assert any(f"this run's data is {HOSTILE[0]}:" in text for _, text in page.of("p"))
    drawings = charts_of(text)
    texts = {value for _, table, _ in drawings.values() for column in table for value in table[column].unique()}
    assert {*HOSTILE[:2], *called.values()} <= texts
    assert all(name.startswith(f"{HOSTILE[1]}-") for name in drawings)


def test_contrasts_that_are_not_tested_are_not_shown(tmp_path):
    run = stored.read(drawn(tmp_path / "run"))
    run.tables["contrasts"]["p_holm"] = np.nan
    assert set(action_units.contrasts(run)["verdict"]) == {"cannot tell"}


def test_noise_is_divided_by_what_it_comes_of():
    """Hand-worked: variances 9, 16 and 0 make shares of .36, .64 and 0; one seed says nothing of seeds."""
    table = pd.DataFrame(
        {
            "method": ["a", "b", "a"],
            "metric": "accuracy",
            "attribute": "",
            "group": "",
            "target": "",
            "n": 50,
            "family": ["primary", "primary", "exploratory"],
            "seeds": [4, 1, 4],
            "sd_images": 0.03,
            "sd_seeds": 0.04,
            "sd_both": 0.0,
        }
    )
    found = noise.sources(table)
    assert found["method"].tolist() == ["a"] * 3
    np.testing.assert_allclose(found["share"], [0.36, 0.64, 0])
    np.testing.assert_allclose(found["variance"], [9e-4, 16e-4, 0])
    assert noise.lines(table) == ["the noise of accuracy comes of: 36% images, 64% seeds, 0% seed and image together"]
