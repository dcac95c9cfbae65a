"""SSH through asyncssh, which is imported with less ado.

It looks for two optional C libraries when it is imported. `ctypes.util` starts `ldconfig` for each of their five names, and where they are not
installed the compiler and the linker too: a dozen processes, a tenth of a second, at every start. The loader's cache is read here instead: what
is not in it could not be loaded by its name either. Nor does it get X.509, which no OpenSSH speaks and which takes a fifth of the
import: asyncssh does without it where it cannot be imported.
"""

from __future__ import annotations

import ctypes.util
import re
import sys
from collections.abc import Callable
from pathlib import Path

_LOADER_CACHE = Path("/etc/ld.so.cache")
OPTIONAL = frozenset({"oqs", "liboqs", "nettle", "libnettle", "libnettle-6"})  # asyncssh 2.24: crypto/pq.py, crypto/umac.py


def _by_cache_first(find: Callable[[str], str | None]) -> Callable[[str], str | None]:
    def find_library(name: str) -> str | None:
        if name in OPTIONAL:
            try:
                cache = _LOADER_CACHE.read_bytes()
            except OSError:
                return find(name)  # no such cache: another system
            held = re.search(rb"[/\0](lib%b\.so[.0-9]*)\0" % re.escape(name.encode()), cache)
            return held[1].decode() if held and _is_loaded(held[1].decode()) else None
        return find(name)

    return find_library


def _is_loaded(file: str) -> bool:
    """False for one of another kind of processor, which the cache holds too."""
    try:
        ctypes.CDLL(file)
    except OSError:
        return False
    return True


sys.modules.setdefault("asyncssh.crypto.x509", None)  # type: ignore[arg-type]
ctypes.util.find_library = _by_cache_first(ctypes.util.find_library)  # type: ignore[assignment]
