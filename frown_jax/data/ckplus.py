"""CK+ (Lucey et al. 2010) as its archives unpack: image sequences from neutral to peak, FACS codes of the peak.

cohn-kanade-images/S005/001/S005_001_00000011.png
FACS/S005/001/S005_001_00000011_facs.txt            'AU intensity' lines of the peak frame; may be empty
Emotion/S005/001/S005_001_00000011_emotion.txt      one number, for 327 of the 593 sequences
Landmarks/S005/001/S005_001_00000011_landmarks.txt  68 lines 'x y', for every frame
"""

from __future__ import annotations

import io
import itertools
import math
import pathlib
import re
from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd
from PIL import Image

from frown_jax.data.problems import Problems
from frown_jax.data.store import decode, hash_of
from frown_jax.data.subjects import join_subjects, read_subjects
from frown_jax.errors import DataError

# By the code in the Emotion files.
EMOTIONS = ("Neutral", "Anger", "Contempt", "Disgust", "Fear", "Happiness", "Sadness", "Surprise")
PUBLISHED = {"sequences": 593, "subjects": 123, "emotions": 327}
LANDMARKS, MARGIN = 68, 0.15
_FRAME = re.compile(r"(S\d{3})_(\d{3})_(\d{8})\.png")

HOW_TO_GET = """Request CK+ from its authors (https://www.jeffcohn.net/resources/), unpack its archives into one folder:
  cohn-kanade-images/  FACS/  Emotion/  Landmarks/"""


class CkPlusSource:
    """Implements store.Source.

    A sequence goes from neutral to peak; the codes are the peak's. The last frames are taken as showing them, and the
    first one as showing none. Images are cropped to the face by its landmarks.

    Attributes:
      table: id, split ('train'), subject, sequence, frame (from 0, of the sequence), onset (share of the way to the
        peak, 0 to 1), emotion where it is known, AU1, AU2, ... (1, 0), and the columns of the subjects' file.
      problems: what is wrong with the data, by file and line.
      notes: counts that differ from the published ones, and what was left out.
    """

    name = "ckplus"

    def __init__(
        self,
        folder: str,
        subjects: str = "",
        frames: int = 3,
        neutral: int = 1,
        on_bad: str = "error",
        onset: float = 0.0,
    ):
        """Lists the sequences.

        Args:
          folder: where the archives are unpacked.
          subjects: CSV with a column subject and any attributes (gender, skin_tone ...); CK+ ships none.
          frames: of the end of a sequence that get its codes.
          neutral: of its beginning that get none of the AUs.
          on_bad: 'error' or 'skip'.
          onset: above 0, the frames from this share of the way to the peak on get the codes, in place of the last
            `frames`: expressions grow about linearly.

        Raises:
          DataError: no such folder, bad settings, or bad data (all of it listed).
        """
        self._root = pathlib.Path(folder).expanduser()
        images = self._root / "cohn-kanade-images"
        if not folder or not images.is_dir():
            raise DataError(f"--config.data.dir={folder} holds no cohn-kanade-images.\n\n{HOW_TO_GET}")
        if frames < 1 or neutral < 0:
            raise DataError(f"ckplus takes at least 1 peak frame and 0 neutral ones, not {frames} and {neutral}")
        self._frames, self._neutral, self._onset = frames, neutral, onset
        self.problems = Problems(on_bad)
        people = read_subjects(subjects, self.problems, self._root)
        rows = [row for folder_ in sorted(images.glob("S*/*")) if folder_.is_dir() for row in self._sequence(folder_)]
        self.table = _table(rows, people, self.problems)
        chosen = self.table.pop("_row")
        self._files = [rows[i]["_file"] for i in chosen]
        self._boxes = [rows[i]["_box"] for i in chosen]
        self.problems.settle(f"CK+ in {self._root}", remaining=len(self.table))
        self.notes = (*self.problems.notes(), *_counts(self.table))
        stats = [f.stat() for f in self._files]
        self.fingerprint = hash_of("ckplus", self.table.to_csv(), [(s.st_size, s.st_mtime_ns) for s in stats])

    def _sequence(self, folder: pathlib.Path) -> Iterator[dict]:
        found: list[tuple[int, pathlib.Path]] = []
        for path in sorted(folder.glob("*.png")):
            match = _FRAME.fullmatch(path.name)
            if match is None or (match[1], match[2]) != (folder.parent.name, folder.name):
                self.problems.add(str(path), "expected a name like S005_001_00000011.png in its own folder")
            else:
                found.append((int(match[3]), path))
        if not found:
            self.problems.add(str(folder), "no frame of this sequence")
            return
        numbers = [n for n, _ in found]
        gaps = (n for before, after in itertools.pairwise(numbers) for n in range(before + 1, after))
        missing = list(itertools.islice(gaps, 5))
        if missing:
            self.problems.add(str(folder), f"frames {', '.join(map(str, missing))} are missing")
            return
        peak = found[-1][1]
        units = self._units(peak)
        if units is None:
            return
        emotion = self._emotion(peak)
        last = len(found) - 1
        from_ = max(0, len(found) - self._frames) if not self._onset else math.ceil(self._onset * last - 1e-9)
        chosen = sorted({*range(min(self._neutral, from_)), *range(from_, len(found))})
        for i in chosen:
            path = found[i][1]
            try:
                pixels = decode(path.read_bytes(), str(path))
            except DataError as e:
                self.problems.add(str(path), str(e).partition(": ")[2])
                continue
            box = self._face(path, max(pixels.shape[:2]))
            if box is None:
                continue
            at_peak = i >= from_
            yield {
                "id": path.stem,
                "subject": folder.parent.name,
                "sequence": f"{folder.parent.name}_{folder.name}",
                "frame": i,
                "onset": i / last if last else 1.0,
                "emotion": emotion if at_peak else "Neutral",
                "_units": units if at_peak else frozenset(),
                "_file": path,
                "_box": box,
            }

    def _beside(self, image: pathlib.Path, folder: str, ending: str) -> pathlib.Path:
        return self._root / folder / image.parent.parent.name / image.parent.name / f"{image.stem}_{ending}.txt"

    def _units(self, peak: pathlib.Path) -> frozenset[int] | None:
        """AUs of the peak. Intensity 0 means present and not graded, so that what is listed is present."""
        path = self._beside(peak, "FACS", "facs")
        if not path.is_file():
            self.problems.add(str(path), f"no FACS codes of the peak frame of {peak.parent}")
            return None
        units = set()
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            parts = line.split()
            if not parts:
                continue
            try:
                unit, intensity = (float(p) for p in parts)
            except ValueError:
                self.problems.add(f"{path}:{number}", f"expected 'AU intensity', found {line.strip()!r}")
                return None
            if unit not in range(1, 100) or not 0 <= intensity <= 5:
                self.problems.add(f"{path}:{number}", f"AU {unit:g} of intensity {intensity:g}: no such code")
                return None
            units.add(int(unit))
        return frozenset(units)

    def _emotion(self, peak: pathlib.Path) -> str | None:
        """Most sequences have none; the file is then absent or its folder empty."""
        path = self._beside(peak, "Emotion", "emotion")
        if not path.is_file():
            return None
        text = path.read_text(errors="replace").strip()
        try:
            code = float(text)
        except ValueError:
            code = -1
        if code not in range(len(EMOTIONS)):
            self.problems.add(str(path), f"emotion {text!r} is not 0 to {len(EMOTIONS) - 1}")
            return None
        return EMOTIONS[int(code)]

    def _points(self, image: pathlib.Path) -> np.ndarray | None:
        """Landmarks [68, 2], columns and rows in pixels."""
        path = self._beside(image, "Landmarks", "landmarks")
        if not path.is_file():
            self.problems.add(str(path), f"no landmarks of {image}")
            return None
        try:
            points = np.array(path.read_text(errors="replace").split(), np.float64)
        except ValueError:
            points = np.zeros(0)
        if points.size != 2 * LANDMARKS or not np.isfinite(points).all():
            self.problems.add(str(path), f"expected {LANDMARKS} lines 'x y'")
            return None
        return points.reshape(-1, 2)

    def landmarks(self, row: int) -> np.ndarray:
        """Float64 [68, 2] of a row of the table: columns and rows as shares of the cropped image."""
        points = self._points(self._files[row])
        assert points is not None  # it was there when the box was made of it
        left, top, right, bottom = self._boxes[row]
        return (points - (left, top)) / (right - left, bottom - top)

    def _face(self, image: pathlib.Path, longest: int) -> tuple[int, int, int, int] | None:
        """The square around the landmarks, MARGIN wider on each side; pixels left, top, right, bottom.

        Args:
          image: its file.
          longest: of its sides, in pixels.
        """
        points = self._points(image)
        if points is None:
            return None
        if np.abs(points).max() > 2 * longest:
            path = self._beside(image, "Landmarks", "landmarks")
            self.problems.add(str(path), f"a landmark lies at {np.abs(points).max():.3g}, far outside the image")
            return None
        low, high = points.min(0), points.max(0)
        half = (0.5 + MARGIN) * (high - low).max()
        left, top = np.floor((low + high) / 2 - half).astype(int)
        side = max(1, int(np.ceil(2 * half)))
        return int(left), int(top), int(left) + side, int(top) + side

    def encoded_images(self, rows: np.ndarray) -> Iterator[bytes]:
        """PNG files of the faces; what a box takes from outside its image is black."""
        for row in rows:
            with Image.open(self._files[row]) as image:
                face = image.convert("RGB").crop(self._boxes[row])
            buffer = io.BytesIO()
            face.save(buffer, "PNG", compress_level=1)
            yield buffer.getvalue()


def _table(rows: Sequence[dict], people: pd.DataFrame, problems: Problems) -> pd.DataFrame:
    """One row per frame, without those whose subject the attributes do not know."""
    table = pd.DataFrame(
        [{k: v for k, v in row.items() if not k.startswith("_")} | {"_row": i} for i, row in enumerate(rows)],
        columns=["id", "subject", "sequence", "frame", "onset", "emotion", "_row"],
    )
    table.insert(1, "split", "train")
    every = sorted({unit for row in rows for unit in row["_units"]})
    for unit in every:
        table[f"AU{unit}"] = np.array([unit in row["_units"] for row in rows], np.int8)
    return join_subjects(table, people, problems).reset_index(drop=True)


def _counts(table: pd.DataFrame) -> list[str]:
    """Differences to the published numbers."""
    peaks = table[table["onset"] == 1]
    found = {
        "sequences": table["sequence"].nunique(),
        "subjects": table["subject"].nunique(),
        "emotions": int(peaks["emotion"].notna().sum()),
    }
    what = {"sequences": "sequences", "subjects": "subjects", "emotions": "sequences with an emotion"}
    return [f"CK+: {found[k]:,} {what[k]}, published {n:,}" for k, n in PUBLISHED.items() if found[k] != n]
