"""What a notebook calls: load a data set, train a config, open a run. docs/python.md shows each with an example."""

from __future__ import annotations

import functools
import os
import pathlib
from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
from ml_collections import ConfigDict

from frown_jax import config as configs
from frown_jax.data import load
from frown_jax.data.dataset import Dataset
from frown_jax.errors import ConfigError, DataError
from frown_jax.inference.ensemble import Ensemble
from frown_jax.jobs import job, pretrain
from frown_jax.jobs.analyse import analyse
from frown_jax.runs.directory import RunDir, default_path
from frown_jax.runtime import cache
from frown_jax.training import check


class Run:
    """A finished run. Tables are read when they are first asked for.

    Attributes:
      path: the run directory.
    """

    def __init__(self, path: str | os.PathLike[str]):
        """Opens a run directory.

        Raises:
          ConfigError: there is no run, it is not finished, or another version has made it.
        """
        self.path = pathlib.Path(path)
        self._files = RunDir.open(self.path)
        if not self._files.is_finished:
            raise ConfigError(f"{self.path} is not finished (it has no results.csv): run its command again")

    def __repr__(self) -> str:
        return f"Run({str(self.path)!r})"

    @functools.cached_property
    def config(self) -> ConfigDict:
        """Every setting of the run."""
        return self._files.config()

    @functools.cached_property
    def results(self) -> pd.DataFrame:
        """One row for each member, split, metric, attribute, group and target, with its `n` and its `value`."""
        return self._table("results.csv")

    @functools.cached_property
    def predictions(self) -> pd.DataFrame:
        """One row for each member, split and image: its label, its groups, the prediction, the probabilities."""
        return pd.read_parquet(self.path / "predictions.parquet")

    @functools.cached_property
    def summary(self) -> pd.DataFrame:
        """Every metric of each method over its seeds: mean, standard deviation, range and interval.

        Raises:
          ConfigError: the run draws its subjects, so that it has draws.csv instead.
        """
        return self._table("summary.csv")

    @functools.cached_property
    def comparisons(self) -> pd.DataFrame:
        """Every method against the control, with intervals and tests.

        Raises:
          ConfigError: the run has one method, or too few, so that nothing was compared.
        """
        return self._table("comparisons.csv")

    def predict(self, images: np.ndarray) -> np.ndarray:
        """Class probabilities of images by every member that finished an epoch.

        Args:
          images: uint8 [N, H, W, 3], sRGB, aligned faces as in training. They are resized to the run's side.

        Returns:
          float32 [members, N, K], in the order of `classes`.

        Raises:
          DataError: the array has another shape or type.
          ConfigError: the run's checkpoints cannot be read.
        """
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3 or not images.size:
            raise DataError(
                f"images are {images.dtype} {list(images.shape)}: give uint8 [N, height, width, 3] with N of 1 or more"
            )
        side = self._ensemble.image_side
        return self._ensemble.probabilities(np.stack([load.resize(image, side) for image in images]))

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of what `predict` gives probabilities of."""
        return self._ensemble.classes

    @functools.cached_property
    def _ensemble(self) -> Ensemble:
        return Ensemble(self.path)

    def _table(self, name: str) -> pd.DataFrame:
        path = self.path / name
        if not path.is_file():
            there = ", ".join(sorted(p.name for p in self.path.glob("*.csv")))
            raise ConfigError(f"{self.path} has no {name}: its tables are {there}")
        return self._files.read_csv(name)


def open_run(path: str | os.PathLike[str]) -> Run:
    """Opens the directory of a finished run.

    Raises:
      ConfigError: there is no run, it is not finished, or another version has made it.
    """
    return Run(path)


def load_data(source: str | ConfigDict = "faces", image_size: int = 48, **settings: Any) -> Dataset:
    """Loads a data set: its images, labels and attributes, divided into train, val and test.

    Args:
      source: 'faces', or NAME:FOLDER as in 'rafdb:/data/rafdb'; or a config, whose data section is then loaded.
      image_size: the side in pixels to which larger images are shrunk; a config has its own.
      **settings: settings of the data section. Of embedded faces those of its section `faces` come first:
        train=200, test=100.

    Raises:
      ConfigError: there is no such source or setting.
      DataError: the data cannot be read.
    """
    if isinstance(source, ConfigDict):
        config = source.copy_and_resolve_references()
        section, image_size = config.data, config.model.image_size
    else:
        section = configs.default().data
        name, _, section.dir = source.partition(":")
        if name not in configs.DATA:
            raise ConfigError(f"there is no data set {name!r}: one of {', '.join(configs.DATA)}")
        section.name = name
    own = {"faces": [section.faces], "face_sequences": [section.sequences]}.get(section.name, [])
    sections = [*own, section]  # `test` of embedded faces is how many there are
    for name, value in settings.items():
        home = next((part for part in sections if name in part), None)
        if home is None:
            known = ", ".join(dict.fromkeys(setting for part in sections for setting in part))
            raise ConfigError(f"the data set {section.name!r} has no setting {name!r}: it has {known}")
        try:
            home[name] = value
        except TypeError as e:
            raise ConfigError(f"data setting {name}={value!r}: {e}") from None
    return load.load(section, image_size)


def train(
    config: ConfigDict,
    points: Sequence[dict[str, Any]] | None = None,
    workdir: str | os.PathLike[str] | None = None,
) -> Run:
    """Trains every point with every seed of a config, analyses the results, and opens the run.

    A run that was interrupted goes on; one that is finished is opened.

    Args:
      config: as `frown_jax.config.default()` gives it, changed where wanted.
      points: settings by name for each point of the grid, {'method': 'focal', 'mitigation': 'focal()'}; None for the
        config alone.
      workdir: the run directory; None for runs/notebook-HASH, with a hash of the settings.

    Raises:
      ConfigError, DataError, MitigationError: something does not fit; told before any training.
      HeldError: another process trains this run.
      MemoryTooSmallError: not even one member fits on the devices.
    """
    check.validate(config)
    grid = [dict(point) for point in points] if points is not None else [{}]
    path = pathlib.Path(workdir) if workdir is not None else default_path("notebook", config, grid)
    cache.keep_compiled_programs(config.data.cache_dir)
    analyse(config, job.train(config, grid, path, initial=pretrain.initial), path)
    return Run(path)
