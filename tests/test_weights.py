import io
import os
import pathlib
import pickle
import zipfile

import numpy as np
import pytest

from frown_jax.models import torch_file, weights
from frown_jax.models.resnet import ResNet18
from frown_jax.models.torch_file import WeightsError
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
