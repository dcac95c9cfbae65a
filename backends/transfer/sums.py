"""CRC64NVME and CRC32C of bytes, computed in the one read. Both are linear: sums of parts add up to that of the whole.

That of 1 MiB takes some 20 us for each out of the cache, ten times that out of memory; buffers from there up are summed in a thread.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from backends import crc
from backends.stores.base import Body

THREAD_FROM = 1 << 20


@dataclass(frozen=True, slots=True)
class Sums:
    """Checksums of `size` bytes. `Sums.of(a) + Sums.of(b) == Sums.of(a + b)`."""

    size: int = 0
    crc64: int = 0
    crc32c: int = 0

    @classmethod
    def of(cls, data: Body) -> Sums:
        return cls(len(data), crc.crc64nvme(data), crc.crc32c(data))

    def __add__(self, after: Sums) -> Sums:
        return Sums(
            self.size + after.size,
            crc.combine_crc64nvme(self.crc64, after.crc64, after.size),
            crc.combine_crc32c(self.crc32c, after.crc32c, after.size),
        )

    @property
    def crc64nvme(self) -> str:
        """Hex, as `ObjectInfo.checksums` has it."""
        return f"{self.crc64:016x}"

    def agrees(self, kept: Mapping[str, str], data: Body | None = None) -> bool | None:
        """Do these sums equal what a store keeps? None when it keeps no algorithm that we have.

        MD5 is computed only where `data` is given and the store keeps nothing better.
        """
        if value := kept.get("crc64nvme"):
            return value == self.crc64nvme
        if value := kept.get("crc32c"):
            return value == f"{self.crc32c:08x}"
        if data is not None and (value := kept.get("md5")):
            return value == hashlib.md5(data, usedforsecurity=False).hexdigest()
        return None


async def sums_of(data: Body) -> Sums:
    """`Sums.of`, off the event loop where that pays."""
    if len(data) < THREAD_FROM:
        return Sums.of(data)
    return await asyncio.to_thread(Sums.of, data)


def common_checksum(one: Mapping[str, str], other: Mapping[str, str]) -> tuple[str, str, str] | None:
    """(algorithm, one's value, other's value) of the strongest checksum that both keep."""
    for algorithm in ("crc64nvme", "crc32c", "md5"):
        if algorithm in one and algorithm in other:
            return algorithm, one[algorithm], other[algorithm]
    return None
