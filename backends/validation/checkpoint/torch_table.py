"""From what a torch pickle describes to tensors and plain values by name (`model.0.weight`, `optimizer.state.0.exp_avg`)."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from backends.escape import plain
from backends.validation.checkpoint.kinds import KINDS, Kind
from backends.validation.checkpoint.pickled import Called, Named, Persistent
from backends.validation.checkpoint.tensor import Tensor, Value, bytes_of, checked_name, covered, is_dense, row_by_row
from backends.validation.checkpoint.torch_zip import Storage
from backends.validation.errors import CheckpointRefused

MOST_VALUES = 200_000
_DEEPEST = 100
_LISTED = 16  # a longer list of plain values is told by its digest
_STORAGES = {
    **{"Double": "F64", "Float": "F32", "Half": "F16", "BFloat16": "BF16", "Long": "I64", "Int": "I32", "Short": "I16"},
    **{"Char": "I8", "Byte": "U8", "Bool": "BOOL", "ComplexFloat": "C64", "Untyped": "U8"},
}
_DTYPES = {
    **{"float64": "F64", "double": "F64", "float32": "F32", "float": "F32", "float16": "F16", "half": "F16", "bfloat16": "BF16"},
    **{"int64": "I64", "int32": "I32", "int16": "I16", "int8": "I8", "uint8": "U8", "bool": "BOOL", "complex64": "C64"},
    **{"uint16": "U16", "uint32": "U32", "uint64": "U64", "float8_e4m3fn": "F8_E4M3", "float8_e5m2": "F8_E5M2"},
    **{"float8_e4m3fnuz": "F8_E4M3FNUZ", "float8_e5m2fnuz": "F8_E5M2FNUZ", "float8_e8m0fnu": "F8_E8M0"},
}
_REBUILDS = {f"torch._utils._rebuild_tensor{v}" for v in ("", "_v2", "_v3")}
_WRAPPERS = {"torch._utils._rebuild_parameter", "torch._utils._rebuild_parameter_with_state"}
_FROM_TYPE = {"torch._tensor._rebuild_from_type", "torch._tensor._rebuild_from_type_v2"}


def tensor_call(node: Any) -> Called | None:
    """The call that would rebuild a tensor, out of its wrappers; None where `node` is none."""
    for _ in range(_DEEPEST):
        if not isinstance(node, Called):
            return None
        if node.name in _REBUILDS:
            return node
        if node.name in _WRAPPERS and node.args:
            node = node.args[0]
        elif (
            node.name in _FROM_TYPE
            and len(node.args) >= 3
            and isinstance(node.args[0], Named)
            and isinstance(node.args[2], tuple)
        ):
            node = Called(node.args[0].name, node.args[2])
        else:
            return None
    return None


@dataclass(frozen=True, slots=True)
class Described:
    """A tensor as the pickle tells it: its storage by key, the rest in elements."""

    storage: str
    kind: Kind
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def placed(self, name: str, file: str, storage: Storage, where: str) -> Tensor:
        """As bytes of the file. Raises `CheckpointRefused` where the storage does not hold it."""
        width = self.kind.bits // 8
        bytes_of(self.kind, self.shape, where)
        size = covered(self.shape, self.strides) * width
        start = self.offset * width
        if start + size > storage.size:
            message = f"bytes {start:,} to {start + size:,} of a storage that has {storage.size:,}"
            raise CheckpointRefused(message, where=f"{where}: {plain(name, 200)}")
        strides = None if self.strides == row_by_row(self.shape) or 0 in self.shape else self.strides
        if strides is not None and is_dense(self.shape, strides) and _is_in_order(self.shape, strides):
            strides = None
        return Tensor(checked_name(name, where), self.kind, self.shape, file, storage.start + start, size, strides)


def _is_in_order(shape: tuple[int, ...], strides: tuple[int, ...]) -> bool:
    """The same as row by row but for axes of length 1, whose stride says nothing."""
    return all(n == 1 or s == r for n, s, r in zip(shape, strides, row_by_row(shape), strict=True))


def describe(call: Called, where: str) -> Described:
    """Raises `CheckpointRefused` for what is no tensor with a storage."""
    args = call.args
    storage = args[0].args if args and isinstance(args[0], Persistent) else None
    if not isinstance(storage, tuple) or len(storage) < 5 or storage[0] != "storage" or not isinstance(storage[1], Named):
        raise CheckpointRefused("a tensor without a storage", where=where)
    if len(args) < 4 or not isinstance(storage[2], str):
        raise CheckpointRefused("a tensor without shape and strides", where=where)
    shape, strides = _whole(args[2], where), _whole(args[3], where)
    if len(shape) != len(strides) or type(args[1]) is not int or args[1] < 0:
        raise CheckpointRefused("a tensor whose shape, strides and offset do not fit", where=where)
    return Described(storage[2], _kind(call, storage[1], where), args[1], shape, strides)


def _kind(call: Called, storage: Named, where: str) -> Kind:
    if call.name.endswith("_v3"):
        dtype = call.args[6] if len(call.args) > 6 else None
        name = _DTYPES.get(dtype.name.removeprefix("torch.")) if isinstance(dtype, Named) else None
    else:
        name = _STORAGES.get(storage.name.rpartition(".")[2].removesuffix("Storage"))
    if name is None:
        raise CheckpointRefused(f"numbers of kind {plain(storage.name, 60)} are not read", where=where)
    return KINDS[name]


def _whole(value: Any, where: str) -> tuple[int, ...]:
    if isinstance(value, Called) and value.name == "torch.Size" and value.args:
        value = value.args[0]
    if not isinstance(value, tuple | list) or not all(type(n) is int and 0 <= n < 1 << 62 for n in value) or len(value) > 64:
        raise CheckpointRefused(f"{plain(str(value), 60)} is no shape", where=where)
    return tuple(value)


class Walk:
    """Every tensor and every plain value below a node, by dotted path. Structures that hold themselves end at their own name."""

    def __init__(self, where: str) -> None:
        self.tensors: list[tuple[str, Called]] = []
        self.values: dict[str, Value] = {}
        self._where = where
        self._seen = 0

    def down(self, node: Any, path: str = "", above: tuple[int, ...] = ()) -> None:
        self._seen += 1
        if self._seen > 4 * MOST_VALUES or len(above) > _DEEPEST:
            raise CheckpointRefused("its structure is too deep or too large to be told", where=self._where)
        call = tensor_call(node)
        if call is not None:
            self.tensors.append((path or "tensor", call))
        elif isinstance(node, str | int | float | bool | None):
            self._value(path, node)
        elif isinstance(node, bytes | bytearray):
            self._value(path, f"{len(node)} bytes {_digest([bytes(node)])}")
        elif isinstance(node, Named):
            self._value(path, node.name)
        elif id(node) in above:
            self._value(path, "itself")
        else:
            self._container(node, path, (*above, id(node)))

    def _container(self, node: Any, path: str, above: tuple[int, ...]) -> None:
        if isinstance(node, Called):
            self._called(node, path, above)
        elif isinstance(node, Mapping):
            for key, value in node.items():
                self.down(value, f"{path}.{key}" if path else str(key), above)
        elif isinstance(node, list | tuple):
            if len(node) > _LISTED and all(isinstance(v, str | int | float | bool | None) for v in node):
                self._value(path, f"{len(node)} values {_digest([repr(node).encode()])}")
                return
            for at, value in enumerate(node):
                self.down(value, f"{path}.{at}" if path else str(at), above)
        else:
            self._value(path, type(node).__name__)

    def _called(self, node: Called, path: str, above: tuple[int, ...]) -> None:
        if node.args:
            self.down(node.args, f"{path}.args" if path else "args", above)
        if node.state is not None:
            self.down(node.state, path, above)
        if not node.args and node.state is None:
            self._value(path, node.name)

    def _value(self, path: str, value: Value) -> None:
        if len(self.values) >= MOST_VALUES:
            raise CheckpointRefused(f"more than {MOST_VALUES:,} plain values", where=self._where)
        self.values[path or "value"] = (
            value if not isinstance(value, str) or len(value) <= 200 else _digest([value.encode("utf-8", "replace")])
        )


def _digest(pieces: list[bytes]) -> str:
    return "sha256:" + hashlib.sha256(b"".join(pieces)).hexdigest()[:16]


def described(node: Any, where: str) -> tuple[Iterator[tuple[str, Described]], dict[str, Value]]:
    """Tensors with their names, and the plain values, of a whole pickle."""
    walk = Walk(where)
    walk.down(node)
    return ((name, describe(call, f"{where}: {plain(name, 200)}")) for name, call in walk.tensors), walk.values
