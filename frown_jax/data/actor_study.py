"""The Actor Study (Seuss et al. 2019), whose layout on disk is not published; or any frames with a table of AUs.

    FOLDER/labels.csv     frame,subject,AU1,AU2,...   a row a frame: image file relative to FOLDER, 1 / 0 / blank
    FOLDER/subjects.csv   subject,gender,skin_tone    attributes of the people (or --config.data.subjects=FILE)
    FOLDER/...            the frames of the centre view of the low-speed camera, cropped to faces

This is the manifest's format with what an Action Unit study needs made a must: subjects, and Action Units.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import numpy as np

from frown_jax.data.dataset import au_columns
from frown_jax.data.manifest import ManifestSource
from frown_jax.data.problems import Problems
from frown_jax.data.store import hash_of
from frown_jax.data.subjects import join_subjects, read_subjects
from frown_jax.errors import DataError

PUBLISHED = {"subjects": 21, "frames": 4337}  # frames of a subject on average (the second study's text)
_NUMBER = re.compile(r"(\d+)(?=\D*$)")


class ActorStudySource:
    """Implements store.Source.

    Attributes:
      table: id, split ('train'), subject, sequence (folder of the frame), frame (last number of its name), AU1 ...,
        attributes.
      notes: counts that differ from the published ones, and what was left out.
    """

    name = "actor_study"

    def __init__(self, folder: str, subjects: str = "", every: int = 1, on_bad: str = "error"):
        """Reads the table.

        Args:
          folder: holds labels.csv.
          subjects: CSV of subject and attributes; '' takes FOLDER/subjects.csv if it is there.
          every: of so many frames of a sequence, one is taken; neighbouring frames differ little.
          on_bad: 'error' or 'skip'.

        Raises:
          DataError: bad data (all of it listed), no subjects or no Action Units.
        """
        source = ManifestSource(folder, on_bad=on_bad, headers={"frame": "path"})
        self._source, table = source, source.table
        if not au_columns(table):
            raise DataError(f"{source.path}: no Action Unit columns (AU1, AU2, ...)\n\n{__doc__}")
        if "subject" not in table or table["subject"].isna().any():
            line = "" if "subject" not in table else f":{2 + int(table['subject'].isna().argmax())}"
            raise DataError(f"{source.path}{line}: every frame needs a subject\n\n{__doc__}")
        path = table["id"].astype(str)
        table = table.assign(
            split="train",
            sequence=path.str.rpartition("/")[0],
            frame=path.map(lambda p: int(m[1]) if (m := _NUMBER.search(p)) else 0),
            _row=np.arange(len(table)),
        )
        place = table.sort_values(["sequence", "frame"], kind="stable").groupby("sequence").cumcount()
        table = table[place.reindex(table.index) % every == 0]
        problems = Problems(on_bad)
        joined = join_subjects(table, read_subjects(subjects, problems, source.folder), problems)
        problems.settle(f"actor_study {source.path}", remaining=len(joined))
        self._rows = joined.pop("_row").to_numpy()
        self.table = joined.reset_index(drop=True)
        people = self.table["subject"].nunique()
        notes = [*source.notes, *problems.notes()]
        if people != PUBLISHED["subjects"]:
            notes.append(f"actor_study: {people} subjects, published {PUBLISHED['subjects']}")
        if every > 1:
            notes.append(f"actor_study: one of {every} frames is taken, {len(self.table):,} in all")
        self.notes = tuple(notes)
        self.fingerprint = hash_of("actor_study", source.fingerprint, self.table.to_csv())

    def encoded_images(self, rows: np.ndarray) -> Iterator[bytes]:
        """The image files."""
        yield from self._source.encoded_images(self._rows[rows])
