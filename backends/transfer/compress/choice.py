"""Whether to compress an object on its way to the hub, and at which level of zstd: by what was measured, not by what is hoped.

`auto` learns by the objects that it carries anyway, so that no byte is read twice: of the first some of each class (suffix and size) a
bounded piece is compressed at each level, timed in CPU seconds of this machine. With what was seen of the link to the hub, and how much of
the cores this work gets beside all else, that gives the seconds that a byte takes at each level and plain: whatever is lower, the cores or the
link, sets the pace. Then each object's own head is tried before it is compressed: what does not shrink goes as it is.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

from backends.stores.base import Body
from backends.transfer.compress.threads import Threads

Mode = Literal["auto", "never", "zstd"]

LEVELS = (1, 3, 6, 9, 12)
ALWAYS_LEVEL = 3  # of `zstd`
LEAST_SIZE = 1024  # smaller objects gain nothing
SAMPLES = 3  # of each class
MOST_CLASSES = 32
SAMPLE_SIZE = 384 << 10
TRIAL_SIZE = 96 << 10
SHRINKS_BELOW = 0.92
WORTH_A_LEVEL = 0.1
FIRST_RATE = 125e6  # bytes a second, until the link has been seen
_SEEN_FROM = 4 << 20  # bytes
_SIZES = (64 << 10, 1 << 20, 16 << 20)

# What is compressed already, or does not shrink by nature: never tried.
PACKED = frozenset(
    suffix
    for group in (
        ("7z", "br", "bz2", "gz", "jar", "lz4", "lzma", "lzo", "rar", "sz", "tbz2", "tgz", "txz", "whl", "xz", "z", "zip", "zst"),
        ("avif", "gif", "heic", "heif", "jp2", "jpeg", "jpg", "jxl", "png", "webp"),
        ("aac", "flac", "h264", "m4a", "m4v", "mkv", "mov", "mp3", "mp4", "mpeg", "mpg", "ogg", "opus", "webm"),
        ("ckpt", "npz", "orc", "parquet", "pt", "pth", "safetensors"),
        ("apk", "cram", "gpg", "pgp", "woff2"),
    )
    for suffix in group
)


def suffix_of(key: str) -> str:
    """The key's last suffix in lower case, without its dot; "" where there is none that could be one."""
    name = key.rpartition("/")[2]
    stem, _, suffix = name.rpartition(".")
    return suffix.lower() if stem and 0 < len(suffix) <= 12 else ""


def class_of(key: str, size: int) -> str:
    """What objects are alike in: suffix and size."""
    return f"{suffix_of(key)}/{sum(size >= limit for limit in _SIZES)}"


def sample_of(head: Body, most: int) -> Body:
    """At most `most` bytes of an object's head: of its beginning, middle and end, for what stands first is seldom like the rest."""
    if len(head) <= most:
        return head
    third = most // 3
    middle = (len(head) - third) // 2
    return b"".join((head[:third], head[middle : middle + third], head[len(head) - third :]))


class LinkRate:
    """Bytes a second that the link to the hub takes: what was sent in the time that anything was being sent."""

    def __init__(self, limit: float | None = None) -> None:
        """`limit`: bytes a second that may be sent at all."""
        self._limit = limit
        self._sending = 0
        self._since = 0.0
        self._bytes = 0
        self._seconds = 0.0

    @contextmanager
    def sending(self, size: int) -> Iterator[None]:
        """Around a call that sends so many bytes. One that fails counts its time, not its bytes."""
        if self._sending == 0:
            self._since = time.monotonic()
        self._sending += 1
        try:
            yield
            self._bytes += size
        finally:
            self._sending -= 1
            if self._sending == 0:
                self._seconds += time.monotonic() - self._since

    @property
    def rate(self) -> float:
        """As far as it is known."""
        seconds = self._seconds + (time.monotonic() - self._since if self._sending else 0.0)
        seen = self._bytes / seconds if self._bytes >= _SEEN_FROM and seconds > 0 else FIRST_RATE
        return min(seen, self._limit) if self._limit else seen


@dataclass(frozen=True, slots=True)
class Sample:
    """What one piece came to: bytes, encoded bytes and CPU seconds by level, CPU seconds to decompress it."""

    size: int
    encoded: dict[int, int]
    seconds: dict[int, float]
    decode_seconds: float

    @property
    def shrinks(self) -> bool:
        return min(self.encoded.values()) < SHRINKS_BELOW * self.size


def measure(threads: Threads, piece: Body) -> Sample:
    """Compress a piece at each level; at the first only when that does not shrink it. In one of the threads."""
    encoded, seconds, frame = dict[int, int](), dict[int, float](), b""
    for level in LEVELS:
        threads.encode_now(b"warm", level)  # the context is made once, and not for this piece
        started = time.thread_time()
        frame = threads.encode_now(piece, level)
        seconds[level], encoded[level] = time.thread_time() - started, len(frame)
        if encoded[LEVELS[0]] >= SHRINKS_BELOW * len(piece):
            break
    started = time.thread_time()
    threads.decode_now(frame, len(piece))
    return Sample(len(piece), encoded, seconds, time.thread_time() - started)


@dataclass(slots=True)
class Alike:
    """What is known of one class."""

    samples: list[Sample] = field(default_factory=list)
    asked: int = 0  # samples taken or being taken

    def best(self, rate: float, cores: float) -> int | None:
        """The level at which a byte of these takes the least time, None where that is plain: a higher one where it saves `WORTH_A_LEVEL` of it, since
        its cores serve others too. `rate`: bytes a second of the link."""
        shrinking = [s for s in self.samples if s.shrinks]
        if not shrinking or 2 * len(shrinking) < len(self.samples):
            return None
        size = sum(s.size for s in shrinking)
        decode = sum(s.decode_seconds for s in shrinking)
        best, least = None, 1 / rate
        for level in LEVELS:
            cpu = (sum(s.seconds[level] for s in shrinking) + decode) / size / cores
            wire = sum(s.encoded[level] for s in shrinking) / size / rate
            if max(cpu, wire) < least * (1 if best is None else 1 - WORTH_A_LEVEL):
                best, least = level, max(cpu, wire)
        return best


class Choice:
    """Decides for the objects of one dataset."""

    def __init__(self, mode: Mode, threads: Threads, link: LinkRate) -> None:
        self._mode = mode
        self._threads = threads
        self._link = link
        self._classes: dict[str, Alike] = {}

    async def level(self, key: str, size: int, head: Body) -> int | None:
        """The level for this object, None for plain. `head` is its beginning: up to a frame, or all of it."""
        if self._mode != "auto":
            return ALWAYS_LEVEL if self._mode == "zstd" else None
        if size < LEAST_SIZE or suffix_of(key) in PACKED:
            return None
        alike = self._alike(key, size)
        if alike.asked < SAMPLES:
            alike.asked += 1
            piece = sample_of(head, SAMPLE_SIZE)
            sample = await self._threads.run(lambda: measure(self._threads, piece))
            alike.samples.append(sample)
            return alike.best(self._link.rate, self._threads.free) if sample.shrinks else None
        level = alike.best(self._link.rate, self._threads.free) if alike.samples else LEVELS[0]
        return level if level is not None and await self._shrinks(head) else None

    def learnt(self) -> dict[str, int | None]:
        """The level of each class that was sampled, as it would be chosen now."""
        rate, free = self._link.rate, self._threads.free
        return {name: alike.best(rate, free) for name, alike in self._classes.items() if alike.samples}

    def _alike(self, key: str, size: int) -> Alike:
        name = class_of(key, size)
        if name not in self._classes and len(self._classes) >= MOST_CLASSES:
            name = "other"
        return self._classes.setdefault(name, Alike())

    async def _shrinks(self, head: Body) -> bool:
        piece = sample_of(head, TRIAL_SIZE)
        frame = await self._threads.encode(piece, LEVELS[0])
        return len(frame) < SHRINKS_BELOW * len(piece)
