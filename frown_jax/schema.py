"""Vocabularies, and what is published about RAF-DB's composition.

Everything downstream of the data readers speaks these names. Nothing here imports anything of ours.

Sources: RAF-DB's official README (codes); Venkatesh, Lu, Chandra & Wang 2022, "Frowning upon Bias", notebook output
(cell totals) and `stats/table.csv` (test denominators, hence the train/test division of each cell); Xu et al. 2020,
Table 1 (emotion by attribute on the test set, gender "Unsure" removed).
"""

from __future__ import annotations

import numpy as np
import pandas as pd

EMOTIONS = ("Surprise", "Fear", "Disgust", "Happiness", "Sadness", "Anger", "Neutral")
RACES = ("Caucasian", "African-American", "Asian")
GENDERS = ("Male", "Female", "Unsure")
AGES = ("0-3", "4-19", "20-39", "40-69", "70+")

# The demographic attributes that the studies measure, with their vocabularies in RAF-DB's own code order.
ATTRIBUTES: dict[str, tuple[str, ...]] = {"race": RACES, "gender": GENDERS, "age": AGES}

# The studies score an attribute's fairness on these values only (the others stay in every other number).
STUDY_GROUPS: dict[str, tuple[str, ...]] = {
    "race": RACES,
    "gender": ("Male", "Female"),
    "age": ("4-19", "20-39", "40-69"),
}

# Columns of a data table that are not attributes.
RESERVED_COLUMNS = ("id", "split", "subject", "sequence", "frame", "onset", "emotion", "path", "pixels")

# [race, gender, age] as (train, test); order of RACES, GENDERS, AGES.
_RAFDB_CELLS = """
232/64 608/124 1783/505 945/234 196/36
129/43 800/177 3393/815 697/191 81/31
468/116 46/8 13/4 0/1 0/2
155/23 140/33 136/32 62/18 9/2
8/3 131/38 174/43 58/12 9/0
80/28 5/2 1/0 0/0 0/0
38/8 188/42 347/96 80/25 38/7
44/12 244/57 683/166 78/21 33/11
129/32 9/5 1/1 0/0 0/0
"""


def rafdb_cells(split: str) -> np.ndarray:
    """RAF-DB's image counts per race x gender x age.

    Args:
      split: 'train' (12,271 images) or 'test' (3,068).

    Returns:
      int64 [3, 3, 5], axes in the order of RACES, GENDERS, AGES.
    """
    column = {"train": 0, "test": 1}[split]
    counts = [int(cell.split("/")[column]) for cell in _RAFDB_CELLS.split()]
    return np.array(counts, np.int64).reshape(len(RACES), len(GENDERS), len(AGES))


RAFDB_EMOTIONS = {
    "train": np.array([1290, 281, 717, 4772, 1982, 705, 2524], np.int64),
    "test": np.array([329, 74, 160, 1185, 478, 162, 680], np.int64),
}

# Xu et al. 2020, Table 1: emotion (rows, order of EMOTIONS) by attribute value, test set without "Unsure".
XU_TEST_TABLE: dict[str, np.ndarray] = {
    "gender": np.array([[138, 159], [43, 36], [69, 89], [429, 712], [147, 239], [119, 45], [312, 339]], np.float64),
    "race": np.array(
        [
            [260, 16, 21],
            [61, 5, 13],
            [125, 6, 27],
            [855, 98, 188],
            [291, 30, 65],
            [144, 10, 10],
            [489, 39, 123],
        ],
        np.float64,
    ),
    "age": np.array(
        [
            [36, 39, 180, 36, 6],
            [3, 7, 50, 16, 3],
            [3, 13, 106, 28, 8],
            [43, 216, 581, 264, 37],
            [51, 97, 164, 61, 13],
            [2, 16, 115, 28, 3],
            [20, 83, 458, 68, 22],
        ],
        np.float64,
    ),
}


def codes(values: pd.Series, vocabulary: tuple[str, ...]) -> np.ndarray:
    """Position of each value in the vocabulary, int32, -1 where it is not there."""
    return pd.Index(list(vocabulary), dtype=object).get_indexer(pd.Index(values.astype(object))).astype(np.int32)
