"""What objects are called on the hub: flat names below `cutover/<plan>/<dataset>/`, lossless, none taken for another.

`/` and all that is not a plain sign is `=XX`, a byte in hex, so that servers and trees that fold slashes, dots, case or Unicode forms
hold every key apart; the end says what the object is: `.plain`, or `.zst` for seekable zstd. What would be too long, or is to be held
by a store that is blind to case, is called by the SHA-256 of its key.
"""

from __future__ import annotations

import hashlib
import re
from typing import Literal

from backends.transfer.merge import order_of

Codec = Literal["plain", "zstd"]

_ENDS: dict[Codec, str] = {"plain": ".plain", "zstd": ".zst"}
_LONGEST = 200
_HASHED = "=="  # no escape begins so
_PLAIN = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_.")
_NAME = re.compile(r"((?:[A-Za-z0-9_.-]|=[0-9A-F]{2})*)(\.plain|\.zst)", re.ASCII)


def root_of(plan: str, dataset: str) -> str:
    """Below the hub's own prefix: where this dataset's objects are."""
    return f"cutover/{plan}/{dataset}/"


def name_of(key: str, codec: Codec, *, blind: bool = False) -> str:
    """What the object of this key is called. `blind`: the store takes `A` for `a`."""
    raw = order_of(key)
    escaped = "".join(chr(byte) if byte in _PLAIN else f"={byte:02X}" for byte in raw)
    if blind or len(escaped) > _LONGEST:
        escaped = _HASHED + hashlib.sha256(raw).hexdigest()
    return escaped + _ENDS[codec]


def key_of_name(name: str) -> tuple[str, Codec] | None:
    """The key and what the object is; None for a name that says neither: hashed, or not one of ours."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    raw = re.sub(r"=([0-9A-F]{2})", lambda m: chr(int(m[1], 16)), found[1]).encode("latin-1")
    return raw.decode("utf-8", "surrogateescape"), "plain" if found[2] == _ENDS["plain"] else "zstd"
