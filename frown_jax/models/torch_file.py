"""Reads tensors from .pth and .safetensors files without torch and without running anything that they contain."""

from __future__ import annotations

import io
import pathlib
import struct
import zipfile
from typing import Any

import numpy as np

from frown_jax.errors import WeightsError
from frown_jax.models.torch_pickle import Machine, Tensor

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C


def _read_zip(path: pathlib.Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        names, room = archive.namelist(), path.stat().st_size
        if any(info.file_size > room for info in archive.infolist()):  # torch never compresses
            raise WeightsError("an entry is larger than the file")
        pickles = [n for n in names if n.endswith("/data.pkl") or n == "data.pkl"]
        if len(pickles) != 1:
            raise WeightsError("the archive holds no data.pkl")
        root = pickles[0].removesuffix("data.pkl")
        if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != b"little":
            raise WeightsError("big-endian weights are not supported")
        machine = Machine()
        tree = machine.run(io.BytesIO(archive.read(pickles[0])))
        for key, storage in machine.storages.items():
            if f"{root}data/{key}" not in names:
                raise WeightsError(f"storage {key} is missing from the archive")
            storage.data = archive.read(f"{root}data/{key}")
    return tree


def _read_legacy(path: pathlib.Path) -> Any:
    with open(path, "rb") as file:
        if Machine().run(file) != _LEGACY_MAGIC:
            raise WeightsError("not a torch file")
        Machine().run(file)  # protocol version
        Machine().run(file)  # sizes and byte order of the writing system
        machine = Machine()
        tree = machine.run(file)
        for key in Machine().run(file):
            storage = machine.storages.get(str(key))
            (count,) = struct.unpack("<q", file.read(8))
            if storage is None or count != storage.count:
                raise WeightsError(f"storage {key} does not fit its description")
            size = count * storage.dtype.itemsize
            if size > path.stat().st_size - file.tell():
                raise WeightsError("the file is truncated")
            storage.data = file.read(size)
    return tree


def read(path: str) -> dict[str, np.ndarray]:
    """Tensors by name from a torch state dict (.pth, .pt; zipped or legacy) or a .safetensors file.

    Args:
      path: local file.

    Returns:
      {name: array}, dtypes as stored.

    Raises:
      WeightsError: missing, truncated, or anything but a flat dict of tensors.
    """
    file = pathlib.Path(path).expanduser()
    if not file.is_file():
        raise WeightsError(f"{path}: no such file")
    try:
        if file.suffix == ".safetensors":
            from safetensors.numpy import load_file

            return load_file(file)
        tree = _read_zip(file) if zipfile.is_zipfile(file) else _read_legacy(file)
        if isinstance(tree, dict) and isinstance(tree.get("state_dict"), dict):
            tree = tree["state_dict"]
        if not isinstance(tree, dict) or not all(isinstance(v, Tensor) for v in tree.values()):
            raise WeightsError("it is not a flat state dict of tensors")
        return {str(k).removeprefix("module."): v.array() for k, v in tree.items()}
    except WeightsError as e:
        raise WeightsError(f"{path}: {e}") from None
    except Exception as e:  # damaged files fail in every layer: zip, pickle, struct, numpy, safetensors
        raise WeightsError(f"{path}: truncated or damaged ({type(e).__name__}: {e})") from None
