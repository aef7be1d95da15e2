"""Reads tensors from .pth and .safetensors files without torch and without running anything that they contain.

A .pth file is a pickle. Here its opcodes are interpreted with a closed list of four constructors (an ordered dict
and torch's tensor rebuilders, replaced by inert ones of ours); any other name ends the reading.
"""

from __future__ import annotations

import collections
import io
import math
import pathlib
import pickle
import struct
import zipfile
from typing import Any

import ml_dtypes
import numpy as np

_LEGACY_MAGIC = 0x1950A86A20F9469CFC6C
_STORAGES = {
    "FloatStorage": np.float32,
    "DoubleStorage": np.float64,
    "HalfStorage": np.float16,
    "BFloat16Storage": ml_dtypes.bfloat16,
    "LongStorage": np.int64,
    "IntStorage": np.int32,
    "ShortStorage": np.int16,
    "CharStorage": np.int8,
    "ByteStorage": np.uint8,
    "BoolStorage": np.bool_,
}


class WeightsError(ValueError):
    """A weight file cannot be used; the message names the file, the key and the shapes."""


class _Storage:
    """A flat buffer that is filled after the pickle was read."""

    def __init__(self, dtype: Any, count: int):
        self.dtype, self.count = np.dtype(dtype), count
        self.data: bytes | None = None


class _Tensor:
    def __init__(self, storage: _Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]):
        self.storage, self.offset, self.shape, self.stride = storage, offset, shape, stride

    def array(self) -> np.ndarray:
        if self.storage.data is None or len(self.storage.data) < self.storage.count * self.storage.dtype.itemsize:
            raise WeightsError("the file is truncated")
        flat = np.frombuffer(self.storage.data, self.storage.dtype, self.storage.count)
        if any(s < 0 for s in (*self.shape, *self.stride)) or self.offset < 0:
            raise WeightsError("negative tensor shape")
        if math.prod(self.shape) == 0:
            return np.zeros(self.shape, self.storage.dtype)
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.stride, strict=True))
        if last >= self.storage.count:
            raise WeightsError("a tensor reaches past its storage")
        size = self.storage.dtype.itemsize
        view = np.lib.stride_tricks.as_strided(flat[self.offset :], self.shape, [s * size for s in self.stride])
        return view.copy()


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> _Tensor:
    if not isinstance(storage, _Storage):
        raise WeightsError("a tensor without storage")
    return _Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, stride)))


def _rebuild_parameter(tensor: Any, *_: Any) -> Any:
    return tensor


class _StorageType:
    def __init__(self, dtype: Any):
        self.dtype = dtype


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: io.BufferedIOBase):
        super().__init__(file, encoding="utf-8")
        self.storages: dict[str, _Storage] = {}

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if module == "torch._utils" and name in ("_rebuild_tensor_v2", "_rebuild_tensor"):
            return _rebuild_tensor
        if (module, name) == ("torch._utils", "_rebuild_parameter"):
            return _rebuild_parameter
        if module in ("torch", "torch.storage") and name in _STORAGES:
            return _StorageType(_STORAGES[name])
        raise WeightsError(f"it refers to {module}.{name}; only plain state dicts of tensors are read")

    def persistent_load(self, pid: Any) -> _Storage:
        if not (isinstance(pid, tuple) and len(pid) >= 5 and pid[0] == "storage" and isinstance(pid[1], _StorageType)):
            raise WeightsError("an unknown kind of storage")
        key = str(pid[2])
        return self.storages.setdefault(key, _Storage(pid[1].dtype, int(pid[4])))


def _read_zip(path: pathlib.Path) -> Any:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
        pickles = [n for n in names if n.endswith("/data.pkl") or n == "data.pkl"]
        if len(pickles) != 1:
            raise WeightsError("the archive holds no data.pkl")
        root = pickles[0].removesuffix("data.pkl")
        if f"{root}byteorder" in names and archive.read(f"{root}byteorder") != b"little":
            raise WeightsError("big-endian weights are not supported")
        unpickler = _Unpickler(io.BytesIO(archive.read(pickles[0])))
        tree = unpickler.load()
        for key, storage in unpickler.storages.items():
            if f"{root}data/{key}" not in names:
                raise WeightsError(f"storage {key} is missing from the archive")
            storage.data = archive.read(f"{root}data/{key}")
    return tree


def _read_legacy(path: pathlib.Path) -> Any:
    with open(path, "rb") as file:
        if _Unpickler(file).load() != _LEGACY_MAGIC:
            raise WeightsError("not a torch file")
        _Unpickler(file).load()  # protocol version
        _Unpickler(file).load()  # sizes and byte order of the writing system
        unpickler = _Unpickler(file)
        tree = unpickler.load()
        for key in _Unpickler(file).load():
            storage = unpickler.storages.get(str(key))
            (count,) = struct.unpack("<q", file.read(8))
            if storage is None or count != storage.count:
                raise WeightsError(f"storage {key} does not fit its description")
            storage.data = file.read(count * storage.dtype.itemsize)
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
        if not isinstance(tree, dict) or not all(isinstance(v, _Tensor) for v in tree.values()):
            raise WeightsError("it is not a flat state dict of tensors")
        return {str(k).removeprefix("module."): v.array() for k, v in tree.items()}
    except WeightsError as e:
        raise WeightsError(f"{path}: {e}") from None
    except Exception as e:  # damaged files fail in every layer: zip, pickle, struct, numpy, safetensors
        raise WeightsError(f"{path}: truncated or damaged ({type(e).__name__}: {e})") from None
