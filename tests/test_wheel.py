"""The wheel, installed where there is no checkout: every command runs in an empty folder."""

import os
import pathlib
import re
import shutil
import subprocess
import sys
import sysconfig
import zipfile

import pandas as pd
import pytest

from tests.commands import ROOT

# What a build may see; `tests` and `benchmarks` are there because they must not get in.
TREE = ("frown_jax", "configs", "tests", "benchmarks", "launch.py", "pyproject.toml", "requirements.txt", "README.md")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """A wheel of this tree, built outside it: a build leaves folders behind that the next one would pack."""
    pytest.importorskip("setuptools", minversion="77", reason="the wheel is built without a download")
    tree, out = tmp_path_factory.mktemp("tree"), tmp_path_factory.mktemp("wheel")
    for name in (*TREE, "LICENSE", "NOTICE"):
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, tree / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, tree / name)
    _run(sys.executable, "-m", "pip", "wheel", "-q", "--no-deps", "--no-build-isolation", f"--wheel-dir={out}", tree)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """Folder of the commands of an environment that has the wheel, and this interpreter's other packages."""
    environment = tmp_path_factory.mktemp("environment")
    _run(sys.executable, "-m", "venv", "--without-pip", environment)
    python = environment / "bin" / "python"
    _run(sys.executable, "-m", "pip", f"--python={python}", "install", "-q", "--no-deps", "--no-index", wheel)
    site = pathlib.Path(_run(python, "-c", "import sysconfig; print(sysconfig.get_path('purelib'))").stdout.strip())
    # Only the folders themselves: what .pth files in them add, such as this checkout, does not come along.
    others = dict.fromkeys(sysconfig.get_path(name) for name in ("purelib", "platlib"))
    (site / "other_packages.pth").write_text("".join(f"{folder}\n" for folder in others))
    return python.parent


def _run(*command, cwd=None, code=0):
    environment = {k: v for k, v in os.environ.items() if k not in ("PYTHONPATH", "PYTHONHOME", "VIRTUAL_ENV")}
    environment |= {"JAX_PLATFORMS": "cpu", "FROWN_JAX_CACHE": str(pathlib.Path.home() / ".cache" / "frown_jax_tests")}
    done = subprocess.run(
        list(map(str, command)), cwd=cwd, env=environment, capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == code, done.stdout[-1000:] + done.stderr[-3000:]
    return done


@pytest.mark.slow  # only this builds the package
def test_the_wheel_holds_the_package_and_nothing_else(wheel):
    names = {name for name in zipfile.ZipFile(wheel).namelist() if ".dist-info/" not in name}
    files = (path for path in (*ROOT.glob("frown_jax/**/*"), *ROOT.glob("configs/*")) if path.is_file())
    expected = {path.relative_to(ROOT).as_posix() for path in files if "__pycache__" not in path.parts}
    expected = {re.sub("^configs/", "frown_jax/configs/", name) for name in expected}
    assert names == expected
    metadata = {name.rpartition("/")[2] for name in zipfile.ZipFile(wheel).namelist()} - expected
    assert {"METADATA", "LICENSE", "NOTICE", "entry_points.txt"} <= metadata


@pytest.mark.slow  # 1 to 2 minutes; only this runs the commands without the checkout
def test_every_command_runs_in_an_empty_folder(installed, tmp_path):
    def run(name, *arguments, code=0):
        return _run(installed / name, *arguments, cwd=tmp_path, code=code)

    where = "import frown_jax, frown_jax.configs as c; print(frown_jax.__file__); print(c.__file__)"
    found = run("python", "-c", where).stdout.split()
    assert all(pathlib.Path(path).is_relative_to(installed.parent) for path in found), found
    assert "ModuleNotFoundError" in run("python", "-c", "import configs", code=1).stderr

    said = run("frown-jax", "--config=baseline:runlocal").stdout
    assert "accuracy by race" in said
    (directory,) = tmp_path.glob("runs/baseline-faces-*")
    results = pd.read_csv(directory / "results.csv")
    run("frown-jax-evaluate", f"--run={directory}", "--split=val")
    (again,) = directory.glob("evaluations/*/results.csv")
    validation = results[results["split"] == "val"].reset_index(drop=True)
    pd.testing.assert_frame_equal(pd.read_csv(again), validation)

    run("frown-jax-report", directory, "--out=report", "--nostills")
    assert "<style>" in (tmp_path / "report" / "index.html").read_text()  # page.css is in the wheel
    run("frown-jax-explain", f"--run={directory}", "--images=8", "--twins=2", "--checked=0", "--resamples=20")
    assert len(list(directory.glob("explanations/**/*.png"))) > 0
    said = run("frown-jax-audit", directory / "predictions.parquet", "--attributes=race", "--resamples=50").stdout
    assert "by race" in said
    run("frown-jax-explore", "--config=baseline:runlocal", "--out=explored", "--resamples=20", "--samples=4")
    assert (tmp_path / "explored" / "index.html").is_file()
    images = list(directory.glob("explanations/**/*.png"))[:1]
    assert str(images[0]) in run("frown-jax-predict", f"--run={directory}", *images).stdout
