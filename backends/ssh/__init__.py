"""SSH through asyncssh, which is imported with less ado.

It looks for two optional C libraries when it is imported. Where they are not installed, `ctypes.util` has the compiler and the linker
look for each of their five names too: a dozen processes, a tenth of a second, at every start. What is not in the loader's cache could not be
loaded by its name either, and is not looked for any further. Nor does it get X.509, which no OpenSSH speaks and which takes a fifth of the
import: asyncssh does without it where it cannot be imported.
"""

from __future__ import annotations

import ctypes.util
import sys
from collections.abc import Callable
from pathlib import Path

_LOADER_CACHE = Path("/etc/ld.so.cache")
OPTIONAL = frozenset({"oqs", "liboqs", "nettle", "libnettle", "libnettle-6"})  # asyncssh 2.24: crypto/pq.py, crypto/umac.py


def _by_cache_first(find: Callable[[str], str | None]) -> Callable[[str], str | None]:
    def find_library(name: str) -> str | None:
        if name in OPTIONAL:
            try:
                if f"lib{name}.so".encode() not in _LOADER_CACHE.read_bytes():
                    return None
            except OSError:
                pass  # no such cache: another system
        return find(name)

    return find_library


sys.modules.setdefault("asyncssh.crypto.x509", None)  # type: ignore[arg-type]
ctypes.util.find_library = _by_cache_first(ctypes.util.find_library)  # type: ignore[assignment]
