"""Exploration of a data set: counts against slow forms, and the command's folder."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from frown_jax import schema
from frown_jax.data.dataset import Dataset, attribute_vocabularies
from frown_jax.explore import counts
from frown_jax.explore.run import explore
from frown_jax.report.folder import Folder
from tests.conftest import toy
from tests.pages import parsed


def test_values_add_up_and_missing_ones_are_shown():
    data = toy()
    data.table.loc[:4, "race"] = None
    found = counts.values(data, counts.variables(data)).set_index(["variable", "value"])
    for name in ("emotion", "race", "gender", "age"):
        assert found.loc[name, "n"].sum() == len(data)
        np.testing.assert_allclose(found.loc[name, "percent"].sum(), 100)
        assert (found.loc[name, ["n_train", "n_val", "n_test"]].sum(axis=1) == found.loc[name, "n"]).all()
    assert found.loc[("race", "not known"), "n"] == 5


def test_conditional_distributions_both_ways():
    data = toy()
    known = counts.variables(data)
    for of, given in (("emotion", "race"), ("race", "emotion"), ("age", "emotion"), ("gender", "age")):
        found = counts.conditional(data, of, given, known)
        for value in known[given]:
            own = data.table.loc[data.table[given] == value, of]
            assert found.loc[value, "n"] == len(own)
            for name in known[of]:
                np.testing.assert_allclose(found.loc[value, name], 100 * (own == name).mean())


def test_a_value_that_does_not_occur_is_not_zero_percent():
    data = toy()
    data.table["gender"] = "Male"
    found = counts.conditional(data, "emotion", "gender", counts.variables(data))
    assert found.loc["Female", "n"] == 0 and found.loc["Female"].drop("n").isna().all()
    assert not found.loc["Male"].isna().any()


def test_every_cell_is_listed_and_flagged():
    data = toy()
    found = counts.subgroups(data)
    assert len(found) == 3 * 3 * 5 * 7 and found["n"].sum() == len(data)
    assert set(found.loc[found["n"] == 0, "note"]) == {"missing"}
    assert set(found.loc[found["n"].between(1, 9), "note"]) == {"fewer than 10"}


def slow_v(table):
    """Bergsma's (2013) correction, from scipy's chi squared."""
    n, (r, c) = table.sum(), table.shape
    phi2 = stats.chi2_contingency(table, correction=False).statistic / n
    phi2 = max(0, phi2 - (r - 1) * (c - 1) / (n - 1))
    return np.sqrt(phi2 / min(r - (r - 1) ** 2 / (n - 1) - 1, c - (c - 1) ** 2 / (n - 1) - 1))


def test_strength_of_association():
    rng = np.random.default_rng(0)
    for shape in ((2, 2), (3, 5), (7, 3)):
        table = rng.integers(1, 60, shape)
        np.testing.assert_allclose(counts.cramers_v(table), slow_v(table), rtol=1e-10)
        empty = np.insert(table, 1, 0, axis=0)  # a value that does not occur changes nothing
        np.testing.assert_allclose(counts.cramers_v(empty), slow_v(table), rtol=1e-10)
    np.testing.assert_allclose(counts.cramers_v(np.diag([50, 60, 70])), 1, atol=0.02)
    assert np.isnan(counts.cramers_v(np.array([[3, 4]])))
    independent = np.mean([counts.cramers_v(rng.multinomial(100, np.full(9, 1 / 9)).reshape(3, 3)) for _ in range(200)])
    assert independent < 0.08  # without the correction 0.13


def of_people(rng, n):
    """Gender tells hair nine times out of ten; each person has four images, which are no four people."""
    gender = rng.integers(0, 2, n)
    hair = np.where(rng.random(n) < 0.9, gender, 1 - gender)
    table = pd.DataFrame(
        {
            "id": [f"i{i}" for i in range(4 * n)],
            "split": "train",
            "subject": np.repeat([f"s{i}" for i in range(n)], 4),
            "gender": np.repeat(np.array(["Female", "Male"])[gender], 4),
            "hair": np.repeat(np.array(["long", "short"])[hair], 4),
        }
    )
    return Dataset("toy", table, np.zeros((4 * n, 1, 1, 3), np.uint8), (), attribute_vocabularies(table), "0")


def test_intervals_of_association_hold_the_truth():
    """V of a 2 x 2 table with 0.45 on its diagonal is 0.8."""
    rng, held, width = np.random.default_rng(0), 0, []
    for _ in range(60):
        data = of_people(rng, 150)
        (row,) = counts.associations(data, counts.variables(data), 200).to_dict("records")
        held += row["lower"] < 0.8 < row["upper"]
        width.append(row["upper"] - row["lower"])
    assert held >= 51  # of 60 at 95 %: binomial, 99.9 % lie above
    assert 0.15 < np.mean(width) < 0.3  # as 150 people give; 600 would give half


def test_pixels_by_hand():
    data = toy()
    data.images[0] = 255
    found = counts.pixels(data).iloc[0]
    wanted = ((1 - np.array([0.485, 0.456, 0.406])) / np.array([0.229, 0.224, 0.225])).mean()
    assert found["mean"] == 1 and found["sd"] == 0
    np.testing.assert_allclose(found["mean_normalised"], wanted, rtol=1e-5)


def test_published_counts_of_rafdb():
    """A table with exactly RAF-DB's cells agrees everywhere in them; one image moved differs twice."""
    rows = []
    for split in ("train", "test"):
        for (r, g, a), n in np.ndenumerate(schema.rafdb_cells(split)):
            rows += [(split, schema.RACES[r], schema.GENDERS[g], schema.AGES[a])] * int(n)
    table = pd.DataFrame(rows, columns=["split", "race", "gender", "age"])
    for split in ("train", "test"):
        table.loc[table["split"] == split, "emotion"] = np.repeat(schema.EMOTIONS, schema.RAFDB_EMOTIONS[split])
    table["id"] = [f"i{i}" for i in range(len(table))]
    images = np.zeros((len(table), 1, 1, 3), np.uint8)
    data = Dataset("rafdb", table, images, schema.EMOTIONS, attribute_vocabularies(table), "0")
    found = counts.published(data)
    assert len(found) == 2 * (7 + 45) and (found["published"] == found["here"]).all()
    table.loc[0, "age"] = "70+" if table.loc[0, "age"] != "70+" else "0-3"
    assert (counts.published(data)["published"] != counts.published(data)["here"]).sum() == 2
    assert counts.published(toy()).empty


@pytest.mark.parametrize("attributes", [True, False])
def test_the_folder_has_a_csv_behind_each_figure_and_a_page(tmp_path, attributes):
    data = toy()
    if not attributes:
        table = data.table.drop(columns=["race", "gender", "age"])
        data = Dataset("toy", table, data.images, data.classes, {}, "0", notes=("<b>a note</b>",))
    else:
        table = data.table.drop(columns="age").assign(AU1=np.arange(len(data)) % 2, AU12=0)
        data = Dataset("toy", table, data.images, data.classes, attribute_vocabularies(table), "0")
    page = explore(data, Folder(tmp_path, "toy"), 10, 20, 0)
    names = {p.stem for p in tmp_path.glob("*.png")}
    assert names == {p.stem for p in tmp_path.glob("*.svg")}
    text = page.read_text()
    assert len(parsed(text).of("figure")) == len(names)
    if attributes:
        assert {f"{a}-given-{b}" for a in ("emotion", "race") for b in ("gender",)} <= names
        percent = pd.read_csv(tmp_path / "race-given-emotion.csv")
        np.testing.assert_allclose(percent[list(schema.RACES)].sum(axis=1), 100)
        assert "units-given-race" in names
    else:
        assert "&lt;b&gt;a note" in text and not [n for n in names if "given" in n]
