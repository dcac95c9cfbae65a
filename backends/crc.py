"""CRC64NVME, CRC32C and CRC32 of buffers, as integers, by awscrt's C code: 50 GB/s out of the processor's cache.

Importing `_awscrt` starts TLS too, whose generator of random numbers first gathers the processor's jitter: 37 ms of every command
(0.38). What sums needs none of that. In the versions named here it is called where it lies, past the initialisation, and only when it
gives the check values of the three algorithms; any other version is imported as its makers mean it.

Buffers over 5 KiB are summed with the interpreter's lock let go.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES, PathFinder

KNOWN = frozenset({"0.38.1"})  # whose C functions take (module, tuple of arguments)
_NAMES = ("crc64nvme", "crc32c", "crc32", "crc64nvme_combine", "crc32c_combine", "crc32_combine")
_CHECK = b"123456789"
_CHECK_VALUES = {"crc64nvme": 0xAE8B14860A799888, "crc32c": 0xE3069283, "crc32": 0xCBF43926}

Buffer = bytes | bytearray | memoryview
_Function = Callable[[object, tuple[object, ...]], int]


def in_place() -> dict[str, _Function] | None:
    """The C functions of an installed awscrt that is one of `KNOWN`, uninitialised; None where there is none, or it answers wrongly."""
    found = PathFinder.find_spec("_awscrt")
    if found is None or found.origin is None or not found.origin.endswith(tuple(EXTENSION_SUFFIXES)):
        return None
    folder = os.path.dirname(found.origin)
    if not any(os.path.isdir(os.path.join(folder, f"awscrt-{version}.dist-info")) for version in KNOWN):
        return None
    functions: dict[str, _Function] = {}
    try:
        library = ctypes.PyDLL(found.origin)
        for name in _NAMES:
            function = getattr(library, f"aws_py_checksums_{name}")
            function.restype, function.argtypes = ctypes.py_object, (ctypes.py_object, ctypes.py_object)
            functions[name] = function
    except (OSError, AttributeError):
        return None
    return functions if _is_right(functions) else None


def _is_right(functions: dict[str, _Function]) -> bool:
    head, tail = _CHECK[:4], _CHECK[4:]
    for name, value in _CHECK_VALUES.items():
        of, joined = functions[name], functions[f"{name}_combine"]
        first, second = of(None, (head, 0)), of(None, (tail, 0))
        if not of(None, (_CHECK, 0)) == of(None, (tail, first)) == joined(None, (first, second, len(tail))) == value:
            return False
    return True


def imported() -> dict[str, _Function]:
    """The same by awscrt's own module."""
    from awscrt import checksums as c

    ours = (c.crc64nvme, c.crc32c, c.crc32, c.combine_crc64nvme, c.combine_crc32c, c.combine_crc32)
    return {name: _taking_tuple(function) for name, function in zip(_NAMES, ours, strict=True)}


def _taking_tuple(function: Callable[..., int]) -> _Function:
    return lambda _, args: function(*args)


_functions = in_place() or imported()
_crc64nvme, _crc32c, _crc32 = (_functions[name] for name in _NAMES[:3])
_combine_crc64nvme, _combine_crc32c, _combine_crc32 = (_functions[name] for name in _NAMES[3:])


def crc64nvme(data: Buffer, before: int = 0) -> int:
    """Of `data`, going on from `before`: the value of what stood in front of it."""
    return _crc64nvme(None, (data, before))


def crc32c(data: Buffer, before: int = 0) -> int:
    return _crc32c(None, (data, before))


def crc32(data: Buffer, before: int = 0) -> int:
    return _crc32(None, (data, before))


def combine_crc64nvme(first: int, second: int, second_size: int) -> int:
    """The value of two neighbours as one, from the value of each and the size of the second."""
    return _combine_crc64nvme(None, (first, second, second_size))


def combine_crc32c(first: int, second: int, second_size: int) -> int:
    return _combine_crc32c(None, (first, second, second_size))


def combine_crc32(first: int, second: int, second_size: int) -> int:
    return _combine_crc32(None, (first, second, second_size))
