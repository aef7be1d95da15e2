"""Counts of a data set: values, conditional distributions, subgroups, strength of association."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd

from frown_jax import schema
from frown_jax.data.dataset import Dataset, au_columns
from frown_jax.member.augment import IMAGENET_MEAN, IMAGENET_SD
from frown_jax.metrics import bootstrap

TINY = 10  # images: fewer say nothing about a group
_MISSING = "not known"


def variables(data: Dataset) -> dict[str, tuple[str, ...]]:
    """What is counted: emotion (if there is one) and the attributes, each with its values."""
    out = {}
    if "emotion" in data.table and data.table["emotion"].notna().any():
        known = data.classes if not data.multilabel else tuple(sorted(data.table["emotion"].dropna().unique()))
        out["emotion"] = tuple(known)
    return out | {a: tuple(v) for a, v in data.attributes.items()}


def values(data: Dataset, known: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """How often each value occurs: variable, value, n, percent, and n_<split> of each split; missing ones too."""
    table, splits = data.table, list(dict.fromkeys(data.table["split"]))
    rows = []
    for name, vocabulary in known.items():
        column = table[name].where(table[name].notna(), _MISSING)
        for value in (*vocabulary, *([_MISSING] if (column == _MISSING).any() else [])):
            here = (column == value).to_numpy()
            by_split = {f"n_{s}": int((here & (table["split"] == s).to_numpy()).sum()) for s in splits}
            rows.append(
                {"variable": name, "value": value, "n": int(here.sum()), "percent": 100 * here.mean()} | by_split
            )
    return pd.DataFrame(rows)


def units(data: Dataset) -> pd.DataFrame:
    """Of each Action Unit: present, absent, unknown images and the share that shows it where it is known."""
    rows = []
    for unit in au_columns(data.table):
        column = data.table[unit].to_numpy(np.float64)
        present, absent = int((column == 1).sum()), int((column == 0).sum())
        share = 100 * present / (present + absent) if present + absent else np.nan
        unknown = len(column) - present - absent
        rows.append({"unit": unit, "present": present, "absent": absent, "unknown": unknown, "percent": share})
    return pd.DataFrame(rows, columns=["unit", "present", "absent", "unknown", "percent"])


def conditional(data: Dataset, of: str, given: str, known: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Distribution of one variable within each value of another, in percent: rows `given`, columns `of`, and n.

    A value that does not occur has NaN percentages, not 0.
    """
    counts = pd.crosstab(data.table[given], data.table[of]).reindex(
        index=list(known[given]), columns=list(known[of]), fill_value=0
    )
    total = counts.sum(axis=1)
    out = 100 * counts.div(total.where(total > 0), axis=0)
    out.insert(0, "n", total)
    return out


def unit_rates(data: Dataset, given: str, known: Mapping[str, Sequence[str]]) -> pd.DataFrame:
    """Share of images that show each Action Unit within each value of a variable, in percent, where it is known."""
    named = data.table[data.table[given].notna()]
    rates = 100 * named.groupby(given)[list(au_columns(data.table))].mean()
    return rates.astype(np.float64).reindex(list(known[given]))


def subgroups(data: Dataset, most: int = 3) -> pd.DataFrame:
    """Every intersection of the first `most` attributes with each class: n, and a note if it is missing or tiny."""
    chosen = list(data.attributes)[:most]
    target = [] if data.multilabel or "emotion" not in data.table else ["emotion"]
    vocabularies = [*(data.attributes[a] for a in chosen), *([data.classes] if target else [])]
    names = [*chosen, *target]
    if not names:
        return pd.DataFrame({"n": [len(data)], "note": [""]})
    found = data.table.groupby(names, observed=True).size()
    index = pd.MultiIndex.from_product(vocabularies, names=names)
    key = found.index if len(names) > 1 else pd.MultiIndex.from_arrays([found.index], names=names)
    n = pd.Series(found.to_numpy(), index=key).reindex(index, fill_value=0).rename("n").reset_index()
    n["note"] = np.select([n["n"] == 0, n["n"] < TINY], ["missing", f"fewer than {TINY}"], "")
    return n


def cramers_v(table: np.ndarray) -> float:
    """Strength of association of a contingency table, 0 to 1, corrected for its bias (Bergsma 2013).

    V = sqrt(max(0, phi2 - (r-1)(c-1)/(n-1)) / min(r' - 1, c' - 1)), with r' = r - (r-1)^2/(n-1) and c' alike. Rows
    and columns without images do not count. NaN where one variable has a single value.
    """
    table = table[table.sum(1) > 0][:, table.sum(0) > 0].astype(np.float64)
    n, (r, c) = table.sum(), table.shape
    if min(r, c) < 2 or n < 2:
        return float("nan")
    expected = table.sum(1, keepdims=True) * table.sum(0, keepdims=True) / n
    phi2 = ((table - expected) ** 2 / expected).sum() / n
    phi2 = max(0.0, phi2 - (r - 1) * (c - 1) / (n - 1))
    rows, columns = (k - (k - 1) ** 2 / (n - 1) for k in (r, c))
    return float(np.sqrt(phi2 / (min(rows, columns) - 1)))


def associations(
    data: Dataset, known: Mapping[str, Sequence[str]], resamples: int = 500, level: float = 0.95, seed: int = 0
) -> pd.DataFrame:
    """Cramer's V of every pair of variables, with a bootstrap interval over subjects (images where none are known).

    Returns:
      Columns a, b, n, cramers_v, lower, upper, strongest first.
    """
    table = data.table
    unit = table["subject" if "subject" in table else "id"].to_numpy(str)
    of_image = np.unique(unit, return_inverse=True)[1].ravel()
    subjects = of_image.max(initial=-1) + 1
    rng = np.random.default_rng(seed)
    rows = []
    for a, b in itertools.combinations(known, 2):
        codes = [schema.codes(table[v], tuple(known[v])) for v in (a, b)]
        there = (codes[0] >= 0) & (codes[1] >= 0)
        size = len(known[a]) * len(known[b])
        cell = (codes[0] * len(known[b]) + codes[1])[there]
        # Counts of each subject; a resample is a weighted sum of them.
        counts = np.zeros((subjects, size), np.float32)
        np.add.at(counts, (of_image[there], cell), 1)
        drawn = rng.multinomial(subjects, np.full(subjects, 1 / max(1, subjects)), resamples).astype(np.float32)
        shape = (len(known[a]), len(known[b]))
        replicates = [cramers_v(row.reshape(shape)) for row in drawn @ counts]
        lower, upper = bootstrap.percentile(np.array(replicates)[:, None], level)[:, 0]
        value = cramers_v(counts.sum(0).reshape(shape))
        rows.append({"a": a, "b": b, "n": int(there.sum()), "cramers_v": value, "lower": lower, "upper": upper})
    out = pd.DataFrame(rows, columns=["a", "b", "n", "cramers_v", "lower", "upper"])
    return out.sort_values("cramers_v", ascending=False, kind="stable", ignore_index=True)


def pixels(data: Dataset) -> pd.DataFrame:
    """Mean and standard deviation of each image's pixels: of the image (0 to 1), and as the networks see it."""
    mean, sd = np.empty((2, len(data))), np.empty((2, len(data)))
    for first in range(0, len(data), 512):
        part = data.images[first : first + 512].astype(np.float32) / 255
        rows = slice(first, first + len(part))
        for k, x in enumerate((part, (part - IMAGENET_MEAN) / IMAGENET_SD)):
            mean[k, rows], sd[k, rows] = x.mean((1, 2, 3)), x.std((1, 2, 3))
    return pd.DataFrame(
        {"id": data.table["id"], "mean": mean[0], "sd": sd[0], "mean_normalised": mean[1], "sd_normalised": sd[1]}
    )


def published(data: Dataset) -> pd.DataFrame:
    """RAF-DB's published counts of emotions and of race x gender x age, beside what is here; empty for other data."""
    if data.name != "rafdb":
        return pd.DataFrame(columns=["split", "what", "published", "here"])
    rows = []
    for split in ("train", "test"):
        # Validation is cut from RAF-DB's training set.
        here = data.table[data.table["split"].isin(("train", "val") if split == "train" else ("test",))]
        for name, count in zip(schema.EMOTIONS, schema.RAFDB_EMOTIONS[split], strict=True):
            rows.append((split, name, int(count), int((here["emotion"] == name).sum())))
        for (r, g, a), count in np.ndenumerate(schema.rafdb_cells(split)):
            race, gender, age = schema.RACES[r], schema.GENDERS[g], schema.AGES[a]
            found = (here["race"] == race) & (here["gender"] == gender) & (here["age"] == age)
            rows.append((split, f"{race}, {gender}, {age}", int(count), int(found.sum())))
    return pd.DataFrame(rows, columns=["split", "what", "published", "here"])
