"""From a config's data section to a Dataset: read or render, cache, resize, split."""

from __future__ import annotations

from typing import TypeVar

import numpy as np
import pandas as pd
from ml_collections import ConfigDict
from PIL import Image

from frown_jax import schema
from frown_jax.config import DATA, VALIDATIONS
from frown_jax.data import splits, store, units
from frown_jax.data.actor_study import ActorStudySource
from frown_jax.data.cifar10s import Cifar10SSource
from frown_jax.data.ckplus import CkPlusSource
from frown_jax.data.combined import CombinedSource
from frown_jax.data.dataset import Dataset, attribute_vocabularies, au_labels
from frown_jax.data.faces_source import FacesSource
from frown_jax.data.manifest import ManifestSource
from frown_jax.data.rafdb import RafDbSource
from frown_jax.errors import DataError
from frown_jax.faces import recipe as recipes
from frown_jax.faces.recipe import Recipe
from frown_jax.faces.sequences import SequenceRecipe
from frown_jax.runtime import cache

_Made = TypeVar("_Made")

_COMMON_SIZE = 100  # pixels, for folders whose images differ in size


def recipe_of(config: ConfigDict) -> Recipe:
    """The recipe of embedded faces in config.faces.

    Raises:
      DataError: a field is out of range; names it.
    """
    return _made(Recipe, config.faces)


def _made(kind: type[_Made], section: ConfigDict) -> _Made:
    try:
        return kind(**section.to_dict())
    except (ValueError, TypeError) as e:
        raise DataError(str(e)) from None


def _combined(config: ConfigDict) -> CombinedSource:
    parts = []
    for entry in config.parts:
        name, _, folder = str(entry).partition(":")
        if name not in DATA or name == "combined":
            known = ", ".join(d for d in DATA if d != "combined")
            raise DataError(f"--config.data.parts: {entry!r} must begin with one of {known}, then ':' and the folder")
        own = config.copy_and_resolve_references()
        own.unlock()
        own.name, own.dir, own.subjects = name, folder, ""
        parts.append(source_of(own))
    return CombinedSource(parts)


def source_of(config: ConfigDict) -> store.Source:
    """The reader of a data section.

    Raises:
      DataError: bad settings or data.
    """
    if config.name == "faces":
        return FacesSource(recipe_of(config))
    if config.name == "face_sequences":
        return FacesSource(_made(SequenceRecipe, config.sequences))
    if config.name == "combined":
        return _combined(config)
    if config.name == "actor_study":
        return ActorStudySource(config.dir, config.subjects, config.every, config.on_bad)
    if config.name == "rafdb":
        return RafDbSource(config.dir, config.on_bad)
    if config.name == "manifest":
        return ManifestSource(
            config.dir, tuple(config.classes), tuple(config.emotion_codes), tuple(config.ignore_labels), config.on_bad
        )
    if config.name == "ckplus":
        return CkPlusSource(config.dir, config.subjects, config.frames, config.neutral, config.on_bad, config.onset)
    if config.name == "cifar10s":
        return Cifar10SSource(config.dir, config.per_class)
    raise DataError(f"--config.data.name is {config.name!r}: one of {', '.join(DATA)}")


def resize(image: np.ndarray, size: int) -> np.ndarray:
    """Square resize by bilinear interpolation, antialiased when shrinking; uint8 [H, W, 3] to [size, size, 3]."""
    if image.shape[:2] == (size, size):
        return image
    return np.asarray(Image.fromarray(image).resize((size, size), Image.Resampling.BILINEAR))


def stored_size(shapes: list[tuple[int, int]], image_size: int) -> int:
    """Side of the images kept in memory: the model's, unless the images are smaller (they then grow on the device)."""
    first = shapes[0]
    common = first[0] if all(s == first for s in shapes) and first[0] == first[1] else _COMMON_SIZE
    return min(common, image_size)


def _classes(config: ConfigDict, table: pd.DataFrame) -> tuple[str, ...]:
    extra = tuple(c for c in config.classes if c not in schema.EMOTIONS)
    present = set(table["emotion"].dropna())
    return tuple(c for c in (*schema.EMOTIONS, *extra) if c in present)


def _attributes(config: ConfigDict, table: pd.DataFrame) -> tuple[dict[str, tuple[str, ...]], list[str]]:
    found = attribute_vocabularies(table)
    unknown = [a for a in config.attributes if a not in found]
    if unknown:
        raise DataError(
            f"--config.data.attributes names {', '.join(map(repr, unknown))}; this data set has "
            f"{', '.join(found) if found else 'no attributes'}"
        )
    notes = []
    if not config.attributes:
        missing = [a for a in schema.ATTRIBUTES if a not in found]
        if missing:
            notes.append(f"no {', '.join(missing)} in this data: metrics per group are not available for them")
    return ({a: found[a] for a in config.attributes} if config.attributes else found), notes


def _split(config: ConfigDict, table: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    notes: list[str] = []
    if config.test == "cohort":
        return table.assign(split="train"), notes
    by, given = tuple(config.strata), (table["split"] == "test").mean()
    absent = [column for column in by if column not in table]
    if absent:
        notes.append(f"nothing is stratified by {', '.join(absent)}: this data has no such column")
    if not given or config.test == "stratified":
        share = given or config.test_fraction
        pooled = table.assign(split=table["split"].where(table["split"] != "test", "train"))
        table, more = splits.assign(pooled, "train", "test", float(share), by, config.split_seed)
        why = "train and test are divided anew" if given else "no test images given"
        notes += [f"{why}: a stratified {share:.0%} is the test set", *more]
    if config.validation not in VALIDATIONS:
        raise DataError(f"--config.data.validation is {config.validation!r}: one of {', '.join(VALIDATIONS)}")
    if config.validation == "test":
        notes.append("validation is the TEST set, as in the first study's code: selection leaks, for comparison only")
    elif "val" not in set(table["split"]):
        if config.validation == "study":
            rows = np.flatnonzero((table["split"] == "train").to_numpy())
            split = table["split"].to_numpy(object).copy()
            split[rows[splits.study_split(len(rows))]] = "val"
            table = table.assign(split=split)
        else:
            table, more = splits.assign(table, "train", "val", config.val_fraction, by, config.split_seed)
            notes += more
    return table, notes


def _check_splits(config: ConfigDict, table: pd.DataFrame, aus: tuple[str, ...] = ()) -> None:
    """Training and validation must be able to do their work."""
    val = validation_name(config)
    for split in ("train", val):
        if split not in set(table["split"]):
            raise DataError(f"{config.name}: there are no {split} images")
    if aus:
        labels = au_labels(table[table["split"] == val], aus)
        if not ((labels == 1).any(0) & (labels == 0).any(0)).any():
            raise DataError(
                f"{config.name}: no Action Unit is both present and absent in the {val} images, so that AUROC, which "
                "early stopping looks at, is undefined; give more validation images (--config.data.val_fraction)"
            )
        return
    found = table.loc[table["split"] == val, "emotion"].dropna().unique()
    if len(found) < 2:
        raise DataError(
            f"{config.name}: all {val} images show {found[0] if len(found) else 'nothing'}, so that AUROC, which early "
            "stopping looks at, is undefined; give more validation images (--config.data.val_fraction)"
        )


def validation_name(config: ConfigDict) -> str:
    """The split that early stopping and selection look at; of members' own draws, what they are drawn from."""
    if config.test == "cohort":
        return "train"
    return "test" if config.validation == "test" else "val"


def load(config: ConfigDict, image_size: int) -> Dataset:
    """Loads the data set of a config's data section; from the cache where it was prepared before.

    Args:
      config: the `data` section.
      image_size: side of the model's input. Larger images are shrunk to it once, here.

    Raises:
      DataError: bad data or settings, with what, where and how to mend it.
    """
    source = source_of(config)
    table, images = store.read(store.prepare(source, cache.folder(config.cache_dir)))
    size = stored_size([i.shape[:2] for i in images], image_size)
    pixels = np.stack([resize(i, size) for i in images])
    return _dataset(config, table, pixels, (source.fingerprint, size), getattr(source, "notes", ()))


def without_pixels(config: ConfigDict) -> Dataset:
    """The data set that `load` would give, its images of side 0; nothing is rendered.

    Raises:
      DataError: bad data or settings.
    """
    if config.name == "faces":
        table = recipes.labels(recipe_of(config))
    elif config.name == "rafdb" and not config.dir:  # the embedded faces' default recipe has its cells
        train, test = (int(schema.RAFDB_EMOTIONS[split].sum()) for split in ("train", "test"))
        table = recipes.labels(Recipe(train=train, test=test)).drop(columns="subject")
    else:
        table = source_of(config).table
    return _dataset(config, table, np.zeros((len(table), 0, 0, 3), np.uint8), (), ())


def _emotions(config: ConfigDict, table: pd.DataFrame) -> tuple[tuple[str, ...], np.ndarray, list[str]]:
    """The classes, which images have one, and what is left out."""
    if "emotion" not in table or table["emotion"].isna().all():
        raise DataError(f"{config.name}: no emotion labels; --config.data.target=aus predicts Action Units")
    classes = _classes(config, table)
    labelled = table["emotion"].isin(classes).to_numpy()
    without, others = table["emotion"].isna().sum(), table.loc[~labelled, "emotion"].dropna().unique()
    left = [f"{without:,} images without an emotion"] * bool(without)
    left += [f"{', '.join(others)} (--config.data.classes keeps them)"] * bool(len(others))
    return classes, labelled, [f"left out: {'; '.join(left)}"] * bool(left)


def _dataset(config: ConfigDict, table: pd.DataFrame, pixels: np.ndarray, made_of: tuple, notes: tuple) -> Dataset:
    counts = None
    if config.target == "aus":
        classes, counts, found = units.select(table, tuple(config.aus), config.min_occurrences, config.name)
        labelled = units.labelled(table, classes)
        without = int((~labelled).sum())
        found += [f"left out: {without:,} images of which no Action Unit is known"] * bool(without)
    else:
        classes, labelled, found = _emotions(config, table)
    notes = (*notes, *found)
    table, pixels = table[labelled].reset_index(drop=True), pixels[labelled] if not labelled.all() else pixels
    table, split_notes = _split(config, table)
    _check_splits(config, table, classes if counts is not None else ())
    attributes, attribute_notes = _attributes(config, table)
    return Dataset(
        name=config.name,
        table=table,
        images=pixels,
        classes=classes,
        attributes=attributes,
        fingerprint=store.hash_of(*made_of, config.validation, table[["id", "split"]].to_csv()),
        notes=(*notes, *split_notes, *attribute_notes),
        multilabel=counts is not None,
        occurrences=counts,
    )
