"""The report: its numbers against slow forms and the stored tables; every shape of run renders."""

import json

import numpy as np
import pandas as pd
import pytest

from frown_jax import schema
from frown_jax.config import ConfigError
from frown_jax.metrics import read as metrics_read
from frown_jax.metrics.analysis import Settings
from frown_jax.metrics.bootstrap import Bootstrap
from frown_jax.report import build, charts, files, page, stored
from frown_jax.rundir import RunDir

CLASSES = schema.EMOTIONS


def predicted(methods, seeds, images=60, seed=0):
    """Predictions of members that are right about as often as their number says."""
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, 7, images)
    people = {a: np.array(v, object)[rng.integers(0, len(v), images)] for a, v in schema.ATTRIBUTES.items()}
    parts = []
    for m, method in enumerate(methods):
        for s in range(seeds):
            p = rng.dirichlet(np.ones(7), images)
            right = rng.random(images) < 0.3 + 0.1 * m
            p[right, truth[right]] += 1
            p /= p.sum(1, keepdims=True)
            frame = pd.DataFrame({f"p_{c}": p[:, k].astype(np.float32) for k, c in enumerate(CLASSES)})
            frame = frame.assign(member=m * seeds + s, method=method, seed=s, split="test", **people)
            frame["id"] = [f"i{i}" for i in range(images)]
            frame["emotion"] = np.array(CLASSES, object)[truth]
            frame["prediction"] = np.array(CLASSES, object)[p.argmax(1)]
            parts.append(frame)
    return pd.concat(parts, ignore_index=True)


def finished(path, methods=("baseline", "other"), seeds=2, attributes=("gender",), without=()):
    """A run directory as a run leaves it."""
    path.mkdir()
    run = RunDir(path)
    table = predicted(methods, seeds)
    known = {a: schema.ATTRIBUTES[a] for a in attributes}
    table = table.drop(columns=[a for a in schema.ATTRIBUTES if a not in attributes])
    outcomes = metrics_read.outcomes(table, {k: tuple(v) for k, v in known.items()}, CLASSES)
    settings = Settings(crossed=1, bootstrap=Bootstrap(20))
    found, _ = files.analyse_and_write(run, outcomes, None, settings, split="test")
    run.write_csv("results.csv", found.results.assign(split="test", member=0))
    run.write_parquet("predictions.parquet", table)
    run.write_json("config.json", {"config": {"epochs": 2, "data": {"name": "toy"}}, "points": [{}], "overrides": {}})
    run.write_json("data.json", {"name": "toy", "fingerprint": "0", "classes": CLASSES, "attributes": known})
    run.write_json("versions.json", {"device": "<b>none</b>"})
    run.write_json("timing.json", {"training_seconds": 1.5})
    lines = [
        {"epoch": e, "member": m, "method": method, "train_loss": 2.0 - e, "val_loss": 2.0, "val_accuracy": 0.5}
        for e in range(2)
        for m, method in enumerate(methods)
    ]  # fmt: skip
    run.write_text("metrics.jsonl", "".join(json.dumps(line) + "\n" for line in lines) + '{"epoch": 2, "mem')
    for name in without:
        (path / name).unlink()
    return path


def test_the_front_is_what_nothing_beats():
    points = pd.DataFrame({"gap": [0.1, 0.2, 0.3, 0.2, np.nan], "accuracy": [0.5, 0.6, 0.55, 0.6, 0.9]})
    assert charts.pareto(points).tolist() == [True, True, False, True, False]


def test_cells_confusion_and_calibration_equal_slow_forms():
    table = predicted(("only",), 3)
    index = [pd.Index(schema.ATTRIBUTES[a], name=a) for a in ("race", "gender")]
    value, count = build.cells(table, *index)
    for race in schema.RACES:
        for gender in schema.GENDERS:
            own = table[(table["race"] == race) & (table["gender"] == gender)]
            assert count.loc[race, gender] == len(own) / 3
            if len(own):
                np.testing.assert_allclose(value.loc[race, gender], (own["emotion"] == own["prediction"]).mean())
    confusion = build.confusion_counts(table, CLASSES)
    wanted = pd.crosstab(table["emotion"], table["prediction"]).reindex(index=CLASSES, columns=CLASSES, fill_value=0)
    np.testing.assert_array_equal(confusion, wanted.fillna(0))
    confidence, accuracy, n = build.reliability_bins(table, CLASSES)
    top = table[[f"p_{c}" for c in CLASSES]].max(axis=1)
    inside = (top >= 0.5) & (top < 0.6)
    assert n.sum() == len(table) and n[5] == inside.sum()
    np.testing.assert_allclose(confidence[5], top[inside].mean())
    np.testing.assert_allclose(accuracy[5], (table["emotion"] == table["prediction"])[inside].mean())


def test_a_report_has_its_sections_and_the_stored_numbers(tmp_path):
    run = stored.read(finished(tmp_path / "run", attributes=("race", "gender")))
    out = build.build([run], tmp_path / "report")
    text = out.read_text()
    sections = "Headline, Against the control, Accuracy and fairness, Levelling up or down, Ranks and selection, Groups"
    for name in (*sections.split(", "), "Training", "Explanations", "What was run"):
        assert f"<h2>{name}</h2>" in text
    assert "http" not in text.replace("http-equiv", "") and "<script" not in text
    assert "&lt;b&gt;none&lt;/b&gt;" in text and "<b>none" not in text
    summary = pd.read_csv(tmp_path / "run" / "summary.csv")
    own = summary[(summary["metric"] == "accuracy") & summary["attribute"].isna() & (summary["method"] == "other")]
    headline = pd.read_csv(tmp_path / "report" / "run-headline.csv").set_index("method")
    assert headline.loc["other", "accuracy"].startswith(f"{own['mean'].iloc[0]:.3f} [{own['lower'].iloc[0]:.3f}")
    assert "\\begin{tabular}" in (tmp_path / "report" / "run-headline.tex").read_text()
    pictures = list((tmp_path / "report").glob("*.png"))
    assert len(pictures) == text.count("<figure>") and all(p.with_suffix(".svg").is_file() for p in pictures)


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"methods": ("only",), "seeds": 1}, "One method: there is nothing to compare it with"),
        ({"attributes": ()}, "The data has no attributes"),
        ({"without": ("metrics.jsonl", "timing.json")}, "metrics.jsonl is missing"),
        ({"without": ("predictions.parquet",)}, "predictions.parquet is missing"),
        ({"without": ("summary.csv", "comparisons.csv")}, "There is no summary"),
    ],
)
def test_whatever_is_missing_is_named(tmp_path, fields, said):
    text = build.build([stored.read(finished(tmp_path / "run", **fields))], tmp_path / "report").read_text()
    assert said in text and "<h2>What was run</h2>" in text


def test_several_runs_share_a_page(tmp_path):
    runs = [stored.read(finished(tmp_path / name, methods=("only",), attributes=())) for name in ("a", "b")]
    text = build.build(runs, tmp_path / "report").read_text()
    assert "<h2>a: Headline</h2>" in text and "<h2>b: Headline</h2>" in text


def test_there_must_be_a_run(tmp_path):
    with pytest.raises(ConfigError, match="there is no run"):
        stored.read(tmp_path)


def test_pages_escape_everything():
    frame = pd.DataFrame({"<i>": ["<script>alert(1)</script>", 'a"b'], "x": [1.23456, np.nan]})
    text = page.page("<t>", {"<s>": [page.table(frame), page.paragraph("<p>")]})
    assert "<script" not in text and "<i>" not in text and "&lt;s&gt;" in text and "1.23" in text
