"""Runs the pickles of torch's files without Python's reader of pickles.

The few opcodes that state dicts consist of are interpreted here, with a closed list of constructors (an ordered dict
and torch's tensor rebuilders, replaced by inert ones); anything else ends the reading. Nothing is allocated that the
file is not large enough to fill.
"""

from __future__ import annotations

import math
import pickletools
from typing import IO, Any

import ml_dtypes
import numpy as np

from frown_jax.errors import WeightsError

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


class Storage:
    """A flat buffer that is filled after the pickle was read."""

    def __init__(self, dtype: Any, count: int):
        self.dtype, self.count = np.dtype(dtype), count
        self.data: bytes | None = None


class Tensor:
    """A view of a storage."""

    def __init__(self, storage: Storage, offset: int, shape: tuple[int, ...], stride: tuple[int, ...]):
        self.storage, self.offset, self.shape, self.stride = storage, offset, shape, stride

    def array(self) -> np.ndarray:
        """A copy of its elements.

        Raises:
          WeightsError: its storage does not hold them.
        """
        if self.storage.data is None or len(self.storage.data) < self.storage.count * self.storage.dtype.itemsize:
            raise WeightsError("the file is truncated")
        flat = np.frombuffer(self.storage.data, self.storage.dtype, self.storage.count)
        if any(s < 0 for s in (*self.shape, *self.stride)) or self.offset < 0:
            raise WeightsError("negative tensor shape")
        if math.prod(self.shape) > self.storage.count:  # strides of 0: kilobytes would become terabytes
            raise WeightsError("a tensor larger than its storage")
        if math.prod(self.shape) == 0:
            return np.zeros(self.shape, self.storage.dtype)
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.stride, strict=True))
        if last >= self.storage.count:
            raise WeightsError("a tensor reaches past its storage")
        size = self.storage.dtype.itemsize
        view = np.lib.stride_tricks.as_strided(flat[self.offset :], self.shape, [s * size for s in self.stride])
        return view.copy()


def _rebuild_tensor(storage: Any, offset: Any, shape: Any, stride: Any, *_: Any) -> Tensor:
    if not isinstance(storage, Storage):
        raise WeightsError("a tensor without storage")
    return Tensor(storage, int(offset), tuple(map(int, shape)), tuple(map(int, stride)))


def _rebuild_parameter(tensor: Any, *_: Any) -> Any:
    return tensor


class _StorageType:
    def __init__(self, dtype: Any):
        self.dtype = dtype


def _ordered_dict(items: Any = ()) -> dict:
    return {_key(k): v for k, v in items}


_CONSTRUCTORS: dict[tuple[str, str], Any] = {
    ("collections", "OrderedDict"): _ordered_dict,
    ("torch._utils", "_rebuild_tensor"): _rebuild_tensor,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    **{(module, name): _StorageType(t) for module in ("torch", "torch.storage") for name, t in _STORAGES.items()},
}

_NUMBERS = ("INT", "BININT", "BININT1", "BININT2", "LONG", "LONG1", "LONG4", "FLOAT", "BINFLOAT")
_TEXTS = ("STRING", "BINSTRING", "SHORT_BINSTRING", "UNICODE", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8")
_VALUES = frozenset((*_NUMBERS, *_TEXTS, "BINBYTES", "SHORT_BINBYTES", "BINBYTES8"))
_CONSTANTS = {"NONE": None, "NEWTRUE": True, "NEWFALSE": False}
_MARK = object()


def _key(key: Any) -> Any:
    if not isinstance(key, (str, int)):  # deeply nested tuples have no hash that ends well
        raise WeightsError(f"a dict key of type {type(key).__name__}")
    return key


class Machine:
    """Runs a pickle's opcodes: a stack and a memo, numbers, text, lists, tuples, dicts, and the constructors above."""

    def __init__(self) -> None:
        self.storages: dict[str, Storage] = {}
        self._stack: list[Any] = []
        self._memo: dict[int, Any] = {}

    def run(self, file: IO[bytes]) -> Any:
        """The object of the next pickle in the file."""
        for opcode, argument, _ in pickletools.genops(file):
            if opcode.name in _VALUES:
                self._stack.append(argument)
            elif opcode.name in _CONSTANTS:
                self._stack.append(_CONSTANTS[opcode.name])
            elif opcode.name == "STOP":
                break
            elif opcode.name not in ("PROTO", "FRAME"):
                step = getattr(self, f"_{opcode.name.lower()}", None)
                if step is None:
                    raise WeightsError(f"it does {opcode.name}; only plain state dicts of tensors are read")
                step(argument)
        return self._stack.pop()

    def _since_mark(self) -> list[Any]:
        place = len(self._stack) - 1
        while self._stack[place] is not _MARK:  # ends in an IndexError where there is none
            place -= 1
        found = self._stack[place + 1 :]
        del self._stack[place:]
        return found

    def _mark(self, _: Any) -> None:
        self._stack.append(_MARK)

    def _pop(self, _: Any) -> None:
        self._stack.pop()

    def _memoize(self, _: Any) -> None:
        self._memo[len(self._memo)] = self._stack[-1]

    def _put(self, number: int) -> None:
        self._memo[number] = self._stack[-1]

    _binput = _long_binput = _put

    def _get(self, number: int) -> None:
        self._stack.append(self._memo[number])

    _binget = _long_binget = _get

    def _empty_list(self, _: Any) -> None:
        self._stack.append([])

    def _empty_dict(self, _: Any) -> None:
        self._stack.append({})

    def _empty_tuple(self, _: Any) -> None:
        self._stack.append(())

    def _tuple(self, _: Any) -> None:
        self._stack.append(tuple(self._since_mark()))

    def _tuple1(self, _: Any) -> None:
        self._stack[-1:] = [tuple(self._stack[-1:])]

    def _tuple2(self, _: Any) -> None:
        self._stack[-2:] = [tuple(self._stack[-2:])]

    def _tuple3(self, _: Any) -> None:
        self._stack[-3:] = [tuple(self._stack[-3:])]

    def _append(self, _: Any) -> None:
        item = self._stack.pop()
        self._top(list).append(item)

    def _appends(self, _: Any) -> None:
        items = self._since_mark()
        self._top(list).extend(items)

    def _setitem(self, _: Any) -> None:
        value, key = self._stack.pop(), self._stack.pop()
        self._top(dict)[_key(key)] = value

    def _setitems(self, _: Any) -> None:
        items = self._since_mark()
        target = self._top(dict)
        for key, value in zip(items[::2], items[1::2], strict=True):
            target[_key(key)] = value

    def _build(self, _: Any) -> None:
        self._stack.pop()  # attributes of a dict (_metadata): of no use here

    def _global(self, argument: str) -> None:
        module, _, name = argument.partition(" ")
        self._constructor(module, name)

    def _stack_global(self, _: Any) -> None:
        name, module = self._stack.pop(), self._stack.pop()
        self._constructor(str(module), str(name))

    def _constructor(self, module: str, name: str) -> None:
        found = _CONSTRUCTORS.get((module, name))
        if found is None:
            raise WeightsError(f"it refers to {module}.{name}; only plain state dicts of tensors are read")
        self._stack.append(found)

    def _reduce(self, _: Any) -> None:
        arguments, function = self._stack.pop(), self._stack.pop()
        if function not in (_ordered_dict, _rebuild_tensor, _rebuild_parameter) or not isinstance(arguments, tuple):
            raise WeightsError("it calls what is no constructor")
        self._stack.append(function(*arguments))

    def _binpersid(self, _: Any) -> None:
        pid = self._stack.pop()
        if not (isinstance(pid, tuple) and len(pid) >= 5 and pid[0] == "storage" and isinstance(pid[1], _StorageType)):
            raise WeightsError("an unknown kind of storage")
        self._stack.append(self.storages.setdefault(str(pid[2]), Storage(pid[1].dtype, int(pid[4]))))

    def _top(self, kind: type) -> Any:
        if type(self._stack[-1]) is not kind:
            raise WeightsError(f"no {kind.__name__} where one should be")
        return self._stack[-1]
