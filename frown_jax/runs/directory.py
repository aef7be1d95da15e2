"""The run directory: what a run leaves behind, and what lets it continue.

config.json          every setting, the grid's points, the command's overrides, the format of this directory
versions.json        software, device, git state: of the beginning, and what differed whenever the run went on
data.json            classes, groups and fingerprint of the data
data_report.txt      what was left out of the data or differs from the published
programs.json        which members train together
looks.json           of a run that adds seeds until its answer is known: after how many, and which methods got them
parts/               while it trains: what each program leaves, put into the files below once all have ended
metrics/             while it trains: metrics.jsonl of each program
members.csv          who is who: member, method, seed, best epoch, failed step
metrics.jsonl        a line per epoch and member; tensorboard/ holds the same as event files
checkpoints/programN/  orbax
trunks/              the frozen network, where members train on its features
adjustments/memberN.npz  what follows training, for runs that ask for it: another last layer, offsets to the logits
predictions.parquet  a row per member, split and image
results.csv          long format: member, method, seed, split, metric, attribute, group, target, n, value, note
summary.csv          the same per method: mean, sd, range, interval; and comparisons.csv, levelling.csv, ranks.csv,
                     choices.csv, rank_stability.csv if there are several methods (metrics.analysis)
draws.csv, contrasts.csv  of members that draw their subjects: values over draws, training sets against each other
occurrences.csv, .png     of Action Units in the data, and which are predicted
explanations/        of `python -m frown_jax.explain`: a page, pictures, tables
table.txt            what was printed
timing.json          wall time (kept apart: all other files are the same bytes in every repetition)
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import os
import pathlib
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import jax
import pandas as pd
from absl import logging
from ml_collections import ConfigDict

import frown_jax
from frown_jax.errors import ConfigError
from frown_jax.inputs.trunk import Trunk
from frown_jax.posthoc.adjustment import Adjustment
from frown_jax.runs.metrics_log import MetricsLog
from frown_jax.runtime import atomic, cache, processes

_PACKAGES = ("jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "tensorflow-datasets", "numpy", "pandas")
# Of no effect on what is trained.
_NOT_COMPARED = (
    "data.cache_dir",
    "members_per_device",
    "checkpoint_every",
    "hparams",
    "verdicts.margin",
    "verdicts.primary",
)


def _flat(value: Any, prefix: str = "") -> dict[str, Any]:
    if isinstance(value, Mapping):
        return {k: v for name, part in value.items() for k, v in _flat(part, f"{prefix}{name}.").items()}
    return {prefix[:-1]: value}


def _as_json(config: ConfigDict) -> dict:
    return json.loads(json.dumps(config.to_dict()))


def default_path(name: str, config: ConfigDict, points: Iterable[dict]) -> pathlib.Path:
    """runs/NAME-HASH: the same command finds the same directory again, and continues it."""
    settings = {k: v for k, v in _flat(_as_json(config)).items() if k not in _NOT_COMPARED}
    text = json.dumps([settings, list(points)], sort_keys=True)
    return pathlib.Path("runs") / f"{name}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def versions() -> dict:
    """Software, device and git state of this process."""
    here = pathlib.Path(frown_jax.__file__).parent
    try:
        git = subprocess.run(
            ["git", "-C", str(here), "describe", "--always", "--dirty"], capture_output=True, text=True, timeout=10
        ).stdout.strip()
    except (OSError, subprocess.TimeoutExpired):
        git = ""
    return {
        "frown_jax": frown_jax.__version__,
        "git": git,
        "python": platform.python_version(),
        "platform": platform.platform(),
        "device": jax.devices()[0].device_kind,
        "devices": jax.local_device_count(),
        "backend": jax.default_backend(),
        "command": sys.argv,
        **{p: importlib.metadata.version(p) for p in _PACKAGES},
    }


# Columns of tables that hold words, whatever these look like.
_TEXT = (
    *("method", "control", "split", "metric", "attribute", "group", "other", "target", "note", "interval"),
    *("family", "verdict", "harm", "reading", "kind", "rule", "candidate"),
)

# Goes up when files of a run change their names or their contents: an older run is then refused, never misread.
FORMAT = 2


class RunDir:
    """A run directory, created or continued.

    Attributes:
      path: of the directory.
      metrics: of training.
    """

    def __init__(self, path: pathlib.Path):
        self.path = path
        self.metrics = MetricsLog(path)

    @classmethod
    def made(cls, path: pathlib.Path) -> RunDir:
        """Makes a folder, or takes one again that a killed command has left: a report's, an evaluation's."""
        path.mkdir(parents=True, exist_ok=True)
        atomic.sweep(path)
        return cls(path)

    @classmethod
    def create(cls, path: pathlib.Path, config: ConfigDict, points: list[dict], overrides: dict) -> RunDir:
        """Makes the directory, or continues one of the same settings.

        Raises:
          ConfigError: it cannot be written, or holds a run with other settings (the difference is shown) or of
            another version's format.
        """
        try:
            run = cls.made(path)
            probe = path / f".writable-{os.getpid()}"
            probe.touch()
            probe.unlink()
        except OSError as e:
            raise ConfigError(f"--workdir={path} cannot be written ({e.strerror}): choose another folder") from None
        new = {"config": _as_json(config), "points": json.loads(json.dumps(points))}
        if run.config_path.exists():
            run._refuse_format()
            old = run.read_config()
            run._refuse_difference(_flat(old["config"]), _flat(new["config"]))
            if old["points"] != new["points"]:
                raise ConfigError(f"{path} holds a run over other points: choose another --workdir")
        else:
            told = json.loads(json.dumps(overrides, default=str))
            run.write_json("config.json", {"format": FORMAT, **new, "overrides": told})
        return run

    @classmethod
    def open(cls, path: pathlib.Path) -> RunDir:
        """An existing run.

        Raises:
          ConfigError: there is no run, or one of another version's format.
        """
        run = cls(path)
        if not run.config_path.is_file():
            raise ConfigError(f"--run={path}: there is no run (no config.json)")
        run._refuse_format()
        return run

    def _refuse_format(self) -> None:
        found = self.read_config().get("format", 1)
        if found != FORMAT:
            raise ConfigError(
                f"{self.path} was made by another version of frown_jax (its format is {found}, this version reads "
                f"{FORMAT}): use that version (versions.json names it), or run its command again with another --workdir"
            )

    def _refuse_difference(self, old: dict, new: dict) -> None:
        changed = [k for k in {**old, **new} if old.get(k) != new.get(k) and k not in _NOT_COMPARED]
        if changed:
            shown = "; ".join(f"{k}: {old.get(k)!r} there, {new.get(k)!r} now" for k in changed[:5])
            raise ConfigError(f"{self.path} holds a run with other settings ({shown}): choose another --workdir")

    @property
    def config_path(self) -> pathlib.Path:
        return self.path / "config.json"

    def read_config(self) -> dict:
        """{'format': ..., 'config': ..., 'points': [...], 'overrides': ...}."""
        return json.loads(self.config_path.read_text())

    def config(self) -> ConfigDict:
        """Its settings: JSON's lists are tuples again."""

        def convert(value: object) -> object:
            if isinstance(value, dict):
                return {k: convert(v) for k, v in value.items()}
            return tuple(value) if isinstance(value, list) else value

        return ConfigDict(convert(self.read_config()["config"]))

    def points(self) -> list[dict]:
        """Of the grid."""
        return self.read_config()["points"]

    def read_programs(self) -> list[list[int]] | None:
        """Members of each program, once they have been cut to fit the devices."""
        path = self.path / "programs.json"
        return json.loads(path.read_text()) if path.exists() else None

    def read_looks(self) -> list[dict]:
        """Looks of a run that adds seeds until its answer is known: {'seeds': by then, 'methods': that get them}."""
        path = self.path / "looks.json"
        return json.loads(path.read_text()) if path.exists() else []

    def write_adjustments(self, adjustments: Mapping[int, Adjustment]) -> None:
        """Keeps what follows training, by member."""
        (self.path / "adjustments").mkdir(exist_ok=True)
        for member, adjustment in adjustments.items():
            self.replace(f"adjustments/member{member}.npz", lambda p, a=adjustment: p.write_bytes(a.to_bytes()))

    def read_adjustments(self, members: Iterable[int]) -> dict[int, Adjustment]:
        """Of those of the members that have one."""
        paths = {m: self.path / "adjustments" / f"member{m}.npz" for m in members}
        return {m: Adjustment.read(path) for m, path in paths.items() if path.is_file()}

    def write_trunk(self, program: int, trunk: Trunk) -> None:
        """Keeps the frozen network that a program's members are heads of; once, if several programs share it."""
        path = self.path / "trunks" / f"{trunk.fingerprint}.npz"
        if processes.is_first() and not path.exists():
            trunk.save(path)
        self.write_json(f"trunks/program{program}.json", {"trunk": path.name})

    def read_trunk(self, program: int, config: ConfigDict) -> Trunk | None:
        """The frozen network of a program; None if its members are whole networks."""
        path = self.path / "trunks" / f"program{program}.json"
        if not path.is_file():
            return None
        file = path.with_name(json.loads(path.read_text())["trunk"])
        return Trunk.read(file, config.model, cache.folder(config.data.cache_dir))

    def checkpoints(self, program: int) -> pathlib.Path:
        return self.path / "checkpoints" / f"program{program}"

    def replace(self, name: str, write: Any) -> None:
        """Writes a file whole or not at all, by `write(path)`."""
        if not processes.is_first():
            return
        atomic.replace(self.path / name, write)

    def write_json(self, name: str, value: Any) -> None:
        self.replace(name, lambda p: p.write_text(json.dumps(value, indent=2) + "\n"))

    def write_text(self, name: str, text: str) -> None:
        self.replace(name, lambda p: p.write_text(text))

    def write_csv(self, name: str, table: pd.DataFrame) -> None:
        self.replace(name, lambda p: table.to_csv(p, index=False))

    def read_csv(self, name: str) -> pd.DataFrame:
        """A table that `write_csv` left: blank text is '', blank numbers are NaN, and a group may be called NA.

        Raises:
          OSError: there is no such table.
        """
        numbers = [c for c in pd.read_csv(self.path / name, nrows=0).columns if c not in _TEXT]
        blank = {c: ["", "nan"] for c in numbers}
        types = dict.fromkeys(_TEXT, str)
        return pd.read_csv(self.path / name, dtype=types, keep_default_na=False, na_values=blank)

    def write_parquet(self, name: str, table: pd.DataFrame) -> None:
        self.replace(name, lambda p: table.to_parquet(p, index=False))

    def record_versions(self) -> None:
        """Keeps with what the run was begun, and what was different whenever it went on."""
        path, now = self.path / "versions.json", versions()
        if not path.is_file():
            self.write_json("versions.json", now)
            return
        old = json.loads(path.read_text())
        changed = {k: v for k, v in now.items() if k != "command" and old.get(k) != v}
        if changed and changed not in old.get("continued", []):
            shown = ", ".join(f"{k} {v} (was {old.get(k)})" for k, v in changed.items())
            logging.warning("this run goes on with %s: to the same results, but not to the same bytes", shown)
            self.write_json("versions.json", {**old, "continued": [*old.get("continued", []), changed]})

    def refuse_other_data(self, name: str, fingerprint: str) -> None:
        """Refuses to go on with data that are not those of the beginning.

        Raises:
          ConfigError: they differ.
        """
        path = self.path / "data.json"
        old = json.loads(path.read_text()) if path.is_file() else {"name": name, "fingerprint": fingerprint}
        was, now = f"{old['name']} {old['fingerprint']}", f"{name} {fingerprint}"
        if was != now:
            raise ConfigError(
                f"{self.path} holds a run on other data ({was} there, {now} now): choose another --workdir, or bring "
                "the data back"
            )

    @property
    def is_finished(self) -> bool:
        """Whether everything was trained and put together."""
        return (self.path / "results.csv").is_file()

    def add_time(self, **seconds: float) -> None:
        """Adds to the totals in timing.json."""
        path = self.path / "timing.json"
        totals = json.loads(path.read_text()) if path.exists() else {}
        for name, value in seconds.items():
            totals[name] = round(totals.get(name, 0.0) + value, 2)
        self.write_json("timing.json", totals)
