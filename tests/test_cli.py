"""The commands as a user types them."""

import subprocess
import sys

import pandas as pd
import pytest

from tests import commands
from tests.commands import CACHE, ROOT

LAUNCH = "frown_jax.launch"
SMOKE = ("--config=configs/baseline.py:runlocal", f"--config.data.cache_dir={CACHE}")


BAD = [
    (("--config=configs/baseline.py", "--config.epoch=3"), r"no field 'epoch'; did you mean 'epochs'"),
    (("--config=configs/baseline.py", "--config.zzz=3"), r"no field 'zzz'; --print_config"),
    (("--config=configs/baseline.py", "--config.batch_size=0"), r"--config.batch_size is 0: a whole number from 1 to"),
    (("--config=configs/baseline.py", "--config.batch_size=many"), r"--config.batch_size is 'many': a whole number"),
    (("--config=configs/baseline.py", "--config.model.image_size=31"), r"--config.model.image_size is 31"),
    (("--config=configs/baseline.py", "--config.seeds=(1,1)"), r"--config.seeds is \(1, 1\): 1 occurs twice"),
    (
        ("--config=configs/baseline.py", "--config.seeds=4"),
        r"--config.seeds is 4: write --config.seeds='\(0,1,2,3\)', or :seeds=4 after the config file",
    ),
    (("--config=configs/baseline.py", "--config.data.faces.joint=even"), r"data.faces.joint is 'even'"),
    (
        ("--config=configs/baseline.py:runlocal", "--config.data.attributes=('hair',)"),
        r"names 'hair'.*race, gender, age",
    ),
    (("--config=configs/baseline.py:rafbd",), r"config argument 'rafbd' is unknown; there are faces, full, rafdb"),
    (("--config=configs/baseline.py:fidelity=honest",), r"one of sound, paper, repo"),
    (("--config=configs/nothing.py",), r"no such file: configs/nothing\.py"),
    (("--config=configs/nothing.py", "--config.epochs=3"), r"no such file: configs/nothing\.py"),
    (("--config=baselin:runlocal",), r"no config 'baselin'; the package has affirmative_action,.*, baseline, "),
    (
        ("--config=configs/baseline.py", "--config.mitigation=equalize()"),
        r"mitigation: there is no mitigation 'equalize'",
    ),
    (
        ("--config=configs/baseline.py", "--config.mitigation=focal(beta=1)"),
        r"focal has no setting 'beta': it has gamma",
    ),
    (
        ("--config=configs/baseline.py:runlocal", "--config.mitigation=equalise(by='skin')"),
        r"equalise: there is no column 'skin' to group by: one of emotion, race, gender, age",
    ),
    ((), r"--config is missing"),
    (("--config=configs/baseline.py", "--workdri=x"), r"workdri"),
    (("--config=configs/baseline.py:runlocal", "--workdir=/proc/run"), r"cannot be written"),
    (("--config=configs/baseline.py:rafdb",), r"Request it from its authors"),
    (
        ("--config=configs/baseline.py", "--config.model.weights=/none.pth"),
        r"torchvision's resnet18, vgg16",
    ),
]


@pytest.mark.parametrize(("argv", "message"), BAD)
def test_bad_input_is_one_clear_line_before_any_work(argv, message, tmp_path):
    import re

    cache = (f"--config.data.cache_dir={CACHE}",) if any("--config=" in a for a in argv) else ()
    workdir = () if any("workd" in a for a in argv) else (f"--workdir={tmp_path}/run",)
    done = commands.run(LAUNCH, *argv, *cache, *workdir, code=2, timeout=120)
    assert "Traceback" not in done.stderr
    first = next(line for line in done.stderr.splitlines() if line.startswith("error: "))
    assert re.search(message, done.stderr), done.stderr
    assert len(first) < 400


def test_help_tells_how_to_use_it():
    done = subprocess.run(
        [sys.executable, "launch.py", "--help"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert "--config=configs/baseline.py:rafdb --config.data.dir=DIR" in done.stdout
    assert "--workdir" in done.stdout


def test_launch_evaluate_predict(tmp_path):
    run = tmp_path / "run"
    done = commands.run(LAUNCH, *SMOKE, f"--workdir={run}")
    assert "accuracy by race" in done.stdout
    assert "never a finding about people" in done.stdout.replace("\n", " ")
    for name in ("config.json", "versions.json", "metrics.jsonl", "members.csv", "data.json", "predictions.parquet"):
        assert (run / name).is_file(), name
    results = pd.read_csv(run / "results.csv", keep_default_na=False)
    keys = ["member", "method", "seed", "split", "metric", "attribute", "group", "target"]
    assert list(results.columns) == [*keys, "n", "value", "note"]
    summary = pd.read_csv(run / "summary.csv", keep_default_na=False, na_values=[""])
    overall = summary[(summary["metric"] == "accuracy") & summary["attribute"].isna()].iloc[0]
    assert overall["lower"] <= overall["mean"] <= overall["upper"]
    assert set(results["split"]) == {"val", "test"}
    assert results["member"].nunique() == 2

    done = commands.run("frown_jax.evaluate", f"--run={run}", "--split=val")
    (written,) = (run / "evaluations").glob("faces-*-val")
    again = pd.read_csv(written / "results.csv", keep_default_na=False)
    expected = results[results["split"] == "val"].reset_index(drop=True)
    pd.testing.assert_frame_equal(again, expected)

    image = ROOT / "docs" / "faces" / "random.jpg"
    done = commands.run(
        "frown_jax.predict", f"--run={run}", "--box=0,16,100,116", f"--csv={tmp_path}/p.csv", str(image)
    )
    assert str(image) in done.stdout
    table = pd.read_csv(tmp_path / "p.csv")
    assert len(table) == 2
    assert table.drop(columns=["file", "member", "seed"]).sum(axis=1).round(4).eq(1).all()
    done = commands.run("frown_jax.predict", f"--run={run}", "--box=0,0,9000,9", str(image), code=2)
    assert "does not lie in" in done.stderr
    done = commands.run("frown_jax.predict", f"--run={run}", str(ROOT / "README.md"), code=2)
    assert "README.md: not a readable image" in done.stderr

    # The same command again trains nothing; other settings in the same folder are refused.
    before = (run / "metrics.jsonl").read_bytes()
    commands.run(LAUNCH, *SMOKE, f"--workdir={run}")
    assert (run / "metrics.jsonl").read_bytes() == before
    done = commands.run(LAUNCH, *SMOKE, f"--workdir={run}", "--config.epochs=3", code=2)
    assert "epochs: 2 there, 3 now" in done.stderr
