"""Predictions of a finished run on its own or on other data."""

from __future__ import annotations

import dataclasses

import pandas as pd

from frown_jax.config import DATA
from frown_jax.data.annotations import Annotations
from frown_jax.data.dataset import Dataset
from frown_jax.data.load import load
from frown_jax.errors import ConfigError, DataError
from frown_jax.inference.ensemble import Ensemble
from frown_jax.training.predictions import predictions_frame


def data_for(ensemble: Ensemble, source: str, cache: str = "") -> Dataset:
    """The data set of a --data value, with the ensemble's class order.

    Raises:
      ConfigError: malformed `source`.
      DataError: the data cannot be read, or has emotions that the ensemble does not know.
    """
    config = ensemble.config.data.copy_and_resolve_references()
    if config.test == "cohort" and source in ("", config.name, f"{config.name}:{config.dir}"):
        raise ConfigError(
            "every member of this run has test subjects of its own, and trained on others of this data: results.csv "
            "has their values; --data=... evaluates all members on another data set"
        )
    if source:
        config.name, _, config.dir = source.partition(":")
        config.attributes, config.test = (), "given"
        if ensemble.multilabel:
            config.aus = ensemble.classes
        if config.name not in DATA:
            raise ConfigError(f"--data={source}: it begins with one of {', '.join(DATA)}, then ':' and the folder")
    if cache:
        config.cache_dir = cache
    data = load(config, ensemble.config.model.image_size)
    unknown = [c for c in data.classes if c not in ensemble.classes]
    if unknown:
        raise DataError(f"the run does not know {', '.join(unknown)}; it knows {', '.join(ensemble.classes)}")
    return dataclasses.replace(data, classes=ensemble.classes)


def evaluate(ensemble: Ensemble, data: Dataset, split: str) -> pd.DataFrame:
    """Predictions of every member on one split; members that drew other subjects count as other seeds.

    Raises:
      DataError: the data has no such split.
    """
    part = data.split(split)
    probabilities = ensemble.probabilities(part.images, Annotations.of(part))
    found = zip(ensemble.specs, probabilities, ensemble.thresholds(), strict=True)
    frames = [predictions_frame(s, part, split, p, t) for s, p, t in found]
    table = pd.concat(frames, ignore_index=True)
    if "draw" in table:  # on one test set, training sets that were drawn are repetitions as seeds are
        order = table.drop_duplicates("member").groupby("method").cumcount()
        number = dict(zip(table.drop_duplicates("member")["member"], order, strict=True))
        table = table.assign(seed=table["member"].map(number)).drop(columns="draw")
    return table
