"""Reader of any data set that is a folder with a `labels.csv`: docs/data.md tells the format."""

from __future__ import annotations

import io
import pathlib
import re
from collections.abc import Iterator, Mapping
from types import MappingProxyType

import numpy as np
import pandas as pd
from PIL import Image

from frown_jax import schema
from frown_jax.data import names
from frown_jax.data.dataset import AU_COLUMN
from frown_jax.data.problems import Problems
from frown_jax.data.store import decode, hash_of
from frown_jax.errors import DataError

FORMAT = """labels.csv needs a header and a row per image:
  path      image file, relative to the folder (or: pixels, a square grey image as space-separated 0-255)
  emotion   a name (Surprise, Fear, Disgust, Happiness, Sadness, Anger, Neutral and their common variants)
  split     train, val or test (optional: a test split is drawn where it is missing)
and optionally subject, race, gender, age, any other attribute, and AU1, AU2, ... (1, 0; -1, 9 or blank: unknown)."""

_HEADERS = {"image": "path", "file": "path", "filename": "path", "label": "emotion", "usage": "split"}
_AU_HEADER = re.compile(r"au_?0*(\d+)$", re.IGNORECASE)
_MAX_GROUPS = 100


class ManifestSource:
    """Implements store.Source.

    Args:
      folder: holds labels.csv.
      classes: accepted emotion names beyond the seven (Contempt, say); empty for the seven.
      emotion_codes: names of integer labels 0, 1, ... where the CSV has numbers.
      ignore: emotion names whose rows are left out on purpose.
      on_bad: 'error' or 'skip'.
      headers: other names of columns, {'frame': 'path'}.
    """

    name = "manifest"

    def __init__(
        self,
        folder: str,
        classes: tuple[str, ...] = (),
        emotion_codes: tuple[str, ...] = (),
        ignore: tuple[str, ...] = (),
        on_bad: str = "error",
        headers: Mapping[str, str] = MappingProxyType({}),
    ):
        if not folder:
            raise DataError(f"--config.data.dir is not set: give the folder that holds labels.csv.\n\n{FORMAT}")
        self.folder = pathlib.Path(folder).expanduser()
        self.path = self.folder / "labels.csv"
        if not self.path.is_file():
            raise DataError(f"--config.data.dir={folder}: there is no {self.path}.\n\n{FORMAT}")
        self._emotions = {**names.EMOTIONS, **{c.lower(): c for c in classes}}
        self._codes, self._ignore = emotion_codes, {i.lower() for i in ignore}
        self._ignored, self._headers = 0, {**_HEADERS, **headers}
        self.problems = Problems(on_bad)
        raw = self._read_csv()
        self._files: list[pathlib.Path | str] = []
        rows = []
        for line, record in enumerate(raw.to_dict("records"), 2):
            row = self._row(f"{self.path}:{line}", line, {str(k): str(v) for k, v in record.items()})
            if row is not None:
                rows.append(row)
        self.table = pd.DataFrame(rows)
        self.problems.settle(f"manifest {self.path}", remaining=len(rows))
        self._check_attributes()
        self.notes = tuple(self.problems.notes())
        if self._ignored:
            self.notes += (f"{self._ignored:,} rows with data.ignore_labels={tuple(ignore)} left out",)
        self.fingerprint = hash_of("manifest", self.table.to_csv(), *(self._stamp(f) for f in self._files))

    def _read_csv(self) -> pd.DataFrame:
        try:
            raw = pd.read_csv(self.path, dtype=str, keep_default_na=False, encoding="utf-8-sig")
        except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as e:
            raise DataError(f"{self.path}: not a readable CSV ({str(e).strip()}).\n\n{FORMAT}") from None
        names = {}
        for column in raw.columns:
            lowered = column.strip().lower()
            au = _AU_HEADER.fullmatch(lowered)
            known = {"emotion", "split", "subject", "path", "pixels", *schema.ATTRIBUTES, *self._headers}
            names[column] = (
                f"AU{au[1]}" if au else self._headers.get(lowered, lowered if lowered in known else column.strip())
            )
        raw = raw.rename(columns=names)
        twice = raw.columns[raw.columns.duplicated()]
        if len(twice):
            raise DataError(f"{self.path}:1: column {twice[0]!r} occurs twice")
        if "path" not in raw and "pixels" not in raw:
            raise DataError(f"{self.path}:1: no column 'path' or 'pixels'; found {', '.join(raw.columns)}.\n\n{FORMAT}")
        self._has_units = any(AU_COLUMN.fullmatch(c) for c in raw.columns)
        if "emotion" not in raw and not self._has_units:
            raise DataError(f"{self.path}:1: no column 'emotion'; found {', '.join(raw.columns)}.\n\n{FORMAT}")
        return raw

    def _row(self, where: str, line: int, record: dict[str, str]) -> dict | None:
        out: dict[str, object] = {"id": f"row{line:06d}"}
        split = record.get("split", "").strip()
        if split and split.lower() not in names.SPLITS:
            self.problems.add(where, f"split {split!r} is none of train, val, test")
            return None
        out["split"] = names.SPLITS[split.lower()] if split else "train"
        if "emotion" in record:
            text = record["emotion"].strip()
            emotion = self._emotion(where, text) if text or not self._has_units else None
            if emotion is None and (text or not self._has_units):
                return None
            out["emotion"] = emotion
        source = self._image(where, record)
        if source is None:
            return None
        if isinstance(source, pathlib.Path):
            out["id"] = record["path"].strip()
        for column, text in record.items():
            if column in ("path", "pixels", "split", "emotion", "id"):
                continue
            if AU_COLUMN.fullmatch(column):
                if text.strip() not in ("1", "0", "-1", "9", "", "1.0", "0.0"):
                    self.problems.add(where, f"{column} is {text!r}: 1, 0, or -1, 9 or blank for unknown")
                    return None
                out[column] = {"1": 1.0, "0": 0.0}.get(text.strip()[:1] if text.strip() != "-1" else "", np.nan)
            else:
                out[column] = names.attribute(column, text.strip())
        self._files.append(source)
        return out

    def _emotion(self, where: str, text: str) -> str | None:
        if text.isdigit():
            if not self._codes:
                self.problems.add(
                    where,
                    f"emotion is the number {text}: name the codes with --config.data.emotion_codes=('Anger',...)",
                )
                return None
            if int(text) >= len(self._codes):
                self.problems.add(where, f"emotion {text}: data.emotion_codes names only 0 to {len(self._codes) - 1}")
                return None
            text = self._codes[int(text)]
        if text.lower() in self._ignore:
            self._ignored += 1
            return None
        found = self._emotions.get(text.lower())
        if found is None:
            self.problems.add(
                where,
                f"emotion {text!r} is none of {', '.join(dict.fromkeys(self._emotions.values()))}; accept it with "
                f"--config.data.classes=('{text}',) or leave it out with --config.data.ignore_labels=('{text}',)",
            )
        return found

    def _image(self, where: str, record: dict[str, str]) -> pathlib.Path | str | None:
        path = record.get("path", "").strip()
        try:
            if not path:
                pixels = record.get("pixels", "").strip()
                if not pixels:
                    raise DataError(f"{where}: neither path nor pixels")
                _from_pixels(pixels, where)
                return pixels
            full = self._inside(where, path)
            decode(full.read_bytes(), f"{where}: {full}")
            return full
        except DataError as e:
            self.problems.add(where, str(e).removeprefix(f"{where}: "))
            return None

    def _inside(self, where: str, path: str) -> pathlib.Path:
        """A file of the data folder.

        Raises:
          DataError: it leaves the folder, or is not there.
        """
        try:
            full = (self.folder / path).resolve()
            if not full.is_relative_to(self.folder.resolve()):
                raise DataError(f"{where}: path {path!r} leaves the data folder")
            if full.is_file():
                return full
        except (OSError, ValueError) as e:  # too long, or with a null byte
            if isinstance(e, DataError):
                raise
            raise DataError(f"{where}: {path[:80]!r} is no file name") from None
        raise DataError(f"{where}: no image {full}")

    def _check_attributes(self) -> None:
        for column in self.table.columns:
            if column in schema.RESERVED_COLUMNS or AU_COLUMN.fullmatch(column):
                continue
            count = self.table[column].nunique()
            if count > _MAX_GROUPS:
                raise DataError(
                    f"{self.path}: column {column!r} has {count:,} different values, too many for an attribute; "
                    "remove it, or call it 'subject' if it names people"
                )

    @staticmethod
    def _stamp(source: pathlib.Path | str) -> object:
        if isinstance(source, str):
            return hash_of(source)
        stat = source.stat()
        return stat.st_size, stat.st_mtime_ns

    def encoded_images(self, rows: np.ndarray) -> Iterator[bytes]:
        for row in rows:
            source = self._files[row]
            if isinstance(source, pathlib.Path):
                yield source.read_bytes()
            else:
                buffer = io.BytesIO()
                Image.fromarray(_from_pixels(source, "pixels")).save(buffer, "PNG")
                yield buffer.getvalue()


def _from_pixels(text: str, where: str) -> np.ndarray:
    """A square grey image from space-separated integers, uint8 [side, side]."""
    try:
        values = np.array(text.split(), np.int64)
    except (ValueError, OverflowError):
        raise DataError(f"{where}: pixels must be integers") from None
    side = round(len(values) ** 0.5)
    if side * side != len(values) or not side:
        raise DataError(f"{where}: {len(values)} pixels do not make a square")
    if values.min() < 0 or values.max() > 255:
        raise DataError(f"{where}: pixels must be 0 to 255")
    return values.astype(np.uint8).reshape(side, side)
