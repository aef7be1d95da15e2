"""Writes the labels.csv of a manifest from the label files that DISFA and BP4D ship.

  python -m frown_jax.convert --format=disfa --labels=DISFA/ActionUnit_Labels --images=FRAMES
  python -m frown_jax.convert --format=bp4d --labels=BP4D/AUCoding/AU_OCC --images=BP4D/Images

FRAMES/labels.csv is what it leaves; --config=configs/au_gender.py:manifest --config.data.dir=FRAMES reads it.

DISFA ships videos: extract the frames of the left camera first, cropped to faces, as FRAMES/SN001/1.jpg or
SN001/0001.jpg. Its intensities are 0 to 5; --threshold=2 (default) counts 2 and more as present, others use 1. BP4D's
columns are 1, 0 and 9 (not coded: unknown); its subjects' names tell the gender, F001 to F023 and M001 to M018.
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Callable, Iterator

import pandas as pd
from absl import flags, logging

from frown_jax.data.problems import Problems
from frown_jax.errors import DataError
from frown_jax.runtime import command

_FORMAT = flags.DEFINE_enum("format", None, ["disfa", "bp4d"], "Whose label files they are.")
_LABELS = flags.DEFINE_string("labels", None, "Folder of the label files.")
_IMAGES = flags.DEFINE_string("images", None, "Folder of the frames; labels.csv goes there.")
_THRESHOLD = flags.DEFINE_integer("threshold", 2, "DISFA: intensity from which on an Action Unit is present, 1 to 5.")
_ON_BAD = flags.DEFINE_enum("on_bad", "error", ["error", "skip"], "What to do with bad lines and missing frames.")

DISFA_UNITS = (1, 2, 4, 5, 6, 9, 12, 15, 17, 20, 25, 26)
_SUFFIXES = (".jpg", ".png", ".jpeg", ".bmp")
_NOT_CODED = 9


def _frames_in(folder: pathlib.Path) -> dict[int, str]:
    """Number of each frame in a folder -> its file's name."""
    found = {}
    for path in sorted(folder.glob("*")):
        number = re.search(r"(\d+)$", path.stem)
        if number and path.suffix.lower() in _SUFFIXES:
            found[int(number[1])] = path.name
    return found


def _rows(
    table: pd.DataFrame, images: pathlib.Path, place: str, extra: dict[str, str], problems: Problems
) -> pd.DataFrame:
    """Frames by number with their AUs -> manifest rows of those whose image is there."""
    there = _frames_in(images / place)
    missing = [n for n in table.index if n not in there]
    if missing:
        problems.add(str(images / place), f"{len(missing):,} labelled frames have no image, {missing[0]} the first")
    kept = table[table.index.isin(there)]
    out = kept.reset_index(drop=True)
    out.insert(0, "path", [f"{place}/{there[n]}" for n in kept.index])
    for i, (name, value) in enumerate(extra.items(), 1):
        out.insert(i, name, value)
    return out


def disfa(labels: pathlib.Path, images: pathlib.Path, threshold: int, problems: Problems) -> Iterator[pd.DataFrame]:
    """DISFA (Mavadati et al. 2013): SN001/SN001_au1.txt, lines 'frame,intensity'; a part may lack a unit's file.

    Args:
      labels: ActionUnit_Labels.
      images: SUBJECT/FRAME.jpg.
      threshold: intensity from which on a unit is present, 1 to 5.
      problems: gets bad lines, and frames without an image.
    """
    if not 1 <= threshold <= 5:
        raise DataError(f"--threshold={threshold}: DISFA's intensities are 0 to 5, so from 1 to 5")
    for folder in sorted(p for p in labels.glob("SN*") if p.is_dir()):
        columns = {}
        for unit in DISFA_UNITS:
            path = folder / f"{folder.name}_au{unit}.txt"
            if path.is_file():
                columns[f"AU{unit}"] = _intensities(path, problems).ge(threshold).astype(int)
        if not columns:
            problems.add(str(folder), "no file like SN001_au1.txt")
            continue
        yield _rows(pd.DataFrame(columns), images, folder.name, {"subject": folder.name}, problems)


def _intensities(path: pathlib.Path, problems: Problems) -> pd.Series:
    values = {}
    for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
        if not line.strip():
            continue
        match = re.fullmatch(r"\s*(\d+)\s*,\s*([0-5])\s*", line)
        if match:
            values[int(match[1])] = int(match[2])
        else:
            problems.add(f"{path}:{number}", f"expected 'frame,intensity 0 to 5', found {line.strip()[:40]!r}")
    return pd.Series(values, dtype=int)


def bp4d(labels: pathlib.Path, images: pathlib.Path, problems: Problems) -> Iterator[pd.DataFrame]:
    """BP4D (Zhang et al. 2014): F001_T1.csv, first column the frame, others Action Units by number; 1, 0, 9 not coded.

    Args:
      labels: AU_OCC.
      images: SUBJECT/TASK/FRAME.jpg.
      problems: gets bad values, and frames without an image.
    """
    for path in sorted(labels.glob("*.csv")):
        match = re.fullmatch(r"([FM]\d{3})_(T\d+)", path.stem)
        if match is None:
            problems.add(str(path), "expected a name like F001_T1.csv")
            continue
        try:
            raw = pd.read_csv(path, index_col=0)
        except (ValueError, pd.errors.ParserError) as e:
            problems.add(str(path), f"not a CSV ({str(e).strip()})")
            continue
        units = [c for c in raw.columns if str(c).strip().isdecimal()]
        strange = ~raw[units].isin((0, 1, _NOT_CODED))
        if strange.to_numpy().any():
            frame = raw.index[strange.any(axis=1)][0]
            problems.add(f"{path}: frame {frame}", "a value is none of 0, 1 and 9")
            continue
        table = raw[units].where(raw[units] != _NOT_CODED).astype("Int8")
        table.columns = [f"AU{str(c).strip()}" for c in units]
        about = {"subject": match[1], "gender": {"F": "Female", "M": "Male"}[match[1][0]]}
        yield _rows(table, images, f"{match[1]}/{match[2]}", about, problems)


def convert(read: Callable[[Problems], Iterator[pd.DataFrame]], images: pathlib.Path, on_bad: str) -> pd.DataFrame:
    """Writes IMAGES/labels.csv of what a reader gives.

    Raises:
      DataError: nothing to read, or problems (all of them listed).
    """
    problems = Problems(on_bad)
    parts = [p for p in read(problems) if len(p)]
    problems.settle("labels", remaining=sum(map(len, parts)))
    table = pd.concat(parts, ignore_index=True)
    table.to_csv(images / "labels.csv", index=False)
    for note in problems.notes():
        logging.warning("%s", note)
    return table


def _main(_: list[str]) -> None:
    for name, value in (("format", _FORMAT.value), ("labels", _LABELS.value), ("images", _IMAGES.value)):
        if not value:
            command.fail(f"--{name} is missing (--help tells more)")
    labels, images = (pathlib.Path(str(flag.value)).expanduser() for flag in (_LABELS, _IMAGES))
    for folder in (labels, images):
        if not folder.is_dir():
            command.fail(f"there is no folder {folder}")

    def read(problems: Problems) -> Iterator[pd.DataFrame]:
        if _FORMAT.value == "disfa":
            return disfa(labels, images, _THRESHOLD.value, problems)
        return bp4d(labels, images, problems)

    table = convert(read, images, _ON_BAD.value)
    print(f"{images / 'labels.csv'}: {len(table):,} frames of {table['subject'].nunique()} subjects")


def main() -> None:
    """Entry point."""
    command.run(_main, __doc__ or "")


if __name__ == "__main__":
    main()
