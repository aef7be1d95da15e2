"""CIFAR-10S is made as Wang et al. describe it, from a folder or its archive."""

import io
import tarfile

import numpy as np
import pytest
import tensorflow_datasets as tfds
from PIL import Image

from frown_jax.data.cifar10s import CLASSES, MOSTLY_COLOUR, Cifar10SSource
from frown_jax.errors import DataError


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    root = tmp_path_factory.mktemp("cifar")
    rng = np.random.default_rng(0)
    for split, count in (("train", 40), ("test", 6)):
        for kind in CLASSES:
            (root / split / kind).mkdir(parents=True)
            for i in range(count):
                pixels = rng.integers(0, 255, (32, 32, 3), np.uint8)
                Image.fromarray(pixels).save(root / split / kind / f"{i:04d}.png")
    return root


def test_ninety_five_to_five_and_both_at_test(folder):
    source = Cifar10SSource(str(folder))
    train = source.table.query("split == 'train'")
    grey = (train["domain"] == "grey").groupby(train["emotion"]).sum()
    for kind in CLASSES:
        assert grey[kind] == (2 if kind in MOSTLY_COLOUR else 38)
    test = source.table.query("split == 'test'")
    assert (test.groupby(["emotion", "domain"]).size() == 6).all()
    assert test["id"].is_unique
    rows = np.flatnonzero(source.table["split"] == "train")[[0, 1, 2, 39]]
    for image, (_, row) in zip(source.encoded_images(rows), source.table.iloc[rows].iterrows(), strict=True):
        pixels = np.asarray(Image.open(io.BytesIO(image)))
        assert (pixels == pixels[..., :1]).all() == (row["domain"] == "grey")
        if row["domain"] == "colour":
            np.testing.assert_array_equal(pixels, np.asarray(Image.open(folder / row["id"])))


def test_the_archive_is_the_folder(folder, tmp_path):
    with tarfile.open(tmp_path / "images.tar.xz", "w:xz") as archive:
        for split in ("train", "test"):
            archive.add(folder / split, split)
    packed, plain = Cifar10SSource(str(tmp_path)), Cifar10SSource(str(folder))
    assert packed.fingerprint == plain.fingerprint
    assert packed.table.equals(plain.table)
    rows = np.array([0, 150, 420])
    assert list(packed.encoded_images(rows)) == list(plain.encoded_images(rows))


def test_tensorflow_datasets_copy(monkeypatch):
    """A stand-in with the features of tfds' cifar10; the download itself is tfds'."""
    rng = np.random.default_rng(0)
    splits = {
        split: [
            {"id": f"{split}_{i:05d}".encode(), "label": i % 10, "image": rng.integers(0, 255, (32, 32, 3), np.uint8)}
            for i in range(count)
        ]
        for split, count in (("train", 200), ("test", 20))
    }
    asked = []
    monkeypatch.setattr(tfds, "data_source", lambda *a, **k: asked.append((a, k)) or splits)
    source = Cifar10SSource("tfds:/data")
    assert asked == [(("cifar10",), {"data_dir": "/data"})]
    assert source.table["split"].value_counts().to_dict() == {"train": 200, "test": 40}
    row = int(np.flatnonzero(source.table["domain"] == "colour")[0])
    (image,) = source.encoded_images(np.array([row]))
    name = source.table.loc[row, "id"]
    original = next(e for e in splits["train"] if e["id"].decode() in name)
    assert CLASSES[original["label"]] == source.table.loc[row, "emotion"]
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(image))), original["image"])


def test_fewer_images_and_what_is_missing(folder, tmp_path):
    few = Cifar10SSource(str(folder), per_class=20)
    assert (few.table.groupby(["split", "emotion"]).size().loc["train"] == 20).all()
    assert (few.table.groupby(["split", "emotion"]).size().loc["test"] == 8).all()
    with pytest.raises(DataError, match="the folder of CIFAR-10, with train"):
        Cifar10SSource(str(tmp_path / "none"))
    (tmp_path / "train" / "airplane").mkdir(parents=True)
    with pytest.raises(DataError, match="there are no images train/airplane"):
        Cifar10SSource(str(tmp_path))
