"""What is moved, made from seeds, and what is found after: key, size and checksum of every object.

Nothing here is ours but the comparison: S3 is read with obstore, trees with plain files, checksums are awscrt's CRC64NVME.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import NamedTuple

import obstore
from awscrt import checksums
from obstore.store import S3Store

CHUNK = 8 << 20
_AT_ONCE = 32
_NAMED = 5


class Held(NamedTuple):
    size: int  # bytes
    crc64nvme: int


Contents = Mapping[str, Held]


class WrongCopy(Exception):
    """The target is not what the source is; the message names the first keys."""


def compare(expected: Contents, found: Contents, where: str) -> None:
    """Raises `WrongCopy` unless both hold the same keys with the same sizes and checksums."""
    wrong = [f"{key!r} is missing" for key in expected.keys() - found.keys()]
    wrong += [f"{key!r} should not be there" for key in found.keys() - expected.keys()]
    wrong += [f"{key!r} differs" for key in expected.keys() & found.keys() if expected[key] != found[key]]
    if wrong:
        more = f" and {len(wrong) - _NAMED} more" if len(wrong) > _NAMED else ""
        raise WrongCopy(f"{where}: {'; '.join(sorted(wrong)[:_NAMED])}{more}")


@dataclass(frozen=True, slots=True)
class Blob:
    """An object to make. `text`: lines as a server logs them instead of random bytes."""

    key: str
    size: int
    seed: int
    text: bool = False

    def chunks(self) -> Iterator[bytes]:
        """Its bytes, the same every time, at most `CHUNK` at once; no two chunks are alike."""
        if self.size <= CHUNK:
            yield log_lines(self.seed, self.size) if self.text else random.Random(self.seed).randbytes(self.size)
            return
        block = log_lines(self.seed, CHUNK) if self.text else random.Random(self.seed).randbytes(CHUNK)
        for number, offset in enumerate(range(0, self.size, CHUNK)):
            mark = f"{self.seed:015} {number:015}\n".encode()
            yield (mark + block[len(mark) :])[: self.size - offset]


def small_blobs(count: int, least: int = 16 << 10, most: int = 64 << 10, folders: int = 50) -> list[Blob]:
    chance = random.Random(1)
    return [Blob(f"part-{i % folders:03}/obj-{i:07}.bin", chance.randint(least, most), i) for i in range(count)]


def large_blobs(count: int, size: int) -> list[Blob]:
    return [Blob(f"shard-{i:05}.tar", size, i) for i in range(count)]


@lru_cache(maxsize=2)
def _words(seed: int) -> list[str]:
    chance = random.Random(seed)
    return ["".join(chance.choices("abcdefghijklmnopqrstuvwxyz", k=chance.randint(3, 9))) for _ in range(2000)]


def log_lines(seed: int, size: int) -> bytes:
    """So many bytes of a request log: times that rise, addresses, paths, durations and identifiers that do not repeat."""
    chance, words, lines, total, at = random.Random(seed), _words(0), [], 0, 1_760_000_000.0
    while total < size:
        at += chance.expovariate(50)
        line = (
            f"{at:.6f} {chance.choice(('INFO', 'INFO', 'INFO', 'WARN', 'ERROR'))} 10.{chance.randrange(4)}.{chance.randrange(256)}."
            f"{chance.randrange(256)} request={chance.getrandbits(64):016x} GET /v1/{chance.choice(words)}/{chance.choice(words)}?id="
            f"{chance.randrange(10**6)} {chance.choice((200, 200, 200, 304, 404, 500))} {chance.randrange(10**5)} {chance.random() * 80:.3f}ms\n"
        )
        lines.append(line)
        total += len(line)
    return "".join(lines).encode()[:size]


async def fill_s3(store: S3Store, blobs: Sequence[Blob]) -> Contents:
    """Put all of them; what the store then has to hold."""
    loop, slots = asyncio.get_running_loop(), asyncio.Semaphore(_AT_ONCE)

    async def small(blob: Blob) -> tuple[str, Held]:
        async with slots:
            (body,) = blob.chunks()
            await obstore.put_async(store, blob.key, body, use_multipart=False)
            return blob.key, Held(len(body), checksums.crc64nvme(body))

    async def large(blob: Blob) -> tuple[str, Held]:
        crc, chunks = 0, blob.chunks()
        async with slots, obstore.open_writer_async(store, blob.key, buffer_size=CHUNK, max_concurrency=4) as writer:
            while (chunk := await loop.run_in_executor(None, next, chunks, None)) is not None:
                crc = checksums.crc64nvme(chunk, crc)
                await writer.write(chunk)
        return blob.key, Held(blob.size, crc)

    return dict(await asyncio.gather(*((small if b.size <= CHUNK else large)(b) for b in blobs)))


async def read_s3(store: S3Store, only: frozenset[str] | None = None) -> Contents:
    """Every object as a listing and a GET tell it; `only`: read just these of what is listed."""
    slots = asyncio.Semaphore(_AT_ONCE)
    sizes: dict[str, int] = {}
    async for page in obstore.list(store, chunk_size=1000):
        sizes |= {info["path"]: info["size"] for info in page if only is None or info["path"] in only}

    async def one(key: str, size: int) -> tuple[str, Held]:
        async with slots:
            crc = length = 0
            async for chunk in (await obstore.get_async(store, key)).stream(min_chunk_size=4 << 20):
                crc, length = checksums.crc64nvme(memoryview(chunk), crc), length + len(chunk)
            if length != size:
                raise WrongCopy(f"{key!r} is listed with {size} bytes and gives {length}")
            return key, Held(size, crc)

    return dict(await asyncio.gather(*(one(key, size) for key, size in sizes.items())))


def fill_folder(folder: Path, blobs: Sequence[Blob]) -> Contents:
    def one(blob: Blob) -> tuple[str, Held]:
        path, crc = folder / blob.key, 0
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("wb") as file:
            for chunk in blob.chunks():
                crc = checksums.crc64nvme(chunk, crc)
                file.write(chunk)
        return blob.key, Held(blob.size, crc)

    with ThreadPoolExecutor(2) as pool:
        return dict(pool.map(one, blobs))


def read_folder(folder: Path) -> Contents:
    """Every regular file below, hidden and temporary ones too."""
    found = {}
    for where, _, names in os.walk(folder):
        for name in names:
            path, crc = Path(where, name), 0
            with path.open("rb") as file:
                while chunk := file.read(CHUNK):
                    crc = checksums.crc64nvme(chunk, crc)
            found[str(path.relative_to(folder))] = Held(path.stat().st_size, crc)
    return found
