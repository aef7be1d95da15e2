"""The CK+ reader on a tree in the archives' own layout, with everything that occurs in it."""

import io
import shutil

import numpy as np
import pytest
from PIL import Image

from frown_jax import config as configs
from frown_jax.data.ckplus import CkPlusSource
from frown_jax.data.load import load
from frown_jax.errors import DataError

# Frames, FACS text, emotion text or None.
SEQUENCES = {
    ("S005", "001"): (6, "  9.0000000e+00   4.0000000e+00\n   1.7000000e+01  0.0000000e+00\n", "   3.0000000e+00\n"),
    ("S010", "001"): (5, "   1.0000000e+00   2.0000000e+00\n", None),
    ("S010", "002"): (4, "", "7.0000000e+00"),
    ("S022", "001"): (5, "1.2000000e+01 5.0000000e+00\n6 3\n\n", "5.0000000e+00"),
}


def _png(value):
    buffer = io.BytesIO()
    Image.fromarray(np.full((20, 24), value, np.uint8)).save(buffer, "PNG")
    return buffer.getvalue()


@pytest.fixture
def tree(tmp_path):
    root = tmp_path / "ck"
    for (subject, sequence), (frames, facs, emotion) in SEQUENCES.items():
        names = [f"{subject}_{sequence}_{i:08d}" for i in range(1, frames + 1)]
        for folder in ("cohn-kanade-images", "FACS", "Emotion", "Landmarks"):
            (root / folder / subject / sequence).mkdir(parents=True)
        for i, name in enumerate(names):
            (root / "cohn-kanade-images" / subject / sequence / f"{name}.png").write_bytes(_png(40 * i))
            # Corners at (6, 4) and (16, 14), the others between them.
            text = ["   6.0000000e+00   4.0000000e+00", " 1.6000000e+01 1.4000000e+01", *["   9.0   8.5"] * 66]
            (root / "Landmarks" / subject / sequence / f"{name}_landmarks.txt").write_text("\n".join(text))
        (root / "FACS" / subject / sequence / f"{names[-1]}_facs.txt").write_text(facs)
        if emotion is not None:
            (root / "Emotion" / subject / sequence / f"{names[-1]}_emotion.txt").write_text(emotion)
    (root / "subjects.csv").write_text("subject, gender ,skin_tone\nS005,Female,light\nS010,Male,\nS022,Male,dark\n")
    return root


def test_peak_frames_have_the_codes_and_the_first_has_none(tree):
    source = CkPlusSource(str(tree), str(tree / "subjects.csv"), frames=2)
    table = source.table
    assert len(table) == 4 * 3
    assert list(table.filter(regex=r"^AU\d+$").columns) == ["AU1", "AU6", "AU9", "AU12", "AU17"]
    one = table[table["sequence"] == "S005_001"].set_index("frame")
    assert list(one.index) == [0, 4, 5]
    # Intensity 0 is present and not graded.
    assert one[["AU9", "AU17", "AU1"]].to_numpy().tolist() == [[0, 0, 0], [1, 1, 0], [1, 1, 0]]
    assert list(one["emotion"]) == ["Neutral", "Disgust", "Disgust"]
    assert list(one["onset"]) == pytest.approx([0, 0.8, 1])
    assert list(one["gender"]) == ["Female"] * 3
    without = table[table["sequence"] == "S010_001"]
    assert without["emotion"].isna().tolist() == [False, True, True]
    assert without["skin_tone"].isna().all()
    empty = table[table["sequence"] == "S010_002"]
    assert empty.filter(regex=r"^AU\d+$").to_numpy().sum() == 0
    assert empty["emotion"].iloc[-1] == "Surprise"
    assert any("593" in note for note in source.notes)
    first = np.asarray(Image.open(io.BytesIO(next(iter(source.encoded_images(np.array([1])))))))
    assert first.shape == (13, 13, 3)  # ten pixels of landmarks and 15 % of them on each side
    assert (first == 160).all()
    whole = np.arange(20 * 24, dtype=np.uint8).reshape(20, 24)
    path = tree / "cohn-kanade-images" / "S005" / "001" / "S005_001_00000005.png"
    Image.fromarray(whole).save(path)
    (again,) = CkPlusSource(str(tree)).encoded_images(np.array([2]))
    # The centre is (11, 9), half a side 6.5 pixels.
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(again)))[..., 0], whole[2:15, 4:17])


def test_it_is_a_data_set_like_others(tree, tmp_path):
    c = configs.default()
    c.data.name, c.data.dir, c.data.subjects = "ckplus", str(tree), str(tree / "subjects.csv")
    c.data.cache_dir = str(tmp_path / "cache")
    c.data.strata, c.data.test_fraction, c.data.val_fraction = ("emotion",), 0.3, 0.4
    data = load(c.data, 32)
    assert set(data.classes) == {"Neutral", "Disgust", "Happiness", "Surprise"}
    assert data.attributes == {"gender": ("Male", "Female", "Unsure"), "skin_tone": ("Dark", "Light")}
    assert data.images.shape[1:] == (13, 13, 3)
    assert len(data) == 4 + 3 * 3  # three peaks of each sequence with an emotion, and every first frame
    assert any("3 images without an emotion" in n for n in data.notes)
    people = data.table.groupby("subject")["split"].nunique()
    assert (people == 1).all()


def _damage(tree):
    """One of everything; what the report must say of it."""
    images, said = tree / "cohn-kanade-images", {}
    (images / "S005" / "001" / "S005_001_00000003.png").unlink()
    said["S005/001"] = "frames 3 are missing"
    (tree / "FACS" / "S010" / "001" / "S010_001_00000005_facs.txt").unlink()
    said["S010_001_00000005_facs.txt"] = "no FACS codes of the peak frame"
    (tree / "Emotion" / "S010" / "002" / "S010_002_00000004_emotion.txt").write_text("9.0")
    said["S010_002_00000004_emotion.txt"] = "emotion '9.0' is not 0 to 7"
    (images / "S010" / "002" / "S010_002_00000001.png").write_bytes(b"no image")
    said["S010_002_00000001.png"] = ""
    (tree / "Landmarks" / "S022" / "001" / "S022_001_00000004_landmarks.txt").unlink()
    said["S022_001_00000004_landmarks.txt"] = "no landmarks of"
    (tree / "Landmarks" / "S022" / "001" / "S022_001_00000005_landmarks.txt").write_text("1 2\n3 x\n")
    said["S022_001_00000005_landmarks.txt"] = "expected 68 lines 'x y'"
    shutil.copytree(images / "S022", images / "S099")
    said["S099/001"] = "no frame of this sequence"
    (tree / "subjects.csv").write_text("subject,gender\nS005,Female\nS022,Male\nS022,Female\n")
    said["S010"] = "this subject is not in the CSV of subjects"
    said["subjects.csv: S022"] = "this subject is there twice"
    return said


def test_everything_that_is_wrong_is_told(tree):
    said = _damage(tree)
    with pytest.raises(DataError, match=r"CK\+ in .*: \d+ problems"):
        CkPlusSource(str(tree), str(tree / "subjects.csv"))
    source = CkPlusSource(str(tree), str(tree / "subjects.csv"), on_bad="skip")
    for where, what in said.items():
        assert any(where in place and what in text for place, text in source.problems.found), (where, what)
    assert set(source.table["id"]) == {"S022_001_00000001", "S022_001_00000003"}
    assert len(source.notes) >= len(source.problems.found)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("9 x", "expected 'AU intensity', found '9 x'"),
        ("9 7", "AU 9 of intensity 7: no such code"),
        ("9", "expected"),
        ("inf 1", "AU inf"),
        ("nan 1", "AU nan"),
        ("1e9 1", "AU 1e+09"),
    ],
)
def test_bad_codes_are_told_by_line(tree, text, message):
    path = tree / "FACS" / "S005" / "001" / "S005_001_00000006_facs.txt"
    path.write_text(f"1 2\n{text}\n")
    with pytest.raises(DataError) as e:
        CkPlusSource(str(tree))
    assert f"{path.name}:2: {message}" in str(e.value)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, "no such file"),
        ("name,gender\nS1,Male\n", "it needs a column subject; it has name, gender"),
        ("subject,AU1\nS1,1\n", "'au1' is not an attribute"),
        ("subject,gender,Gender \nS1,m,m\n", "column 'gender' occurs twice"),
    ],
)
def test_a_bad_csv_of_subjects_is_told(tree, content, message):
    path = tree / "people.csv"
    if content is not None:
        path.write_text(content)
    with pytest.raises(DataError, match=message):
        CkPlusSource(str(tree), str(path))


def test_no_folder_and_bad_settings(tmp_path, tree):
    with pytest.raises(DataError, match="Request CK"):
        CkPlusSource(str(tmp_path))
    with pytest.raises(DataError, match="at least 1 peak frame"):
        CkPlusSource(str(tree), frames=0)


def test_a_linear_onset_labels_the_later_part_of_a_sequence(tree):
    table = CkPlusSource(str(tree), str(tree / "subjects.csv"), onset=0.5).table
    one = table[table["sequence"] == "S005_001"].set_index("frame")
    # Six frames: 0 of 5 shows nothing, from 3 of 5 on the codes are the peak's, and between it is not known.
    assert list(one.index) == [0, 3, 4, 5]
    assert one["AU9"].tolist() == [0, 1, 1, 1]
    assert table.groupby("sequence").size().to_dict() == {"S005_001": 4, "S010_001": 4, "S010_002": 3, "S022_001": 4}


def test_action_units_are_what_is_predicted(tree, tmp_path):
    c = configs.default()
    c.data.name, c.data.dir, c.data.cache_dir = "ckplus", str(tree), str(tmp_path / "cache")  # subjects.csv lies there
    c.data.target, c.data.min_occurrences, c.data.test = "aus", 3, "cohort"
    data = load(c.data, 32)
    # Sequences without an emotion are there, and the empty FACS file says that nothing is shown.
    assert data.classes == ("AU1", "AU6", "AU9", "AU12", "AU17") and len(data) == 16
    assert data.labels[(data.table["sequence"] == "S010_002").to_numpy()].sum() == 0
    assert data.attributes["gender"] == ("Male", "Female", "Unsure")


def test_what_would_fill_memory_is_told(tree):
    """Landmarks far outside give no box of terabytes, frame numbers far apart no list of millions."""
    sequence = tree / "cohn-kanade-images" / "S005" / "001"
    peak = sorted(sequence.glob("*.png"))[-1]
    marks = tree / "Landmarks" / "S005" / "001" / f"{peak.stem}_landmarks.txt"
    lines = marks.read_text().splitlines()
    marks.write_text("\n".join(["1e12 5", *lines[1:]]))
    with pytest.raises(DataError, match=r"a landmark lies at 1e\+12, far outside the image"):
        CkPlusSource(str(tree))
    marks.write_text("\n".join(lines))
    peak.rename(peak.with_name("S005_001_99999999.png"))
    with pytest.raises(DataError, match=r"S005/001: frames .* are missing"):
        CkPlusSource(str(tree))
