"""CRC64NVME and CRC32C of buffers: computed in one read, joined for parts.

The values are those that stores keep: CRC64NVME as S3 gives it for a full object, CRC32C as GCS and S3 do. In hex, big endian,
16 and 8 digits. S3's headers carry the same bytes in base64. CRCs are linear, so parts join without a second read.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Iterable

from backends import crc

Buffer = bytes | bytearray | memoryview

IN_THREAD_FROM = 1 << 20  # from this size on hashing leaves the event loop
EMPTY_CRC64NVME = "0" * 16
_BYTES = {"crc64nvme": 8, "crc32c": 4, "crc32": 4, "md5": 16, "sha1": 20, "sha256": 32}


def crc64nvme(data: Buffer, before: str = EMPTY_CRC64NVME) -> str:
    """Hex of the CRC64NVME of `data`; goes on from `before`, the value of what stood in front of it."""
    return f"{crc.crc64nvme(data, int(before, 16)):016x}"


def crc32c(data: Buffer, before: str = "00000000") -> str:
    """Hex of the CRC32C of `data`, going on from `before`."""
    return f"{crc.crc32c(data, int(before, 16)):08x}"


async def crc64nvme_of(data: Buffer) -> str:
    """The same, in a thread where `data` is large."""
    if len(data) < IN_THREAD_FROM:
        return crc64nvme(data)
    return await asyncio.to_thread(crc64nvme, data)


def combine_crc64nvme(first: str, second: str, second_size: int) -> str:
    """The value of two neighbours as one, from the value of each and the size of the second."""
    return f"{crc.combine_crc64nvme(int(first, 16), int(second, 16), second_size):016x}"


def combine_crc32c(first: str, second: str, second_size: int) -> str:
    return f"{crc.combine_crc32c(int(first, 16), int(second, 16), second_size):08x}"


_COMBINE = {"crc64nvme": crc.combine_crc64nvme, "crc32c": crc.combine_crc32c, "crc32": crc.combine_crc32}


def combine_parts(parts: Iterable[tuple[str, int]], algorithm: str = "crc64nvme") -> str:
    """The CRC of the whole from (value, size) of each part in order."""
    whole, combine = 0, _COMBINE[algorithm]
    for value, size in parts:
        whole = combine(whole, int(value, 16), size)
    return f"{whole:0{2 * _BYTES[algorithm]}x}"


class Digest:
    """Both sums of one stream, in one pass. `update` from one thread at a time."""

    def __init__(self) -> None:
        self._crc64nvme = 0
        self._crc32c = 0
        self.size = 0

    def update(self, data: Buffer) -> None:
        self._crc64nvme = crc.crc64nvme(data, self._crc64nvme)
        self._crc32c = crc.crc32c(data, self._crc32c)
        self.size += len(data)

    async def update_async(self, data: Buffer) -> None:
        """`update`, in a thread where `data` is large."""
        if len(data) < IN_THREAD_FROM:
            self.update(data)
        else:
            await asyncio.to_thread(self.update, data)

    def append(self, other: Digest) -> None:
        """Go on with the stream that `other` has summed: the same as updating with its data."""
        self._crc64nvme = crc.combine_crc64nvme(self._crc64nvme, other._crc64nvme, other.size)
        self._crc32c = crc.combine_crc32c(self._crc32c, other._crc32c, other.size)
        self.size += other.size

    @property
    def crc64nvme(self) -> str:
        return f"{self._crc64nvme:016x}"

    @property
    def crc32c(self) -> str:
        return f"{self._crc32c:08x}"


def hex_to_base64(value: str) -> str:
    """As S3's checksum headers carry it."""
    return base64.b64encode(bytes.fromhex(value)).decode("ascii")


def base64_to_hex(algorithm: str, value: str) -> str | None:
    """From a header; None where it is not a full-object value of that algorithm (composite ones end in `-N`)."""
    try:
        raw = binascii.a2b_base64(value, strict_mode=True)
    except (binascii.Error, ValueError):
        return None
    return raw.hex() if len(raw) == _BYTES.get(algorithm) else None
