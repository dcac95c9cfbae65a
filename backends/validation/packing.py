"""Compressed sources, unpacked as they come: gzip (several members too) and Zstandard (several frames too).

A small piece can hold a great deal: what comes out is handed on in pieces of a bounded size.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import zstandard

from backends.errors import CouldNot
from backends.validation.errors import SourceUnreadable

GZIP, ZSTD = b"\x1f\x8b", b"\x28\xb5\x2f\xfd"
LONGEST_MAGIC = 6
_REFUSED: tuple[tuple[bytes, str, str], ...] = (
    (b"BZh", "bzip2", "unpack it first: bunzip2 -k"),
    (b"\xfd7zXZ\0", "xz", "unpack it first: unxz -k"),
    (b"PK\x03\x04", "a zip archive", "unpack it first"),
)
_PIECE = 1 << 20  # of what comes out
_ZSTD_IN = 256  # so few bytes at a time: a block of 4 bytes may stand for 128 KiB
_MOST_WINDOW = 128 << 20  # zstd's own limit for what it unpacks without being told to


class Unpacker:
    """Bytes as they are, or unpacked where they begin as gzip or Zstandard do."""

    def __init__(self, where: str) -> None:
        self._where = where
        self._head = b""
        self._gzip: zlib._Decompress | None = None
        self._zstd: zstandard.ZstdDecompressionObj | None = None
        self.is_packed: bool | None = None  # None: too little was seen to tell

    def take(self, data: bytes) -> Iterator[bytes]:
        """What these bytes hold, in pieces. Raises `SourceUnreadable` where they are damaged or packed otherwise."""
        if self.is_packed is None:
            self._head += data
            if len(self._head) < LONGEST_MAGIC:
                return
            data = self._tell()
        yield from self._unpack(data)

    def end(self) -> Iterator[bytes]:
        """What was held back because it was too short to tell."""
        if self.is_packed is None:
            yield from self._unpack(self._tell())

    @property
    def is_whole(self) -> bool:
        """Did the packed data come to their end?"""
        if self._gzip is not None:
            return self._gzip.eof
        return self._zstd is None or self._zstd.eof

    def _tell(self) -> bytes:
        head, self._head = self._head, b""
        for magic, name, hint in _REFUSED:
            if head.startswith(magic):
                raise SourceUnreadable(f"compressed ({name}): not read as it is", where=self._where, hint=hint)
        if head.startswith(GZIP):
            self._gzip = zlib.decompressobj(31)
        elif head.startswith(ZSTD):
            self._zstd = _zstd()
        self.is_packed = self._gzip is not None or self._zstd is not None
        return head

    def _unpack(self, data: bytes) -> Iterator[bytes]:
        if not data:
            return
        try:
            if self._gzip is not None:
                yield from self._gunzip(data)
            elif self._zstd is not None:
                yield from self._unzstd(data)
            else:
                yield data
        except (zlib.error, zstandard.ZstdError) as error:
            raise self._damaged() from error

    def _damaged(self) -> CouldNot:
        kind = "gzip" if self._gzip is not None else "Zstandard"
        return SourceUnreadable(f"the {kind} data are damaged", where=self._where, hint="is it whole? pack it anew")

    def _gunzip(self, data: bytes) -> Iterator[bytes]:
        while data:
            assert self._gzip is not None
            if self._gzip.eof:
                if not data.lstrip(b"\0"):  # padding, as tapes and block devices leave it
                    return
                self._gzip = zlib.decompressobj(31)
            piece = self._gzip.decompress(data, _PIECE)
            if piece:
                yield piece
            data = self._gzip.unused_data if self._gzip.eof else self._gzip.unconsumed_tail

    def _unzstd(self, data: bytes) -> Iterator[bytes]:
        start = 0
        while start < len(data):
            assert self._zstd is not None
            if self._zstd.eof:
                self._zstd = _zstd()
            fed = data[start : start + _ZSTD_IN]
            start += len(fed)
            piece = self._zstd.decompress(fed)
            start -= len(self._zstd.unused_data) if self._zstd.eof else 0
            if piece:
                yield piece


def _zstd() -> zstandard.ZstdDecompressionObj:
    return zstandard.ZstdDecompressor(max_window_size=_MOST_WINDOW).decompressobj()
