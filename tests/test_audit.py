"""The audit of anybody's predictions, as a user types it."""

import numpy as np
import pandas as pd
import pytest

from frown_jax import schema
from tests import commands


def _audit(*argv, code=0):
    done = commands.run("frown_jax.audit", *argv, code=code)
    assert "Traceback" not in done.stderr
    return done


def _predictions(methods=("plain", "fair"), seeds=2, n=300):
    rng = np.random.default_rng(0)
    frames = []
    for split in ("val", "test"):
        y, race = rng.integers(0, 3, n), rng.integers(0, 2, n)
        ease = rng.random(n)
        for method in methods:
            for seed in range(seeds):
                wanted = np.where(race == 1, 0.5 if method == "plain" else 0.8, 0.85)
                p = rng.dirichlet(np.ones(3), n) * 0.4
                answer = np.where(ease + rng.normal(0, 0.03, n) < wanted, y, (y + 1) % 3)
                p[np.arange(n), answer] += 0.6
                frame = pd.DataFrame(p, columns=["p_happy", "p_sad", "p_angry"])
                frame["y_true"] = np.array(["happy", "sad", "angry"])[y]
                frame["race"] = np.array(schema.RACES)[race]
                frame["sex"] = np.where(np.arange(n) % 2, "f", "m")
                frames.append(frame.assign(method=method, seed=seed, split=split, id=np.arange(n)))
    return pd.concat(frames, ignore_index=True)


def test_an_audit_finds_what_was_planted(tmp_path):
    path = tmp_path / "predictions.csv"
    _predictions().to_csv(path, index=False)
    done = _audit(path, "--attributes=race,sex", "--permutations=100", "--resamples=400")
    out = tmp_path / "predictions-audit"
    tables = {f.stem: pd.read_csv(f, keep_default_na=False, na_values=[""]) for f in out.glob("*.csv")}
    assert set(tables) == {
        "results", "summary", "comparisons", "levelling", "ranks", "choices", "rank_stability"
    }  # fmt: skip
    c = tables["comparisons"]
    gap = c[(c["metric"] == "accuracy_difference") & (c["attribute"] == "race")].iloc[0]
    assert gap["verdict"] == "gain"
    assert gap["lower"] < gap["difference"] < gap["upper"] < -0.1
    assert gap["p_permutation"] == pytest.approx(1 / 101)
    assert (tables["choices"]["chosen"] == "fair").mean() > 0.8
    race = tables["levelling"].query("attribute == 'race'").iloc[0]
    assert race["reading"].startswith("levelled up")
    assert "against plain" in done.stdout
    assert "oracle" in done.stdout
    # An empty group of the studies' vocabulary is listed with n = 0, not left out.
    asian = tables["summary"].query("group == 'Asian' and metric == 'accuracy'")
    assert (asian["n"] == 0).all()
    assert asian["mean"].isna().all()
    # By hand, from the file.
    frame = pd.read_csv(path)
    part = frame[(frame["split"] == "test") & (frame["method"] == "plain") & (frame["race"] == "Caucasian")]
    p = part[["p_happy", "p_sad", "p_angry"]]
    right = p.columns[p.to_numpy().argmax(1)].str[2:] == part["y_true"]
    s = tables["summary"].query("method == 'plain' and metric == 'accuracy' and group == 'Caucasian'").iloc[0]
    assert s["mean"] == pytest.approx(right.mean())


def test_what_is_asked_for_beyond_the_analysis(tmp_path):
    path, matrix = tmp_path / "predictions.csv", tmp_path / "errors.csv"
    _predictions(n=400).to_csv(path, index=False)
    matrix.write_text("true,f,m\nf,0.9,0.1\nm,0.2,0.8\n")
    done = _audit(
        path, "--attributes=race,sex", "--resamples=100", "--crossed=1", "--small_cells", "--multiverse",
        "--arbitrariness", f"--label_error=race:0.05,sex:{matrix}",
    )  # fmt: skip
    out = tmp_path / "predictions-audit"
    tables = {f.stem: pd.read_csv(f, keep_default_na=False, na_values=[""]) for f in out.glob("*.csv")}
    survival = tables["survival"].set_index(["method", "claim", "attribute"])
    assert survival.loc[("fair", "worst group", "race"), "gain"] > 0.9
    assert len(tables["multiverse"]) == tables["survival"]["analyses"].sum()
    cells = tables["small_cells"].query("n > 0")
    assert ((cells["lower"] < cells["shrunken"]) & (cells["shrunken"] < cells["upper"])).all()
    assert tables["consistency"].query("method == 'plain' and attribute == 'race' and n > 0")["consistency"].min() > 0.5
    assert set(tables["abstention"]["kappa"]) == {round(0.1 * i, 1) for i in range(11)}
    labels = tables["label_sensitivity"]
    assert labels.query("attribute == 'race'")["rate"].unique().tolist() == [0.05]
    wrong = labels.query("attribute == 'sex'")["rate"]
    assert wrong.between(0.1, 0.2).all()  # what the matrix makes wrong of half women and half men
    race = labels.query("attribute == 'race' and method == 'plain'").iloc[0]
    assert race["lower"] < race["gap"] < race["upper"] and 0 < race["sign_lost_at"] < 1
    for title in ("all defensible analyses", "most probably the worst", "two seeds agree", "labels are wrong"):
        assert title in done.stdout


def test_one_model_of_a_vendor(tmp_path):
    path = tmp_path / "vendor.tsv"
    table = _predictions(methods=("vendor",), seeds=1).query("split == 'test'")
    table = table.assign(y_pred=table["y_true"])[["y_true", "y_pred", "sex"]]
    table.to_csv(path, index=False, sep="\t")
    done = _audit(path, "--attributes=sex", f"--out={tmp_path}/out", "--interval=bca", "--resamples=200")
    assert "accuracy by sex" in done.stdout
    assert {f.stem for f in (tmp_path / "out").glob("*.csv")} == {"results", "summary"}


def test_action_units(tmp_path):
    rng = np.random.default_rng(0)
    truth = rng.integers(0, 2, (200, 2)).astype(float)
    truth[:20, 0] = np.nan
    table = pd.DataFrame(truth, columns=["y_true_AU1", "y_true_AU12"])
    table[["p_AU1", "p_AU12"]] = np.clip(np.nan_to_num(truth, nan=0.5) * 0.4 + rng.random((200, 2)) * 0.6, 0, 1)
    table["subject"], table["gender"] = np.arange(200) // 10, np.where(np.arange(200) % 20 < 10, "Male", "Female")
    path = tmp_path / "au.parquet"
    table.to_parquet(path)
    done = _audit(path, "--resamples=200")
    assert "200 resamples of subjects" in done.stderr
    summary = pd.read_csv(tmp_path / "au-audit" / "summary.csv", keep_default_na=False, na_values=[""])
    f1 = summary.query("metric == 'f1' and attribute.isna()").set_index("target")
    assert set(f1.index) == {"AU1", "AU12"}
    assert f1.loc["AU1", "n"] == 180


@pytest.mark.parametrize(
    ("change", "arguments", "message"),
    [
        (lambda t: t, ["--attributes=age"], "no column 'age'"),
        (lambda t: t.assign(p_sad=2), [], r"column p_sad, row 0 (line 2 of a CSV): 2 is not between 0 and 1"),
        (lambda t: t.assign(split="train"), [], "--split=test: "),
        (lambda t: t, ["--control=none"], "there is no method 'none'; there are plain, fair"),
        (lambda t: t, ["--scored=races"], "--scored=races: 'studies', 'all', or attribute:group|group"),
        (lambda t: t, ["--attributes=sex", "--scored=sex:x|f"], "attribute 'sex' has no group 'x'"),
        (
            lambda t: t,
            ["--attributes=sex", "--resamples=2", "--label_error=race:0.1"],
            "--label_error=race:0.1: attrib",
        ),
        (lambda t: t, ["--attributes=sex", "--resamples=2", "--label_error=sex:much"], "'much' is neither a rate"),
        (lambda t: t, ["--attributes=sex", "--multiverse", "--controls=x"], "there is no method 'x'"),
        (lambda t: t.drop(columns="id").iloc[:-1], [], "with several runs a column id tells"),
    ],
)
def test_bad_input_is_one_clear_line(tmp_path, change, arguments, message):
    path = tmp_path / "p.csv"
    change(_predictions(n=20)).to_csv(path, index=False)
    done = _audit(path, *arguments, code=2)
    error = next(line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert message in error


def test_no_file():
    assert "no such file: nothing.csv" in _audit("nothing.csv", code=2).stderr
    assert "give one file of predictions" in _audit(code=2).stderr
