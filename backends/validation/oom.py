"""Lines of a log that say that memory ran out, of a GPU or of the host."""

from __future__ import annotations

import re

from backends.escape import plain

# Looked for first, since a search for plain bytes costs next to nothing.
_SIGNS = (b"ut of memory", b"OutOfMemory", b"RESOURCE_EXHAUSTED", b"OOM")
_LINE = re.compile(
    rb"[^\r\n]{0,400}(?:(?:CUDA|HIP|XPU|GPU)[^\r\n]{0,40}out of memory|OutOfMemoryError|RESOURCE_EXHAUSTED: Out of memory|"
    rb"Out of memory: Kill|oom-kill|OOMKilled|CUDA_ERROR_OUT_OF_MEMORY)[^\r\n]{0,200}"
)


def memory_line(data: bytes) -> str:
    """The first such line in these bytes, as it may be shown; empty where there is none."""
    if not any(sign in data for sign in _SIGNS) and b"oom-kill" not in data:
        return ""
    found = _LINE.search(data)
    return plain(found[0].decode("utf-8", "replace").strip(), 200) if found is not None else ""
