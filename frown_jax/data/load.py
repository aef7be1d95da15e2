"""From a config's data section to a Dataset: read or render, cache, resize, split."""

from __future__ import annotations

import numpy as np
import pandas as pd
from ml_collections import ConfigDict
from PIL import Image

from frown_jax import cache, schema
from frown_jax.config import DATA, VALIDATIONS
from frown_jax.data import splits, store
from frown_jax.data.cifar10s import Cifar10SSource
from frown_jax.data.dataset import DataError, Dataset, attribute_vocabularies
from frown_jax.data.faces_source import FacesSource
from frown_jax.data.manifest import ManifestSource
from frown_jax.data.rafdb import RafDbSource
from frown_jax.faces.recipe import Recipe

_COMMON_SIZE = 100  # pixels, for folders whose images differ in size


def recipe_of(config: ConfigDict) -> Recipe:
    """The recipe of embedded faces in config.faces.

    Raises:
      DataError: a field is out of range; names it.
    """
    try:
        return Recipe(**config.faces.to_dict())
    except (ValueError, TypeError) as e:
        raise DataError(str(e)) from None


def _source(config: ConfigDict) -> store.Source:
    if config.name == "faces":
        return FacesSource(recipe_of(config))
    if config.name == "rafdb":
        return RafDbSource(config.dir, config.on_bad)
    if config.name == "manifest":
        return ManifestSource(
            config.dir, tuple(config.classes), tuple(config.emotion_codes), tuple(config.ignore_labels), config.on_bad
        )
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
    if "test" not in set(table["split"]):
        table, more = splits.assign(
            table, "train", "test", config.test_fraction, ("emotion", "race"), config.split_seed
        )
        notes += [f"no test images given: a stratified {config.test_fraction:.0%} of train is used", *more]
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
            by = ("emotion", "race")
            table, more = splits.assign(table, "train", "val", config.val_fraction, by, config.split_seed)
            notes += more
    return table, notes


def _check_splits(config: ConfigDict, table: pd.DataFrame) -> None:
    """Training and validation must be able to do their work."""
    val = validation_name(config)
    for split in ("train", val):
        if split not in set(table["split"]):
            raise DataError(f"{config.name}: there are no {split} images")
    found = table.loc[table["split"] == val, "emotion"].dropna().unique()
    if len(found) < 2:
        raise DataError(
            f"{config.name}: all {val} images show {found[0] if len(found) else 'nothing'}, so that AUROC, which early "
            "stopping looks at, is undefined; give more validation images (--config.data.val_fraction)"
        )


def validation_name(config: ConfigDict) -> str:
    """The split that early stopping and selection look at."""
    return "test" if config.validation == "test" else "val"


def load(config: ConfigDict, image_size: int) -> Dataset:
    """Loads the data set of a config's data section; from the cache where it was prepared before.

    Args:
      config: the `data` section.
      image_size: side of the model's input. Larger images are shrunk to it once, here.

    Raises:
      DataError: bad data or settings, with what, where and how to mend it.
    """
    source = _source(config)
    table, images = store.read(store.prepare(source, cache.folder(config.cache_dir)))
    if "emotion" not in table:
        raise DataError(f"{config.name}: no emotion labels")
    size = stored_size([i.shape[:2] for i in images], image_size)
    table, split_notes = _split(config, table)
    _check_splits(config, table)
    attributes, attribute_notes = _attributes(config, table)
    pixels = np.stack([resize(i, size) for i in images])
    return Dataset(
        name=config.name,
        table=table,
        images=pixels,
        classes=_classes(config, table),
        attributes=attributes,
        fingerprint=store.hash_of(source.fingerprint, size, config.validation, table[["id", "split"]].to_csv()),
        notes=(*getattr(source, "notes", ()), *split_notes, *attribute_notes),
    )
