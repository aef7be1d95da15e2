"""Attributes of people that a data set does not ship: a CSV with a column subject."""

from __future__ import annotations

import pathlib

import pandas as pd

from frown_jax import schema
from frown_jax.data import names
from frown_jax.data.dataset import AU_COLUMN
from frown_jax.data.problems import Problems
from frown_jax.errors import DataError

BESIDE = "subjects.csv"  # in the data folder


def read_subjects(path: str, problems: Problems, folder: pathlib.Path | None = None) -> pd.DataFrame:
    """The CSV of subjects; by default the one in the data folder, if there is one.

    Args:
      path: a file with a header, a column subject and one for each attribute (gender, skin_tone ...); blank: unknown.
      problems: gets subjects that occur twice with different values.
      folder: of the data.

    Returns:
      Attributes as strings, None where blank, by subject.

    Raises:
      DataError: no such file, no column subject, or a column that is not an attribute.
    """
    if not path and folder is not None and (folder / BESIDE).is_file():
        path = str(folder / BESIDE)
    if not path:
        return pd.DataFrame()
    try:
        table = pd.read_csv(pathlib.Path(path).expanduser(), dtype=str, skipinitialspace=True)
    except FileNotFoundError:
        raise DataError(f"--config.data.subjects={path}: no such file") from None
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as e:
        raise DataError(f"--config.data.subjects={path}: not a CSV ({e})") from None
    table.columns = [str(c).strip().lower() for c in table.columns]
    twice = table.columns[table.columns.duplicated()]
    if len(twice):
        raise DataError(f"--config.data.subjects={path}: column {twice[0]!r} occurs twice")
    if "subject" not in table:
        raise DataError(f"--config.data.subjects={path}: it needs a column subject; it has {', '.join(table.columns)}")
    taken = [
        c for c in table.columns if c != "subject" and (c in schema.RESERVED_COLUMNS or AU_COLUMN.fullmatch(c.upper()))
    ]
    if taken:
        raise DataError(f"--config.data.subjects={path}: {taken[0]!r} is not an attribute of a person")
    known = {c: [names.attribute(str(c), v.strip()) if isinstance(v, str) else None for v in table[c]] for c in table}
    table = pd.DataFrame(known, dtype=object).drop_duplicates()
    for name in table.loc[table["subject"].duplicated(), "subject"].unique():
        problems.add(f"{path}: {name}", "this subject is there twice, with different attributes")
    return table.drop_duplicates("subject").dropna(subset="subject").set_index("subject")


def join_subjects(table: pd.DataFrame, people: pd.DataFrame, problems: Problems) -> pd.DataFrame:
    """The table with the attributes of its subjects; rows of subjects that the CSV lacks are problems and left out.

    Raises:
      DataError: the table has one of the attributes already.
    """
    if people.empty:
        return table
    twice = [c for c in people.columns if c in table]
    if twice:
        raise DataError(f"the CSV of subjects and the labels both have {twice[0]!r}: remove one")
    for name in sorted(set(table["subject"].dropna()) - set(people.index)):
        problems.add(str(name), "this subject is not in the CSV of subjects")
    return table[table["subject"].isin(people.index)].join(people, on="subject")
