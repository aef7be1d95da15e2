"""Action Unit data: sequences, the Actor Study's table, native label files, several sets as one, and their units."""

import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from frown_jax import config as configs
from frown_jax import convert
from frown_jax.data import cohort, units
from frown_jax.data.actor_study import ActorStudySource
from frown_jax.data.annotations import Annotations
from frown_jax.data.combined import CombinedSource
from frown_jax.data.load import load
from frown_jax.data.manifest import ManifestSource
from frown_jax.data.problems import Problems
from frown_jax.errors import DataError
from frown_jax.faces import action_units, sequences
from frown_jax.faces.sequences import SequenceRecipe


def _png(path, value=0):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(np.full((8, 8, 3), value, np.uint8)).save(path)


# --- sequences


def test_sequences_have_the_studys_people():
    people = sequences.subjects(SequenceRecipe())
    assert len(people) == 123 + 21 == people["subject"].nunique()
    assert people["source"].value_counts().to_dict() == {"posed": 123, "acted": 21}
    assert (people["gender"] == "Male").sum() == 47 and (people["skin_tone"] == "Dark").sum() == 19
    assert not sequences.subjects(SequenceRecipe(seed=1)).equals(people)


def test_action_units_grow_from_none_to_the_apex_and_labels_are_exact():
    recipe = SequenceRecipe(per_subject=2, frames=4)
    table, faces = sequences.generate(recipe)
    assert len(table) == 144 * 2 * 4 == len(faces)
    np.testing.assert_allclose(sequences.onset(4), [0, 0.25, 0.75, 1])
    shown = np.stack([f.expression.au for f in faces])
    of_sequence = shown.reshape(-1, 4, shown.shape[1])
    assert (of_sequence[:, 0] == 0).all()
    np.testing.assert_allclose(of_sequence[:, 1], 0.25 * of_sequence[:, 3], atol=1e-6)
    labels = table[[f"AU{au}" for au in action_units.AUS]].to_numpy()
    np.testing.assert_array_equal(labels, shown >= action_units.PRESENT_FROM)
    # Only the pose, the expression and the noise move within a sequence.
    a, b = faces[0], faces[3]
    np.testing.assert_array_equal(a.identity, b.identity)
    np.testing.assert_array_equal(a.scene.background, b.scene.background)
    assert abs(a.scene.pose - b.scene.pose).max() < 0.1
    posed = table["source"] == "posed"
    assert (table.loc[posed & (table["frame"] == 0), "emotion"] == "Neutral").all()
    assert table.loc[posed & (table["frame"] == 3), "emotion"].notna().all()
    assert table.loc[~posed & (table["frame"] > 0), "emotion"].isna().all()
    dark = table["skin_tone"] == "Dark"
    assert table.loc[dark, "melanin"].min() > table.loc[~dark, "melanin"].max()


def test_what_is_planted_is_in_its_group_only():
    plain, _ = sequences.generate(SequenceRecipe(per_subject=1, frames=2))
    _, faces = sequences.generate(SequenceRecipe(per_subject=1, frames=2))
    _, quiet = sequences.generate(SequenceRecipe(per_subject=1, frames=2, group_style=("gender=Female:1.0",)))
    _, turned = sequences.generate(SequenceRecipe(per_subject=1, frames=2, group_view=("skin_tone=Dark:1.0",)))
    female, dark = (plain["gender"] == "Female").to_numpy(), (plain["skin_tone"] == "Dark").to_numpy()
    loud = [np.abs(a.expression.au - b.expression.au).max() > 0 for a, b in zip(faces, quiet, strict=True)]
    assert (np.array(loud) == (female & (plain["frame"] == 1))).all()
    moved = [abs(a.scene.pose - b.scene.pose).max() > 0.1 for a, b in zip(faces, turned, strict=True)]
    assert (np.array(moved) == dark).all()
    shared, _ = sequences.generate(SequenceRecipe(per_subject=1, frames=2, looks="shared"))
    tones = shared.drop_duplicates("subject").groupby("skin_tone")["melanin"].agg(["min", "max"])
    assert tones.loc["Dark", "min"] < tones.loc["Light", "max"]


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("frames", 1, "at least 2"),
        ("looks", "mine", "one of by_label, shared"),
        ("group_view", ("race=Asian:1",), "must begin with one of gender, skin_tone"),
        ("group_style", ("gender=Female:2",), "amounts between 0 and 1"),
    ],
)
def test_bad_recipes_name_the_field(field, value, message):
    with pytest.raises(ValueError, match=rf"data\.sequences\.{field}.*{message}"):
        SequenceRecipe(**{field: value})


# --- which units


def test_units_are_chosen_by_occurrence():
    rng = np.random.default_rng(0)
    table = pd.DataFrame(
        {"AU12": rng.integers(0, 2, 40), "AU1": [1.0] * 5 + [0.0] * 25 + [np.nan] * 10, "AU4": [0] * 40}
    )
    chosen, counts, notes = units.select(table, (), 5, "set")
    assert chosen == ("AU1", "AU12")  # by number
    one = counts.set_index("unit").loc["AU1"]
    assert (one["present"], one["absent"], one["unknown"]) == (5, 25, 10)
    assert notes == ["Action Units with fewer than 5 occurrences left out: AU4"]
    assert units.select(table, ("AU1",), 8000, "set")[0] == ("AU1",)
    for wanted, fewest, message in [
        ((), 8000, r"no Action Unit occurs 8,000 times \(the most frequent: AU12"),
        (("AU9",), 1, "names AU9; this data has AU1, AU4, AU12"),
        (("AU4",), 1, "agree in it"),
    ]:
        with pytest.raises(DataError, match=message):
            units.select(table, wanted, fewest, "set")


# --- the Actor Study


@pytest.fixture
def actors(tmp_path):
    root = tmp_path / "actors"
    lines = ["frame,subject,AU1,AU2"]
    for subject in ("a1", "a2"):
        for i in range(6):
            name = f"{subject}/take1/centre_{i:05d}.png"
            _png(root / name, 10 * i)
            lines.append(f"{name},{subject},{int(i > 3)},{'' if subject == 'a2' else int(i % 2)}")
    (root / "labels.csv").write_text("\n".join(lines) + "\n")
    (root / "subjects.csv").write_text("subject,gender,skin_tone\na1,f,Light\na2,m,Dark\n")
    return root


def test_the_actor_study_is_a_table_of_frames(actors):
    source = ActorStudySource(str(actors), every=2)
    assert source.table["frame"].tolist() == [0, 2, 4] * 2
    assert source.table["sequence"].tolist() == ["a1/take1"] * 3 + ["a2/take1"] * 3
    assert source.table["AU1"].tolist() == [0, 0, 1] * 2
    assert source.table["AU2"].isna().tolist() == [False] * 3 + [True] * 3
    assert source.table["skin_tone"].tolist() == ["Light"] * 3 + ["Dark"] * 3
    assert "2 subjects, published 21" in " ".join(source.notes)
    images = [np.asarray(Image.open(io.BytesIO(b))) for b in source.encoded_images(np.array([4, 1]))]
    assert [int(i[0, 0, 0]) for i in images] == [20, 20]


def test_what_is_wrong_with_an_actor_study_is_told(actors):
    (actors / "subjects.csv").write_text("subject,gender\na1,f\n")
    with pytest.raises(DataError, match="a2: this subject is not in the CSV of subjects"):
        ActorStudySource(str(actors))
    skipped = ActorStudySource(str(actors), on_bad="skip")
    assert set(skipped.table["subject"]) == {"a1"} and any("a2" in n for n in skipped.notes)
    text = (actors / "labels.csv").read_text()
    (actors / "labels.csv").write_text(text.replace("centre_00001.png,a1", "centre_00001.png,"))
    with pytest.raises(DataError, match=r"labels\.csv:3: every frame needs a subject"):
        ActorStudySource(str(actors))
    (actors / "labels.csv").write_text("frame,subject,emotion\na1/take1/centre_00000.png,a1,Anger\n")
    with pytest.raises(DataError, match="no Action Unit columns"):
        ActorStudySource(str(actors))


# --- several sets as one


def _manifest(root, names, header, rows):
    for name in names:
        _png(root / name, 50)
    (root / "labels.csv").write_text("\n".join([header, *rows]) + "\n")
    return root


def test_what_a_set_does_not_annotate_is_not_known(actors, tmp_path):
    other = _manifest(
        tmp_path / "other",
        [f"{i}.png" for i in range(6)],
        "path,subject,gender,AU1,AU4",
        [f"{i}.png,a1,{'fm'[i % 2]},{i % 2},{int(i > 2)}" for i in range(6)],
    )
    both = CombinedSource([ActorStudySource(str(actors)), ManifestSource(str(other))])
    assert len(both.table) == 18
    assert both.table["AU4"].isna().tolist() == [True] * 12 + [False] * 6
    assert both.table["AU2"].isna().tolist() == [False] * 6 + [True] * 12
    # Two people of one name in two sets are two people.
    assert sorted(both.table["subject"].unique()) == ["actor_study/a1", "actor_study/a2", "manifest/a1"]
    values = [
        int(np.asarray(Image.open(io.BytesIO(b)))[0, 0, 0]) for b in both.encoded_images(np.array([1, 12, 13, 0]))
    ]
    assert values == [10, 50, 50, 0]
    with pytest.raises(DataError, match="a data set is there twice"):
        CombinedSource([ManifestSource(str(other)), ManifestSource(str(other))])


def test_combined_sets_load_and_keep_subjects_apart(actors, tmp_path):
    rows = [f"{i}.png,p{i // 2},{'fm'[(i // 2) % 2]},{i % 2},{int(i > 9)}" for i in range(20)]
    other = _manifest(tmp_path / "other", [f"{i}.png" for i in range(20)], "path,subject,gender,AU1,AU4", rows)
    c = configs.default()
    c.data.name, c.data.parts = "combined", (f"actor_study:{actors}", f"manifest:{other}")
    c.data.target, c.data.test, c.data.min_occurrences, c.data.cache_dir = "aus", "cohort", 3, str(tmp_path / "cache")
    data = load(c.data, 32)
    assert data.multilabel and data.classes == ("AU1", "AU2", "AU4")
    assert data.labels.shape == (32, 3) and set(data.labels[:, 2].tolist()) == {-1, 0, 1}
    assert set(data.table["split"]) == {"train"}
    assert data.attributes["source"] == ("actor_study", "manifest")
    c.cohort.by, c.cohort.train, c.cohort.test = "gender", ("Female:4", "Male:3"), ("Female:2", "Male:2")
    found = cohort.draw(c.cohort, 0.3, Annotations.of(data))
    people = [set(data.table["subject"].iloc[rows]) for rows in (found.train, found.validation, found.test)]
    assert not people[0] & people[1] and not (people[0] | people[1]) & people[2]
    # Splits by shares keep people whole in combined sets, too.
    c.data.test, c.data.strata = "given", ("gender",)
    parts = load(c.data, 32).table.groupby("subject")["split"].nunique()
    assert (parts == 1).all()
    c.data.parts = (f"actor_study:{actors}", "nothing:x")
    with pytest.raises(DataError, match="'nothing:x' must begin with one of"):
        load(c.data, 32)


# --- native label files


def test_disfas_files_become_a_manifest(tmp_path):
    labels, images = tmp_path / "ActionUnit_Labels", tmp_path / "frames"
    (labels / "SN001").mkdir(parents=True)
    (labels / "SN001" / "SN001_au1.txt").write_text("1,0\n2,1\n3,2\n4,5\n")
    (labels / "SN001" / "SN001_au12.txt").write_text("1, 0\n2,0\n3,3\n4,3\n\n")
    for i in (1, 2, 3):
        _png(images / "SN001" / f"{i:04d}.png")
    found = Problems("skip")
    (table,) = convert.disfa(labels, images, 2, found)
    assert table.to_dict("list") == {
        "path": [f"SN001/{i:04d}.png" for i in (1, 2, 3)],
        "subject": ["SN001"] * 3,
        "AU1": [0, 0, 1],
        "AU12": [0, 0, 1],
    }
    assert "1 labelled frames have no image, 4 the first" in found.notes()[0]
    assert next(convert.disfa(labels, images, 1, Problems("skip")))["AU1"].tolist() == [0, 1, 1]
    with pytest.raises(DataError, match="1 labelled frames have no image"):
        convert.convert(lambda p: convert.disfa(labels, images, 2, p), images, "error")
    convert.convert(lambda p: convert.disfa(labels, images, 2, p), images, "skip")
    assert ManifestSource(str(images)).table["AU12"].tolist() == [0, 0, 1]
    (labels / "SN001" / "SN001_au2.txt").write_text("1,7\n")
    with pytest.raises(DataError, match=r"SN001_au2\.txt:1: expected 'frame,intensity 0 to 5', found '1,7'"):
        convert.convert(lambda p: convert.disfa(labels, images, 2, p), images, "error")


def test_bp4ds_files_become_a_manifest(tmp_path):
    labels, images = tmp_path / "AU_OCC", tmp_path / "images"
    labels.mkdir()
    (labels / "F001_T1.csv").write_text("0,1,2,10\n2440,1,0,9\n2441,0,0,1\n")
    (labels / "M002_T3.csv").write_text("0,1,2,10\n7,0,9,9\n")
    for name in ("F001/T1/2440.jpg", "F001/T1/2441.jpg", "M002/T3/007.jpg"):
        _png(images / name)
    convert.convert(lambda p: convert.bp4d(labels, images, p), images, "error")
    table = ManifestSource(str(images)).table
    assert table["gender"].tolist() == ["Female", "Female", "Male"]
    assert table["id"].tolist() == ["F001/T1/2440.jpg", "F001/T1/2441.jpg", "M002/T3/007.jpg"]
    np.testing.assert_array_equal(table[["AU1", "AU2", "AU10"]], [[1, 0, np.nan], [0, 0, 1], [0, np.nan, np.nan]])
    (labels / "F001_T1.csv").write_text("0,1\n2440,3\n")
    with pytest.raises(DataError, match="frame 2440: a value is none of 0, 1 and 9"):
        convert.convert(lambda p: convert.bp4d(labels, images, p), images, "error")
