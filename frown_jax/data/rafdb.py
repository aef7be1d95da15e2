"""Reader of RAF-DB basic (Li, Deng & Du 2017), which its users request from its authors.

Accepts the official tree and the flattened one of the "Frowning upon Bias" repository:

    basic/EmoLabel/list_patition_label.txt       or  list_partition_label.txt at the top
    basic/Image/aligned/train_00001_aligned.jpg  or  aligned_train/, aligned_test/, aligned/
    basic/Annotation/manual/train_00001_manu_attri.txt  or  manual/
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterator

import numpy as np
import pandas as pd

from frown_jax import schema
from frown_jax.data.problems import Problems
from frown_jax.data.store import decode, hash_of
from frown_jax.errors import DataError

HOW_TO_GET = """RAF-DB is licensed for non-commercial research and is not shipped. Request it from its authors
(http://www.whdeng.cn/RAF/model1.html), unpack the "basic" part, and give its folder:

  python launch.py --config=configs/baseline.py:rafdb --config.data.dir=DIR

DIR (or DIR/basic) must hold
  EmoLabel/list_patition_label.txt           lines "train_00001.jpg 5", labels 1 to 7
  Image/aligned/train_00001_aligned.jpg      12,271 train and 3,068 test images, 100 x 100
  Annotation/manual/train_00001_manu_attri.txt   gender, race and age on its last three lines
The flattened folders aligned_train/, aligned_test/, manual/ with the label file at the top work too."""

_LABEL_FILES = ("list_patition_label.txt", "list_partition_label.txt")
_LABEL_FOLDERS = ("EmoLabel", ".")
_IMAGE_FOLDERS = ("Image/aligned", "aligned", "aligned_{split}", "aligned/{split}")
_ANNOTATION_FOLDERS = ("Annotation/manual", "manual")
_NAME = re.compile(r"(train|test)_(\d{4,5})$")
_PUBLISHED = {"train": 12271, "test": 3068}


def find_root(folder: str) -> tuple[pathlib.Path, pathlib.Path]:
    """The folder that holds RAF-DB basic, and its label file.

    Raises:
      DataError: no label file is there; says how to get the data and how it must lie.
    """
    if not folder:
        raise DataError(f"--config.data.dir is not set.\n\n{HOW_TO_GET}")
    given = pathlib.Path(folder).expanduser()
    for root in (given, given / "basic"):
        for sub in _LABEL_FOLDERS:
            for name in _LABEL_FILES:
                if (root / sub / name).is_file():
                    return root, root / sub / name
    what = "does not exist" if not given.exists() else f"holds no {' or '.join(_LABEL_FILES)}"
    raise DataError(f"--config.data.dir={folder} {what}.\n\n{HOW_TO_GET}")


class RafDbSource:
    """Implements store.Source.

    Attributes:
      table: id, split, emotion, race, gender, age; rows in the label file's order.
      problems: what is wrong with the data, by file and line.
      notes: counts that differ from the published ones.
    """

    name = "rafdb"

    def __init__(self, folder: str, on_bad: str = "error"):
        self._root, self._labels = find_root(folder)
        self.problems = Problems(on_bad)
        rows = [row for row in self._label_rows() if row is not None]
        self._files = [row.pop("_file") for row in rows]
        self.table = pd.DataFrame(rows)
        self.problems.settle(f"RAF-DB in {self._root}", remaining=len(self.table))
        self.notes = (*self.problems.notes(), *_count_notes(self.table))
        stats = [f.stat() for f in self._files]
        self.fingerprint = hash_of("rafdb", self.table.to_csv(), [(s.st_size, s.st_mtime_ns) for s in stats])

    def _label_rows(self) -> Iterator[dict | None]:
        text = self._labels.read_text(encoding="utf-8-sig", errors="replace")
        seen: dict[str, int] = {}
        for number, line in enumerate(text.splitlines(), 1):
            if not line.strip():
                continue
            where = f"{self._labels}:{number}"
            parts = line.split()
            stem = parts[0].removesuffix(".jpg").removesuffix("_aligned")
            match = _NAME.fullmatch(stem)
            if len(parts) != 2 or match is None:
                self.problems.add(where, f"expected 'train_00001.jpg 5', found {line.strip()!r}")
            elif parts[1] not in {"1", "2", "3", "4", "5", "6", "7"}:
                self.problems.add(where, f"label {parts[1]!r} is not 1 to 7")
            elif stem in seen:
                self.problems.add(where, f"{stem} is listed on line {seen[stem]} already")
            else:
                seen[stem] = number
                yield self._row(where, stem, match[1], int(parts[1]))
        if not text.strip():
            self.problems.add(str(self._labels), "the label file is empty")

    def _row(self, where: str, stem: str, split: str, label: int) -> dict | None:
        image = self._find(_IMAGE_FOLDERS, split, (f"{stem}_aligned.jpg", f"{stem}.jpg"))
        if image is None:
            self.problems.add(where, f"no image {stem}_aligned.jpg under {self._root}")
            return None
        try:
            decode(image.read_bytes(), str(image))
        except DataError as e:
            self.problems.add(str(image), str(e).partition(": ")[2])
            return None
        attributes = self._attributes(where, stem, split)
        if attributes is None:
            return None
        return {"id": stem, "split": split, "emotion": schema.EMOTIONS[label - 1], **attributes, "_file": image}

    def _find(self, folders: tuple[str, ...], split: str, names: tuple[str, ...]) -> pathlib.Path | None:
        for folder in folders:
            for name in names:
                path = self._root / folder.format(split=split) / name
                if path.is_file():
                    return path
        return None

    def _attributes(self, where: str, stem: str, split: str) -> dict[str, str] | None:
        path = self._find(_ANNOTATION_FOLDERS, split, (f"{stem}_manu_attri.txt",))
        if path is None:
            self.problems.add(where, f"no annotation {stem}_manu_attri.txt under {self._root}")
            return None
        # Five landmark lines "x<tab or space>y" come first; the last three numbers are the attributes.
        values = path.read_text(errors="replace").split()[-3:]
        if len(values) < 3:
            self.problems.add(str(path), f"expected 8 lines ending in gender, race, age; found {len(values)} numbers")
            return None
        out = {}
        for k, name in enumerate(("gender", "race", "age")):
            vocabulary = schema.ATTRIBUTES[name]
            if values[k] not in {str(code) for code in range(len(vocabulary))}:
                line = path.read_text(errors="replace").rstrip().count("\n") - 1 + k
                self.problems.add(f"{path}:{line}", f"{name} {values[k]!r} is not 0 to {len(vocabulary) - 1}")
                return None
            out[name] = vocabulary[int(values[k])]
        return {name: out[name] for name in schema.ATTRIBUTES}

    def encoded_images(self, rows: np.ndarray) -> Iterator[bytes]:
        for row in rows:
            yield self._files[row].read_bytes()


def _count_notes(table: pd.DataFrame) -> list[str]:
    """Differences to the published composition."""
    notes = []
    for split, published in _PUBLISHED.items():
        here = table[table["split"] == split]
        if len(here) != published:
            notes.append(f"RAF-DB {split}: {len(here):,} images, published {published:,}")
            continue
        emotions = here["emotion"].value_counts().reindex(schema.EMOTIONS, fill_value=0).to_numpy()
        for name, found, expected in zip(schema.EMOTIONS, emotions, schema.RAFDB_EMOTIONS[split], strict=True):
            if found != expected:
                notes.append(f"RAF-DB {split} {name}: {found:,} images, published {expected:,}")
        cells = schema.rafdb_cells(split)
        for (r, g, a), expected in np.ndenumerate(cells):
            race, gender, age = schema.RACES[r], schema.GENDERS[g], schema.AGES[a]
            count = int(((here["race"] == race) & (here["gender"] == gender) & (here["age"] == age)).sum())
            if count != expected:
                notes.append(f"RAF-DB {split} {race} {gender} {age}: {count:,} images, published {expected:,}")
    return notes
