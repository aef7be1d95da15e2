import io
import os
import pathlib
import pickle
import zipfile

import numpy as np
import pytest

from frown_jax.errors import WeightsError
from frown_jax.models import torch_file, weights
from frown_jax.models.resnet import ResNet18
from tests import torch_resnet

GOLDEN = pathlib.Path(__file__).parent / "golden"
FILES = ["tiny_zip.pth", "tiny_legacy.pth", "tiny.safetensors"]


@pytest.mark.parametrize("name", FILES)
def test_reads_what_torch_wrote(name):
    expected = torch_resnet.state_dict(2, 3, 5)
    found = torch_file.read(str(GOLDEN / name))
    assert set(found) == {*expected, "bn1.num_batches_tracked"}
    assert int(found["bn1.num_batches_tracked"]) == 4
    for key, value in expected.items():
        np.testing.assert_array_equal(found[key], value)
    tree = weights.convert(found, ResNet18(classes=3, width=2), name)
    np.testing.assert_array_equal(
        tree["params"]["layer2_0"]["downsample_0"]["kernel"].transpose(3, 2, 0, 1),
        expected["layer2.0.downsample.0.weight"],
    )


@pytest.mark.parametrize("name", FILES)
@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.98])
def test_truncated_files_are_named(name, share, tmp_path):
    data = (GOLDEN / name).read_bytes()
    path = tmp_path / name
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(WeightsError, match=name):
        torch_file.read(str(path))


def _evil():
    class Evil:
        def __reduce__(self):
            return os.system, ("touch /tmp/frown_jax_was_here",)

    return pickle.dumps({"fc.weight": Evil()}, protocol=2)


def test_pickled_code_is_never_run(tmp_path):
    proof = pathlib.Path("/tmp/frown_jax_was_here")
    proof.unlink(missing_ok=True)
    zipped, legacy = tmp_path / "zip.pth", tmp_path / "legacy.pth"
    with zipfile.ZipFile(zipped, "w") as archive:
        archive.writestr("archive/data.pkl", _evil())
    header = io.BytesIO()
    for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True}):
        pickle.dump(part, header, protocol=2)
    legacy.write_bytes(header.getvalue() + _evil())
    for path in (zipped, legacy):
        with pytest.raises(WeightsError, match="system"):
            torch_file.read(str(path))
    assert not proof.exists()


def test_errors_name_key_and_shapes():
    model, good = ResNet18(classes=3, width=2), torch_resnet.state_dict(2, 3, 5)
    with pytest.raises(WeightsError, match=r"layer3\.1\.conv2\.weight has shape \(8, 8, 5, 5\).*\(8, 8, 3, 3\)"):
        weights.convert(good | {"layer3.1.conv2.weight": np.zeros((8, 8, 5, 5))}, model, "f")
    with pytest.raises(WeightsError, match=r"1 keys are missing: bn1\.running_var"):
        weights.convert({k: v for k, v in good.items() if k != "bn1.running_var"}, model, "f")
    with pytest.raises(WeightsError, match="1 unexpected keys: layer5"):
        weights.convert(good | {"layer5.weight": np.zeros(1)}, model, "f")
    with pytest.raises(WeightsError, match="not finite"):
        weights.convert(good | {"bn1.bias": np.full(2, np.nan)}, model, "f")
    with pytest.raises(WeightsError, match="no such file"):
        torch_file.read("/nowhere.pth")


def test_the_head_can_be_left_out():
    tree = weights.convert(torch_resnet.state_dict(2, 1000, 5), ResNet18(classes=1000, width=2), "f", without=("fc",))
    assert "fc" not in tree["params"]
    assert "layer4_1" in tree["batch_stats"]


def _archive(path, pickled, **entries):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("a/data.pkl", pickled)
        for key, data in entries.items():
            archive.writestr(f"a/data/{key.removeprefix('_')}", data, zipfile.ZIP_DEFLATED)
    return str(path)


def _with_tensor(shape, stride, count=4, key=b"X\x01\x00\x00\x00w"):
    """A state dict {key: tensor} over storage '0' of `count` floats, opcode by opcode."""

    def numbers(values):
        return b"(" + b"".join(b"\x8a\x08" + v.to_bytes(8, "little") for v in values) + b"t"

    storage = b"(X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
    storage += b"\x8a\x08" + count.to_bytes(8, "little") + b"tQ"
    tensor = b"ctorch._utils\n_rebuild_tensor_v2\n(" + storage + b"K\x00" + numbers(shape) + numbers(stride)
    return b"\x80\x02}(" + key + tensor + b"\x89ccollections\nOrderedDict\n)RtRu."


def test_a_file_cannot_make_more_of_itself(tmp_path):
    """Strides of zero, memo numbers, sizes and compressed entries that would fill memory."""
    path, four = tmp_path / "w.pth", np.arange(4, dtype=np.float32).tobytes()
    read = torch_file.read(_archive(path, _with_tensor((2, 2), (2, 1)), _0=four))
    np.testing.assert_array_equal(read["w"], [[0, 1], [2, 3]])
    for pickled, entries, what in (
        (_with_tensor((1 << 40,), (0,)), {"_0": four}, "larger than its storage"),
        (_with_tensor((2, 2), (2, 1), count=1 << 40), {"_0": four}, "truncated"),
        (_with_tensor((2, 2), (2, 1), count=1 << 20), {"_0": bytes(1 << 22)}, "larger than the file"),
        (b"\x80\x02}r\xff\xff\xff\xff.", {}, None),  # a memo of four billion places, in Python's own reader
        (_with_tensor((2, 2), (2, 1), key=b")" + b"\x85" * 100_000), {"_0": four}, "a dict key of type tuple"),
        (b"\x80\x02cos\nsystem\n.", {}, "os.system"),
        (b"\x80\x02(i__main__\nx\n.", {}, "it does INST"),
    ):
        if what is None:
            assert torch_file.read(_archive(path, pickled, **entries)) == {}
            continue
        with pytest.raises(WeightsError, match=what):
            torch_file.read(_archive(path, pickled, **entries))
