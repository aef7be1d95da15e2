import io
import pathlib

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from frown_jax import config as configs
from frown_jax import schema
from frown_jax.data import splits, store
from frown_jax.data.load import load, resize, stored_size
from frown_jax.data.manifest import ManifestSource
from frown_jax.data.rafdb import RafDbSource
from frown_jax.errors import DataError
from frown_jax.faces import recipe
from frown_jax.faces.render import render_many

ROWS = [f"train_{i:05d}" for i in range(1, 9)] + [f"test_{i:04d}" for i in range(1, 5)]


@pytest.fixture(scope="module")
def faces():
    table, params = recipe.generate(recipe.Recipe(train=8, test=4, joint="balanced"))
    return table, render_many(params)


def _jpeg(image):
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG")
    return buffer.getvalue()


def _rafdb(root, faces, layout="official", label_name="list_patition_label.txt", separator="\t"):
    """A tree in RAF-DB's layout from embedded faces."""
    table, images = faces
    base = root / "basic" if layout == "official" else root
    labels = base / "EmoLabel" if layout == "official" else base
    notes = base / ("Annotation/manual" if layout == "official" else "manual")
    for folder in (labels, notes):
        folder.mkdir(parents=True, exist_ok=True)
    lines = []
    for i, name in enumerate(ROWS):
        split = name.split("_")[0]
        pictures = base / ("Image/aligned" if layout == "official" else f"aligned_{split}")
        pictures.mkdir(parents=True, exist_ok=True)
        (pictures / f"{name}_aligned.jpg").write_bytes(_jpeg(images[i]))
        row = table.iloc[i]
        lines.append(f"{name}.jpg {schema.EMOTIONS.index(row['emotion']) + 1}")
        codes = [schema.ATTRIBUTES[a].index(row[a]) for a in ("gender", "race", "age")]
        points = [f"{30 + k}.5{separator}{40 + k}.25" for k in range(5)]
        (notes / f"{name}_manu_attri.txt").write_text("\n".join([*points, *map(str, codes)]))
    (labels / label_name).write_text("\n".join(lines))  # no newline at the end, as in the original
    return base


@pytest.mark.parametrize("layout", ["official", "flat"])
@pytest.mark.parametrize("label_name", ["list_patition_label.txt", "list_partition_label.txt"])
@pytest.mark.parametrize("separator", ["\t", " "])
def test_rafdb_layouts(tmp_path, faces, layout, label_name, separator):
    _rafdb(tmp_path, faces, layout, label_name, separator)
    source = RafDbSource(str(tmp_path))
    columns = ["emotion", "race", "gender", "age", "split"]
    pd.testing.assert_frame_equal(source.table[columns], faces[0][columns], check_dtype=False)
    assert source.table["id"].tolist() == ROWS
    assert any("8 images, published 12,271" in n for n in source.notes)
    assert any("4 images, published 3,068" in n for n in source.notes)


def _break(base, how):
    labels = base / "EmoLabel/list_patition_label.txt"
    notes, pictures = base / "Annotation/manual", base / "Image/aligned"
    if how == "no annotation":
        (notes / f"{ROWS[2]}_manu_attri.txt").unlink()
    elif how == "label outside":
        labels.write_text(labels.read_text().replace(f"{ROWS[2]}.jpg ", f"{ROWS[2]}.jpg 9"))
    elif how == "truncated image":
        path = pictures / f"{ROWS[2]}_aligned.jpg"
        path.write_bytes(path.read_bytes()[:500])
    elif how == "no image":
        (pictures / f"{ROWS[2]}_aligned.jpg").unlink()
    elif how == "short annotation":
        (notes / f"{ROWS[2]}_manu_attri.txt").write_text("1\n")
    elif how == "bad attribute":
        path = notes / f"{ROWS[2]}_manu_attri.txt"
        path.write_text("\n".join([*path.read_text().splitlines()[:6], "7", "1"]))
    elif how == "empty image":
        (pictures / f"{ROWS[2]}_aligned.jpg").write_bytes(b"")
    elif how == "garbage line":
        labels.write_text(labels.read_text() + "\nhello")
    elif how == "listed twice":
        labels.write_text(labels.read_text() + f"\n{ROWS[2]}.jpg 1")


BREAKS = {
    "no annotation": r"list_patition_label.txt:3: no annotation train_00003_manu_attri.txt",
    "label outside": r"list_patition_label.txt:3: label '9\d' is not 1 to 7",
    "truncated image": r"train_00003_aligned.jpg: not a readable image",
    "no image": r"list_patition_label.txt:3: no image train_00003_aligned.jpg",
    "short annotation": r"train_00003_manu_attri.txt: expected 8 lines",
    "bad attribute": r"train_00003_manu_attri.txt:7: race '7' is not 0 to 2",
    "empty image": r"train_00003_aligned.jpg: not a readable image",
    "garbage line": r"list_patition_label.txt:13: expected",
    "listed twice": r"list_patition_label.txt:13: train_00003 is listed on line 3 already",
}


@pytest.mark.parametrize("how", BREAKS)
def test_rafdb_problems_are_told_by_file_and_line(tmp_path, faces, how):
    base = _rafdb(tmp_path, faces)
    _break(base, how)
    with pytest.raises(DataError, match=BREAKS[how]) as error:
        RafDbSource(str(tmp_path))
    assert "on_bad=skip" in str(error.value)
    skipping = RafDbSource(str(tmp_path), on_bad="skip")
    kept = 12 if how in ("garbage line", "listed twice") else 11
    assert len(skipping.table) == kept
    assert len([n for n in skipping.notes if n.startswith("left out: ")]) == 1


def test_rafdb_without_data_says_where_to_get_it(tmp_path):
    for folder in ("", str(tmp_path), str(tmp_path / "nowhere")):
        with pytest.raises(DataError, match=r"(?s)Request it from its authors.*EmoLabel/list_patition_label.txt"):
            RafDbSource(folder)
    (tmp_path / "list_patition_label.txt").write_text("")
    with pytest.raises(DataError, match="the label file is empty"):
        RafDbSource(str(tmp_path))


def _manifest(root, faces, header="path,split,emotion,race,gender,age,subject,AU12", edit=None):
    table, images = faces
    lines = [header]
    for i, row in table.iterrows():
        (root / f"{i}.png").write_bytes(_jpeg(images[i]))
        values = {**row, "path": f"{i}.png", "AU12": row["AU12"]}
        lines.append(",".join(str(values.get(c, "")) for c in header.split(",")))
    text = "\n".join(lines)
    (root / "labels.csv").write_text(edit(text) if edit else text)
    return str(root)


def test_manifest_reads_everything(tmp_path, faces):
    source = ManifestSource(_manifest(tmp_path, faces))
    for column in ("emotion", "race", "gender", "age", "subject", "split"):
        assert source.table[column].tolist() == faces[0][column].tolist()
    assert source.table["AU12"].tolist() == faces[0]["AU12"].tolist()


def test_manifest_maps_common_names(tmp_path, faces):
    text = (
        "Image,Usage,Label,race,gender,age,AU1\n"
        "0.png,Training,happy,White,f,3,1\n"
        "1.png,PrivateTest,SAD,Black,m,25.5,-1\n"
        "2.png,validation,Angry,East Asian,Unknown,70+,9\n"
        "3.png,test,neutral,,,more than 70,\n"
    )
    source = ManifestSource(_manifest(tmp_path, faces, edit=lambda _: text))
    t = source.table
    assert t["split"].tolist() == ["train", "test", "val", "test"]
    assert t["emotion"].tolist() == ["Happiness", "Sadness", "Anger", "Neutral"]
    assert t["race"].fillna("?").tolist() == ["Caucasian", "African-American", "Asian", "?"]
    assert t["gender"].fillna("?").tolist() == ["Female", "Male", "Unsure", "?"]
    assert t["age"].tolist() == ["0-3", "20-39", "70+", "70+"]
    assert t["AU1"].fillna(-1).tolist() == [1, -1, -1, -1]


def test_manifest_pixel_columns_and_integer_labels(tmp_path):
    pixels = " ".join(str(v % 256) for v in range(48 * 48))
    (tmp_path / "labels.csv").write_text(f"emotion,pixels,Usage\n0,{pixels},Training\n1,{pixels},PublicTest\n")
    with pytest.raises(DataError, match=r"labels.csv:2: emotion is the number 0: name the codes with"):
        ManifestSource(str(tmp_path))
    source = ManifestSource(str(tmp_path), emotion_codes=("Angry", "Disgust"))
    assert source.table["emotion"].tolist() == ["Anger", "Disgust"]
    image = store.decode(next(source.encoded_images(np.array([0]))), "x")
    np.testing.assert_array_equal(image[..., 0].reshape(-1), np.arange(48 * 48) % 256)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda t: t.replace("0.png", "../../etc/passwd"), r"labels.csv:2: path .* leaves the data folder"),
        (lambda t: t.replace("1.png", "none.png"), r"labels.csv:3: no image"),
        (lambda t: t.replace("train", "trian", 1), r"labels.csv:2: split 'trian' is none of"),
        (lambda t: t.replace("emotion", "feeling").replace("AU12", "note"), r"labels.csv:1: no column 'emotion'"),
        (lambda t: t.replace("path", "where"), r"labels.csv:1: no column 'path' or 'pixels'"),
        (lambda t: "", "not a readable CSV"),
        (lambda t: t.splitlines()[0], "no usable image"),
        (lambda t: t.replace(",train,", ",train,Contempt of ", 1), r"accept it with --config.data.classes"),
        (lambda t: t.replace(",0\n", ",maybe\n", 1), r"AU12 is 'maybe'"),
        (lambda t: t.replace("0.png", "0\0.png", 1), r"labels.csv:2: .* is no file name"),
        (lambda t: t.replace("0.png", "0" * 5000, 1), r"labels.csv:2: .* is no file name"),
    ],
)
def test_manifest_problems_are_told_by_line(tmp_path, faces, edit, message):
    with pytest.raises(DataError, match=message):
        ManifestSource(_manifest(tmp_path, faces, edit=edit))


def test_manifest_pixels_beyond_any_number_are_told(tmp_path):
    (tmp_path / "labels.csv").write_text(f"pixels,emotion\n{10**30},Anger\n")
    with pytest.raises(DataError, match=r"labels.csv:2: pixels must be integers"):
        ManifestSource(str(tmp_path))


def test_classes_beyond_the_seven_are_accepted_or_left_out_on_request(tmp_path, faces):
    name = faces[0]["emotion"][0]
    folder = _manifest(tmp_path, faces, edit=lambda t: t.replace(name, "Contempt"))
    wanted = (faces[0]["emotion"] == name).sum()
    assert (ManifestSource(folder, classes=("Contempt",)).table["emotion"] == "Contempt").sum() == wanted
    source = ManifestSource(folder, ignore=("Contempt",))
    assert len(source.table) == 12 - wanted
    assert f"{wanted} rows" in source.notes[0]


def test_absurd_images_are_refused():
    data = io.BytesIO()
    Image.new("1", (30000, 30000)).save(data, "PNG")
    with pytest.raises(DataError, match=r"big.png: 30000 x 30000 pixels is more than|not a readable image"):
        store.decode(data.getvalue(), "big.png")


def test_study_split_is_scikit_learns():
    sk = pytest.importorskip("sklearn.model_selection")
    for n in (100, 12271):
        _, val = sk.train_test_split(np.arange(n), test_size=0.2, random_state=5)
        np.testing.assert_array_equal(np.flatnonzero(splits.study_split(n)), np.sort(val))
    assert splits.study_split(12271).sum() == 2455


def test_stratified_split_respects_strata_and_subjects():
    rng = np.random.default_rng(0)
    subject = np.repeat(np.arange(400), 3)
    race = np.array(schema.RACES)[rng.choice(3, 400, p=[0.8, 0.05, 0.15])][subject]
    emotion = np.array(schema.EMOTIONS)[rng.integers(0, 7, 1200)]
    table = pd.DataFrame({"split": "train", "emotion": emotion, "race": race, "subject": subject.astype(str)})
    out, _ = splits.assign(table, "train", "val", 0.2, ("emotion", "race"), 5)
    assert (out.groupby("subject")["split"].nunique() == 1).all()
    val = out["split"] == "val"
    assert val.mean() == pytest.approx(0.2, abs=0.01)

    def error(mask):
        cells = pd.Series(mask).groupby([out["emotion"], out["race"]]).agg(["sum", "size"])
        return ((cells["sum"] - 0.2 * cells["size"]) ** 2).mean()

    unstratified = [error(np.isin(subject, rng.choice(400, 80, replace=False))) for _ in range(50)]
    assert error(val) < 0.35 * np.mean(unstratified)
    again, _ = splits.assign(table, "train", "val", 0.2, ("emotion", "race"), 5)
    assert out.equals(again)
    other, _ = splits.assign(table, "train", "val", 0.2, ("emotion", "race"), 6)
    assert not out.equals(other)


def test_tiny_strata_stay_whole_and_are_reported():
    table = pd.DataFrame({"split": "train", "emotion": ["Anger"] * 50 + ["Fear"] * 2})
    out, notes = splits.assign(table, "train", "val", 0.2, ("emotion",), 0)
    assert (out["split"] == "val").sum() == 10
    assert not ((out["split"] == "val") & (out["emotion"] == "Fear")).any()
    assert "Fear" in notes[0]
    with pytest.raises(DataError, match="too few"):
        splits.assign(table.head(1), "train", "val", 0.2, ("emotion",), 0)


def _load(tmp_path, folder, **fields):
    c = configs.default()
    c.data.name, c.data.dir, c.data.cache_dir = "manifest", folder, str(tmp_path / "cache")
    c.data.update(fields)
    return load(c.data, 48)


def test_load_round_trip_and_cache(tmp_path, faces):
    folder = tmp_path / "data"
    folder.mkdir()
    _manifest(folder, faces)
    data = _load(tmp_path, str(folder), val_fraction=0.5)
    assert data.images.shape == (12, 48, 48, 3)
    assert data.images.dtype == np.uint8
    assert data.table["emotion"].tolist() == faces[0]["emotion"].tolist()
    expected = resize(store.decode((pathlib.Path(folder) / "3.png").read_bytes(), "3"), 48)
    np.testing.assert_array_equal(data.images[3], expected)
    assert set(data.table["split"]) == {"train", "val", "test"}
    assert data.attributes["race"] == schema.RACES
    again = _load(tmp_path, str(folder), val_fraction=0.5)
    assert again.fingerprint == data.fingerprint
    np.testing.assert_array_equal(again.images, data.images)
    other = _load(tmp_path, str(folder), val_fraction=0.7)
    assert other.fingerprint != data.fingerprint


def test_data_without_attributes_says_what_is_missing(tmp_path, faces):
    folder = tmp_path / "data"
    folder.mkdir()
    _manifest(folder, faces, header="path,emotion")
    data = _load(tmp_path, str(folder), val_fraction=0.3, test_fraction=0.3)
    assert data.attributes == {}
    assert any("no race, gender, age" in n for n in data.notes)
    assert any("no test images given" in n for n in data.notes)
    with pytest.raises(DataError, match="names 'race'"):
        _load(tmp_path, str(folder), val_fraction=0.3, test_fraction=0.3, attributes=("race",))


def test_a_validation_set_of_one_class_is_refused(tmp_path, faces):
    folder = tmp_path / "data"
    folder.mkdir()
    _manifest(folder, faces, edit=lambda t: t.replace("1.png,train", "1.png,val", 1))
    with pytest.raises(DataError, match=r"all val images show .*data.val_fraction"):
        _load(tmp_path, str(folder))


def test_stored_size():
    assert stored_size([(100, 100)] * 3, 224) == 100
    assert stored_size([(100, 100)] * 3, 48) == 48
    assert stored_size([(48, 48), (60, 50)], 224) == 100
