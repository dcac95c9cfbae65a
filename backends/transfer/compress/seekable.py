"""Zstandard in frames that can be read one by one, and a table at the end that says where each begins.

The format is zstd's own seekable one (facebook/zstd, contrib/seekable_format, version 0.1.0): frames, then a skippable frame with the
table. Any decoder of zstd reads the file as a whole. Before the table stands one more skippable frame, ours: size and checksums of the
original, so that a file found alone can be proven. All numbers are little-endian.

What is parsed here came over a wire: nothing is allocated by a size that was not looked at before.
"""

from __future__ import annotations

import struct
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate

import zstandard

from backends.stores.base import Body
from backends.transfer.compress.errors import NotSeekable
from backends.transfer.sums import Sums

FRAME_SIZE = 8 << 20  # of the original, but for objects over 78 GiB
_SKIPPABLE_TABLE = 0x184D2A5E
_SKIPPABLE_SUMS = 0x184D2A50
_SEEKABLE = 0x8F92EAB1
_HEAD = struct.Struct("<II")  # magic number, size of what follows
_ENTRY = struct.Struct("<II")  # compressed size, decompressed size
_FOOTER = struct.Struct("<IBI")  # number of frames, descriptor, magic number
_CHECKSUMS_FLAG = 0x80
_RESERVED = 0x7C
_SUMS = struct.Struct("<4sQQI")  # mark, size, CRC64NVME, CRC32C
_MARK = b"ctv1"
SUMS_FRAME_SIZE = _HEAD.size + _SUMS.size
_MOST_FRAMES = 0x8000000


@dataclass(frozen=True, slots=True)
class Span:
    """Frames `first` to `end` (not included): `size` bytes at `offset` of the file; `skip` bytes of what they hold come before."""

    first: int
    end: int
    offset: int
    size: int
    skip: int


class Table:
    """Where the frames are. `encoded` and `original` are the sizes of each, bytes."""

    def __init__(self, encoded: Sequence[int], original: Sequence[int]) -> None:
        self.encoded = tuple(encoded)
        self.original = tuple(original)
        self._offsets = [0, *accumulate(self.encoded)]
        self._starts = [0, *accumulate(self.original)]

    @property
    def size(self) -> int:
        """Of the original."""
        return self._starts[-1]

    def span(self, start: int, length: int) -> Span:
        """The frames that hold this range of the original. Raises `NotSeekable` for a range beyond it."""
        if start < 0 or length < 0 or start + length > self.size:
            raise NotSeekable(f"bytes {start} to {start + length} are asked for of {self.size}")
        if length == 0:
            return Span(0, 0, 0, 0, 0)
        first = bisect_right(self._starts, start) - 1
        end = bisect_left(self._starts, start + length)
        offset = self._offsets[first]
        return Span(first, end, offset, self._offsets[end] - offset, start - self._starts[first])


def encode_frame(compressor: zstandard.ZstdCompressor, data: Body) -> bytes:
    """One frame that knows its size and its checksum (XXH64)."""
    return compressor.compress(data)


def new_compressor(level: int) -> zstandard.ZstdCompressor:
    return zstandard.ZstdCompressor(level=level, write_checksum=True, write_content_size=True)


def decode_frame(decompressor: zstandard.ZstdDecompressor, frame: Body, size: int) -> bytes:
    """The `size` bytes that a frame holds. Raises `NotSeekable` when it is damaged or holds another number of them."""
    try:
        said = zstandard.get_frame_parameters(frame).content_size
        if said != size:
            raise NotSeekable(f"a frame says that it holds {said} bytes, and its table {size}")
        data = decompressor.decompress(frame, max_output_size=size, allow_extra_data=False)
    except zstandard.ZstdError as error:
        raise NotSeekable(f"a frame cannot be decompressed: {error}") from error
    if len(data) != size:
        raise NotSeekable(f"a frame held {len(data)} bytes of {size}")
    return data


def tail(encoded: Sequence[int], original: Sequence[int], sums: Sums) -> bytes:
    """What follows the frames of these sizes: the sums of the original, and the table."""
    said = _HEAD.pack(_SKIPPABLE_SUMS, _SUMS.size) + _SUMS.pack(_MARK, sums.size, sums.crc64, sums.crc32c)
    entries = b"".join(_ENTRY.pack(e, o) for e, o in zip(encoded, original, strict=True)) + _ENTRY.pack(len(said), 0)
    footer = _FOOTER.pack(len(encoded) + 1, 0, _SEEKABLE)
    return said + _HEAD.pack(_SKIPPABLE_TABLE, len(entries) + len(footer)) + entries + footer


def tail_size(frames: int) -> int:
    """Bytes of the tail of so many frames."""
    return SUMS_FRAME_SIZE + _HEAD.size + _ENTRY.size * (frames + 1) + _FOOTER.size


def frame_sizes(size: int, frame_size: int) -> list[int]:
    """The sizes of the frames of an original of `size` bytes; none for an empty one."""
    whole, rest = divmod(size, frame_size)
    return [frame_size] * whole + ([rest] if rest else [])


def parse_tail(data: Body, file_size: int) -> tuple[Table, Sums]:
    """Table and sums out of the last bytes of a file of `file_size` bytes. `data` is at least its tail, and may be all of it.

    Raises `NotSeekable` for everything that is not exactly what `tail` writes: checksums in the table and other skippable frames are
    the format's, and not ours.
    """
    view = memoryview(data)
    if len(view) < _FOOTER.size:
        raise NotSeekable("it is too short to have a table of its frames")
    count, descriptor, magic = _FOOTER.unpack(view[-_FOOTER.size :])
    if magic != _SEEKABLE or descriptor & (_CHECKSUMS_FLAG | _RESERVED) or not 1 <= count <= _MOST_FRAMES:
        raise NotSeekable("it does not end with a table of its frames")
    length = tail_size(count - 1)
    if length > len(view):
        raise NotSeekable(f"its table of {count} frames is not within the {len(view)} bytes at its end")
    ours = view[-length:]
    entries_at = SUMS_FRAME_SIZE + _HEAD.size
    if _HEAD.unpack(ours[:8]) != (_SKIPPABLE_SUMS, _SUMS.size) or ours[8:12] != _MARK:
        raise NotSeekable("the sums of its original are not before its table")
    if _HEAD.unpack(ours[SUMS_FRAME_SIZE:entries_at]) != (_SKIPPABLE_TABLE, length - entries_at):
        raise NotSeekable("the table of its frames is damaged")
    _, size, crc64, crc32c = _SUMS.unpack(ours[8:SUMS_FRAME_SIZE])
    entries = list(_ENTRY.iter_unpack(ours[entries_at : -_FOOTER.size]))
    *frames, last = entries
    encoded, original = tuple(e for e, _ in frames), tuple(o for _, o in frames)
    if last != (SUMS_FRAME_SIZE, 0) or sum(encoded) + length != file_size or sum(original) != size:
        raise NotSeekable("the table of its frames does not fit its size")
    return Table(encoded, original), Sums(size, crc64, crc32c)
