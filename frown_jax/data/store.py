"""The prepared data sets on disk: tfds builders in array_record format, made and read without TensorFlow."""

from __future__ import annotations

import concurrent.futures
import contextlib
import hashlib
import io
import logging
import math
import os
import pathlib
from collections.abc import Iterator
from typing import Any, Protocol

import numpy as np
import pandas as pd
import tensorflow_datasets as tfds
from absl import logging as absl_logging
from PIL import Image

from frown_jax import schema
from frown_jax.errors import DataError
from frown_jax.runtime import lease

MAX_PIXELS = 64_000_000  # a larger image is refused before it is decoded


class Source(Protocol):
    """What a builder writes: the table (column `split` decides the tfds split), and an encoded image per row."""

    name: str
    fingerprint: str

    @property
    def table(self) -> pd.DataFrame:
        """One row per image."""

    def encoded_images(self, rows: np.ndarray) -> Iterator[bytes]:
        """The image files of the given rows, in that order."""


def _feature(column: pd.Series) -> tfds.features.FeatureConnector:
    if pd.api.types.is_integer_dtype(column):
        return tfds.features.Scalar(np.int64)
    if pd.api.types.is_float_dtype(column):
        return tfds.features.Scalar(np.float64)
    return tfds.features.Text()


class _TableBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):
    """One record per row: the encoded image and every column of the table, plus its row number.

    tfds shuffles at preparation, so the row number is what restores the order. Text has no missing value in tfds:
    missing strings are stored empty.
    """

    VERSION = tfds.core.Version("1.0.0")

    def __init__(self, source: Source, data_dir: str | os.PathLike):
        self._source = source
        config = tfds.core.BuilderConfig(name=source.fingerprint)
        super().__init__(config=config, data_dir=os.fspath(data_dir), file_format="array_record")

    def _info(self) -> tfds.core.DatasetInfo:
        columns = {name: _feature(column) for name, column in self._source.table.items()}
        features = {"row": np.int64, "image": tfds.features.Image(shape=(None, None, 3)), **columns}
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features))

    def _split_generators(self, dl_manager: Any) -> dict[str, Iterator]:
        del dl_manager
        split = self._source.table["split"].to_numpy()
        return {str(name): self._generate_examples(np.flatnonzero(split == name)) for name in np.unique(split)}

    def _generate_examples(self, rows: np.ndarray) -> Iterator[tuple[int, dict]]:
        table = self._source.table
        text = {c for c in table.columns if not pd.api.types.is_numeric_dtype(table[c])}
        records = table.iloc[rows].to_dict("records")
        for i, record, data in zip(rows, records, self._source.encoded_images(rows), strict=True):
            values = {k: ("" if pd.isna(v) else str(v)) if k in text else v for k, v in record.items()}
            yield int(i), {"row": int(i), "image": io.BytesIO(data), **values}


class Faces(_TableBuilder, skip_registration=True):
    """Embedded faces, rendered from a recipe."""


class FaceSequences(_TableBuilder, skip_registration=True):
    """Embedded faces from onset to apex."""


class ActorStudy(_TableBuilder, skip_registration=True):
    """Actor Study (Seuss et al. 2019), or any frames with a table of Action Units."""


class Combined(_TableBuilder, skip_registration=True):
    """Several data sets as one."""


class RafDb(_TableBuilder, skip_registration=True):
    """RAF-DB basic, single-label subset (Li, Deng & Du 2017)."""


class CkPlus(_TableBuilder, skip_registration=True):
    """CK+ (Lucey et al. 2010)."""


class Manifest(_TableBuilder, skip_registration=True):
    """Any folder of images with a labels.csv."""


class Cifar10s(_TableBuilder, skip_registration=True):
    """CIFAR-10S."""


_BUILDERS: dict[str, type[_TableBuilder]] = {
    "faces": Faces,
    "face_sequences": FaceSequences,
    "actor_study": ActorStudy,
    "combined": Combined,
    "rafdb": RafDb,
    "ckplus": CkPlus,
    "manifest": Manifest,
    "cifar10s": Cifar10s,
}


def decode(data: bytes, name: str) -> np.ndarray:
    """Decodes an image file to uint8 [H, W, 3] sRGB.

    Raises:
      DataError: not an image, truncated, or absurdly large; names the file.
    """
    try:
        with Image.open(io.BytesIO(data)) as image:
            if image.width * image.height > MAX_PIXELS:
                raise DataError(f"{name}: {image.width} x {image.height} pixels is more than {MAX_PIXELS:,}")
            return np.asarray(image.convert("RGB"))
    except DataError:
        raise
    except Exception as e:  # Pillow's decoders raise many kinds
        raise DataError(f"{name}: not a readable image ({e})") from None


class _WithoutTfds(logging.Filter):
    """Drops tfds's own log lines: they speak of downloads and configurations that do not exist here."""

    def filter(self, record: logging.LogRecord) -> bool:
        return "tensorflow_datasets" not in record.pathname


@contextlib.contextmanager
def _quiet_tfds() -> Iterator[None]:
    tfds.disable_progress_bar()
    quiet = _WithoutTfds()
    logger = absl_logging.get_absl_logger()
    logger.addFilter(quiet)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        logger.removeFilter(quiet)


def prepare(source: Source, cache_dir: pathlib.Path) -> tfds.core.DatasetBuilder:
    """Writes the data set into the cache unless it is there already; waits for another process that is at it.

    tfds writes to a temporary folder and renames it, so that an interrupted preparation is never taken for a
    finished one.
    """
    kind = _BUILDERS[source.name]
    finished = cache_dir / "tfds" / kind.name / source.fingerprint / str(kind.VERSION)
    with _quiet_tfds(), lease.hold(finished.parent.with_suffix(".lease"), patience=math.inf):
        if not (finished / "dataset_info.json").exists():
            builder = kind(source, data_dir=cache_dir / "tfds")
            config = tfds.download.DownloadConfig(num_shards=1)
            builder.download_and_prepare(download_config=config, file_format="array_record")
        return tfds.builder_from_directory(finished)


def _column_order(name: str) -> tuple[int, int, str]:
    """Identity first, then attributes, then AUs by number (tfds keeps no order of features)."""
    first = ("id", "split", "subject", "emotion", *schema.ATTRIBUTES)
    if name in first:
        return 0, first.index(name), name
    return (2, int(name[2:]), name) if name.startswith("AU") and name[2:].isdigit() else (1, 0, name)


def read(builder: tfds.core.DatasetBuilder) -> tuple[pd.DataFrame, list[np.ndarray]]:
    """Reads a prepared data set back, in the order of its source's table.

    Returns:
      The table, and one uint8 [H, W, 3] image per row.
    """
    decoders = {"image": tfds.decode.SkipDecoding()}
    sources = [builder.as_data_source(split=name, decoders=decoders) for name in builder.info.splits]
    records = sorted((s[i] for s in sources for i in range(len(s))), key=lambda r: int(r["row"]))
    names = sorted((c for c in builder.info.features if c not in ("row", "image")), key=_column_order)
    columns = {}
    for name in names:
        values = [r[name] for r in records]
        if isinstance(builder.info.features[name], tfds.features.Text):
            values = [v.decode() if isinstance(v, bytes) else str(v) for v in values]
            columns[name] = pd.Series([v or None for v in values], dtype=object)
        else:
            columns[name] = pd.Series(np.array(values))
    table = pd.DataFrame(columns)
    with concurrent.futures.ThreadPoolExecutor() as pool:
        images = list(pool.map(lambda r: decode(bytes(r["image"]), str(r.get("id", r["row"]))), records))
    return table, images


def hash_of(*parts: object) -> str:
    """12 hex digits of the parts' text."""
    return hashlib.sha256("\n".join(map(str, parts)).encode()).hexdigest()[:12]
