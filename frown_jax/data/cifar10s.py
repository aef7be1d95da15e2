"""CIFAR-10S (Wang et al. 2020): CIFAR-10 whose classes lean to colour or to grey, tested on both.

The folder has train/<class>/*.png or .jpg and test/<class>/..., or that packed as images.tar, .tar.gz or .tar.xz; or
tensorflow-datasets has the images.
"""

from __future__ import annotations

import functools
import hashlib
import io
import pathlib
import tarfile
from collections.abc import Iterable, Iterator
from typing import Protocol

import numpy as np
import pandas as pd
import tensorflow_datasets as tfds
from PIL import Image

from frown_jax.errors import DataError

CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
# The first five classes are mostly colour, the others mostly grey: the split by class is ours, the share theirs.
MOSTLY_COLOUR = CLASSES[:5]
COLOUR, GREY = "colour", "grey"
SHARE = 0.95
_ARCHIVES = ("images.tar.xz", "images.tar.gz", "images.tar")
_ENDINGS = (".png", ".jpg", ".jpeg")


class Files(Protocol):
    """Image files by name, SPLIT/CLASS/FILE."""

    def names(self) -> Iterable[str]: ...

    def read(self, wanted: set[str]) -> dict[str, bytes]: ...


class Folder:
    """Folders of classes."""

    def __init__(self, root: pathlib.Path):
        self._root = root

    def names(self) -> Iterator[str]:
        files = (p for p in self._root.rglob("*") if p.suffix.lower() in _ENDINGS)
        yield from (p.relative_to(self._root).as_posix() for p in files)

    def read(self, wanted: set[str]) -> dict[str, bytes]:
        return {n: (self._root / n).read_bytes() for n in wanted}


class Archive:
    """The same in a tar."""

    def __init__(self, path: pathlib.Path):
        self._path = path

    def names(self) -> Iterator[str]:
        with tarfile.open(self._path) as archive:
            yield from (m.name for m in archive if m.isfile() and m.name.lower().endswith(_ENDINGS))

    def read(self, wanted: set[str]) -> dict[str, bytes]:
        out = {}
        with tarfile.open(self._path) as archive:
            for member in archive:
                file = archive.extractfile(member) if member.name in wanted else None
                if file is not None:
                    out[member.name] = file.read()
        return out


class Tfds:
    """tensorflow-datasets' cifar10, downloaded and prepared by it where it is not yet."""

    def __init__(self, data_dir: str):
        self._data_dir = data_dir or None

    @functools.cached_property
    def _files(self) -> dict[str, bytes]:
        source = tfds.data_source("cifar10", data_dir=self._data_dir)
        out = {}
        for split in ("train", "test"):
            for example in source[split]:
                buffer = io.BytesIO()
                Image.fromarray(example["image"]).save(buffer, "PNG", compress_level=1)
                name = example["id"].decode() if isinstance(example["id"], bytes) else str(example["id"])
                out[f"{split}/{CLASSES[int(example['label'])]}/{name}.png"] = buffer.getvalue()
        return out

    def names(self) -> Iterable[str]:
        return self._files

    def read(self, wanted: set[str]) -> dict[str, bytes]:
        return {n: self._files[n] for n in wanted}


def _files(place: str) -> Files:
    kind, _, rest = place.partition(":")
    if kind == "tfds":
        return Tfds(rest)
    root = pathlib.Path(place).expanduser()
    if not place or not root.is_dir():
        raise DataError(
            f"--config.data.dir={place}: the folder of CIFAR-10, with train/<class>/ and test/<class>/, or with "
            "images.tar.xz of them; or tfds, or tfds:DATA_DIR"
        )
    archive = next((root / a for a in _ARCHIVES if (root / a).is_file()), None)
    return Folder(root) if archive is None else Archive(archive)


class Cifar10SSource:
    """Implements store.Source.

    Every test image is there twice, in colour and in grey. Training images of a class are chosen for the rarer domain
    at random by `seed`.
    """

    name = "cifar10s"

    def __init__(self, folder: str, per_class: int = 0, seed: int = 0):
        """Lists the images.

        Args:
          folder: with train and test, or with the archive; 'tfds' or 'tfds:DATA_DIR': tensorflow-datasets' copy.
          per_class: training images of each class that are used; 0 is all. Of the test images, a fifth as many.
          seed: which ones, and which of them are of the rarer domain.

        Raises:
          DataError: no such folder, or a class without images.
        """
        self._files = _files(folder)
        names = sorted(self._files.names())
        rng = np.random.default_rng(seed)
        frames = []
        for split, limit in (("train", per_class), ("test", -(-per_class // 5))):
            for label, kind in enumerate(CLASSES):
                own = [n for n in names if pathlib.PurePosixPath(n).parts[-3:-1] == (split, kind)]
                if not own:
                    raise DataError(f"{folder}: there are no images {split}/{kind}/*{'|'.join(_ENDINGS)}")
                own = [own[i] for i in rng.permutation(len(own))[: limit or None]]
                grey = np.zeros(len(own), bool)
                if split == "train":
                    few = round(len(own) * (1 - SHARE))
                    grey[:few] = True
                    grey = grey if kind in MOSTLY_COLOUR else ~grey
                    frames.append(self._rows(own, split, label, grey))
                else:
                    frames += [self._rows(own, split, label, np.full(len(own), g)) for g in (False, True)]
        self.table = pd.concat(frames, ignore_index=True)
        listed = "\n".join([*names, str(per_class), str(seed), str(SHARE)])
        self.fingerprint = hashlib.sha256(listed.encode()).hexdigest()[:12]

    @staticmethod
    def _rows(names: list[str], split: str, label: int, grey: np.ndarray) -> pd.DataFrame:
        domain = np.where(grey, GREY, COLOUR).astype(object)
        ids = [f"{n}:{d}" if split == "test" else n for n, d in zip(names, domain, strict=True)]
        return pd.DataFrame({"id": ids, "split": split, "emotion": CLASSES[label], "domain": domain})

    def encoded_images(self, rows: np.ndarray) -> Iterator[bytes]:
        """PNG files, grey ones with three equal channels."""
        part = self.table.iloc[rows]
        names = [i.rpartition(":")[0] if s == "test" else i for i, s in zip(part["id"], part["split"], strict=True)]
        files = self._files.read(set(names))
        for name, domain in zip(names, part["domain"], strict=True):
            image = Image.open(io.BytesIO(files[name])).convert("RGB")
            if domain == GREY:
                image = image.convert("L").convert("RGB")
            buffer = io.BytesIO()
            image.save(buffer, "PNG", compress_level=1)
            yield buffer.getvalue()
