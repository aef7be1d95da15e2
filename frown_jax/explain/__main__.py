"""Where the networks of a finished run look, measured: relevance maps, regions, groups, counterfactual twins.

  python -m frown_jax.explain --run=runs/au_gender-face_sequences-0a1b2c3d
  python -m frown_jax.explain --run=... --composite=EpsilonAlpha2Beta1Flat --images=0
  python -m frown_jax.explain --run=... --composite='first=flat;conv=gamma:0.5;dense=epsilon:0.1'
  python -m frown_jax.explain --run=... --data=ckplus:DIR

Leaves tables (CSV, parquet), pictures (PNG) and index.html, one self-contained page, in RUN/explanations/. Regions are
exact on embedded faces, from CK+'s landmarks, or from --landmarks. docs/explanations.md explains every measure.
"""

from __future__ import annotations

import pathlib

import numpy as np
import pandas as pd
from absl import flags, logging

from frown_jax.data import store
from frown_jax.data.load import load
from frown_jax.errors import ConfigError
from frown_jax.explain import contrasts, landmarks, measure, pictures, regions
from frown_jax.explain.attribution import GRADIENTS, Method
from frown_jax.explain.composites import CHOICES, COMPOSITES
from frown_jax.explain.networks import networks_of
from frown_jax.explain.run import Options, explain
from frown_jax.inference.ensemble import Ensemble
from frown_jax.inference.evaluation import data_for, evaluate
from frown_jax.runtime import cache, command

_RUN = flags.DEFINE_string("run", None, "Run directory.")
_COMPOSITE = flags.DEFINE_string(
    "composite",
    "EpsilonPlusFlat",
    f"Rules: {', '.join(COMPOSITES)}; a table 'key=rule;...' (keys: first, conv, dense, add, ... or a path like "
    f"layer4_*/conv2); or {', '.join(GRADIENTS)}.",
)
_RESIDUAL = flags.DEFINE_enum("residual", "", ["", *CHOICES["add"]], "Rule for sums; by default the composite's, norm.")
_STABILITY = flags.DEFINE_list(
    "stability",
    ["EpsilonAlpha2Beta1Flat", "Epsilon"],
    "Further composites; a difference between groups must have the same sign in all.",
)
_SPLIT = flags.DEFINE_string("split", "test", "train, val or test.")
_DATA = flags.DEFINE_string("data", "", "faces, ckplus:DIR, manifest:DIR, ...; by default the run's own data.")
_IMAGES = flags.DEFINE_integer("images", 240, "Explained at most, subjects taking turns; 0: all.", lower_bound=0)
_TWINS = flags.DEFINE_integer("twins", 60, "Photographs that get counterfactual twins; 0: none.", lower_bound=0)
_CHECKED = flags.DEFINE_integer("checked", 32, "Images of the faithfulness and sanity checks; 0: none.", lower_bound=0)
_ATTRIBUTES = flags.DEFINE_list("attributes", [], "Compared; by default all of the data set.")
_MEMBERS = flags.DEFINE_list("members", [], "Numbers of the members to explain; by default all.")
_LANDMARKS = flags.DEFINE_string(
    "landmarks", "", "CSV of 68 landmarks: id, x0, y0, ... x67, y67, as shares of the image (0 to 1)."
)
_REGIONS = flags.DEFINE_enum("regions", landmarks.POLYGON, list(landmarks.SHAPES), "Shape of regions from landmarks.")
_TARGET = flags.DEFINE_string("target", "", "Class shown in pictures; by default the one with the most true positives.")
_COLOURS = flags.DEFINE_enum("colours", "bwr", list(pictures.COLOURS), "Of maps; orange_purple is colour-blind safe.")
_RESAMPLES = flags.DEFINE_integer("resamples", 1000, "Of the bootstrap.", lower_bound=2)
_LEVEL = flags.DEFINE_float("level", 0.95, "Of confidence.", lower_bound=0.5, upper_bound=0.999)
_SEED = flags.DEFINE_integer("seed", 0, "Of the sample of images and the resamples.")
_CACHE = flags.DEFINE_string("cache_dir", "", "Cache of prepared data; by default the run's.")
_OUT = flags.DEFINE_string("out", "", "Folder of the results; by default in the run directory.")


def _predictions(path: pathlib.Path, ensemble: Ensemble):
    """Data set, its section and the predictions of the chosen split."""
    split, config = _SPLIT.value, ensemble.config.data.copy_and_resolve_references()
    if _CACHE.value:
        config.cache_dir = _CACHE.value
    stored = path / "predictions.parquet"
    if not _DATA.value and stored.is_file():
        table = pd.read_parquet(stored)
        if (table["split"] == split).any():
            return load(config, ensemble.config.model.image_size), config, table[table["split"] == split]
    if not _DATA.value and config.test == "cohort":
        raise ConfigError(f"--split={split}: the members of this run predict val and test only")
    data = data_for(ensemble, _DATA.value, _CACHE.value)
    if _DATA.value:
        config.name, _, config.dir = _DATA.value.partition(":")
    part = data.split(split)
    return part, config, evaluate(ensemble, data, split)


def _chosen(ensemble: Ensemble):
    every = networks_of(ensemble)
    if not _MEMBERS.value:
        return every
    wanted = set(_MEMBERS.value)
    known = {str(s.member) for n in every for s in n.specs}
    if not wanted <= known:
        raise ConfigError(f"--members: the run has 0 to {len(known) - 1}, not {', '.join(sorted(wanted - known))}")
    kept = [(n, np.array([i for i, s in enumerate(n.specs) if str(s.member) in wanted])) for n in every]
    return [n.take(rows) for n, rows in kept if len(rows)]


def _main(_: list[str]) -> None:
    if not _RUN.value:
        command.fail("--run is missing (--help tells more)")
    path = pathlib.Path(_RUN.value)
    options = Options(
        method=Method.of(_COMPOSITE.value, _RESIDUAL.value),
        stability=tuple(Method.of(t, "" if t in GRADIENTS else _RESIDUAL.value) for t in _STABILITY.value),
        images=_IMAGES.value,
        twins=_TWINS.value,
        checked=_CHECKED.value,
        attributes=tuple(_ATTRIBUTES.value),
        colours=_COLOURS.value,
        target=_TARGET.value,
        statistics=contrasts.ContrastSettings(_RESAMPLES.value, 2 * _RESAMPLES.value, _LEVEL.value, _SEED.value),
    )
    ensemble = Ensemble(path)
    folder = _CACHE.value or ensemble.config.data.cache_dir
    cache.keep_compiled_programs(folder)
    data, config, predictions = _predictions(path, ensemble)
    every = _chosen(ensemble)
    members = {s.member for n in every for s in n.specs}
    predictions = predictions[predictions["member"].isin(members)]
    there = np.flatnonzero(data.table["id"].isin(predictions["id"]).to_numpy())
    rows = there[measure.sample(data.table.iloc[there].reset_index(drop=True), _IMAGES.value, _SEED.value)]
    data = data.take(rows)
    ids = list(data.table["id"])
    find_one = regions.finder(config, ids, data.classes, _LANDMARKS.value, _REGIONS.value)
    if find_one is None:
        raise ConfigError(
            f"{config.name} does not say where anything is on a face: --landmarks=CSV gives 68 points of each image"
        )
    points = store.hash_of(pathlib.Path(_LANDMARKS.value).read_bytes()) if _LANDMARKS.value else ""
    key = (config.name, data.fingerprint, _REGIONS.value, points, *ids)
    found = regions.find(find_one, data.classes, len(data), key, cache.folder(folder))
    out = (
        pathlib.Path(_OUT.value)
        if _OUT.value
        else path / "explanations" / f"{config.name}-{_SPLIT.value}-{_name(options)}"
    )
    shown = explain(every, data, config, predictions, found, out, options)
    logging.info("%s and the tables behind it are written", shown)


def _name(options: Options) -> str:
    """Of the folder: a table's text has characters that a folder's name had better not have."""
    return "".join(c if c.isalnum() or c in "._-" else "_" for c in options.method.name)[:60]


def main() -> None:
    """Entry point."""
    command.run(_main, __doc__ or "")


if __name__ == "__main__":
    main()
