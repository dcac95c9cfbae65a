"""A pair of checkpoints of 10 GB together compared, against the disk's own reading rate: the page cache is emptied of them before both."""

from __future__ import annotations

import asyncio
import json
import mmap
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import numpy as np

LAYERS, LAYER = 75, 64 << 20  # tensors, bytes of each: 5 GB a side
PIECE = 8 << 20
TIMES = 3
# A process starts with the most memory of the one that made it: a small one lies between.
_MEASURED = """
import os, sys
out = [(os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0)]
_, status, used = os.wait4(os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=out), 0)
print(os.waitstatus_to_exitcode(status), used.ru_utime + used.ru_stime, used.ru_maxrss)
"""
CUTOVER = [sys.executable, "-c", "from console.main import main; main()"]


async def bench_checkpoints() -> None:
    """A pair of 10 GB, an eighth or all of it different: our reading rate over the disk's own just before and after, the most memory; median of 3."""
    with TemporaryDirectory(prefix="cutover-checkpoints-", dir=os.environ.get("BENCH_DISK")) as folder:
        pairs = await asyncio.to_thread(_prepare, Path(folder))
        for name, files in pairs.items():
            shares, memory, rates, busy = [], [], [], []
            disk = await asyncio.to_thread(_disk_rate, files)
            for _ in range(TIMES):
                before = disk
                rate, peak, cores = await asyncio.to_thread(_our_rate, files)
                disk = await asyncio.to_thread(_disk_rate, files)
                own = (before + disk) / 2
                shares.append(rate / own)
                rates.append((rate, own))
                memory.append(peak)
                busy.append(cores)
            shown = ", ".join(f"{ours / 1e9:.2f} of {own / 1e9:.2f} GB/s" for ours, own in rates)
            print(
                f"{name}: {median(shares):.2f} of the disk's rate (bar: 0.8; {shown}), {median(busy):.1f} s of CPU,"
                f" at most {max(memory) / 1e6:.0f} MB (bar: 300 MB), load average {os.getloadavg()[0]:.1f}",
                flush=True,
            )


def _prepare(folder: Path) -> dict[str, tuple[Path, Path]]:
    base = folder / "base.safetensors"
    few, every = folder / "few.safetensors", folder / "all.safetensors"
    for path, changed in ((base, 0), (few, 8), (every, 1)):
        _write(path, changed)
    return {"an eighth differs": (base, few), "all differs": (base, every)}


def _write(path: Path, changed: int) -> None:
    """Random weights, float32; each `changed`-th layer scaled by a little. The header ends at a multiple of 8, as the library of safetensors writes it."""
    head = {
        f"layers.{n}.weight": {"dtype": "F32", "shape": [LAYER // 4], "data_offsets": [n * LAYER, (n + 1) * LAYER]}
        for n in range(LAYERS)
    }
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    drawn = np.random.default_rng(0).standard_normal(LAYER // 4 + LAYERS, dtype=np.float32)
    with path.open("wb") as out:
        out.write(len(text).to_bytes(8, "little") + text)
        for n in range(LAYERS):
            layer = drawn[n : n + LAYER // 4]
            out.write(layer * np.float32(1.0001) if changed and n % changed == 0 else layer)
        out.flush()
        os.fsync(out.fileno())


def _evict(files: tuple[Path, ...]) -> None:
    for path in files:
        handle = os.open(path, os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def _disk_rate(files: tuple[Path, ...]) -> float:
    """Bytes a second of both files read side by side, nothing done with them: through the page cache or past it, whichever is faster."""
    return max(_rate(files, flags) for flags in (0, os.O_DIRECT))


def _rate(files: tuple[Path, ...], flags: int) -> float:
    _evict(files)
    began = time.monotonic()
    with ThreadPoolExecutor(len(files)) as threads:
        done = sum(threads.map(_read, files, [flags] * len(files)))
    return done / (time.monotonic() - began)


def _read(path: Path, flags: int) -> int:
    """From two threads, half the file each: one read at a time does not keep a disk busy."""
    middle = path.stat().st_size // 2 // PIECE * PIECE
    with ThreadPoolExecutor(2) as threads:
        return sum(threads.map(_read_part, [path] * 2, [flags] * 2, [0, middle], [middle, path.stat().st_size]))


def _read_part(path: Path, flags: int, start: int, end: int) -> int:
    handle, place, done = os.open(path, os.O_RDONLY | flags), mmap.mmap(-1, PIECE), start
    while done < end and (count := os.preadv(handle, [place], done)):
        done += count
    os.close(handle)
    return done - start


def _our_rate(files: tuple[Path, ...]) -> tuple[float, int, float]:
    """Bytes a second of the whole command, its start included; its most memory, bytes; seconds of CPU."""
    _evict(files)
    began = time.monotonic()
    argv = [sys.executable, "-c", _MEASURED, *CUTOVER, "checkpoints", *map(str, files), "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=True)
    status, seconds, memory = map(float, done.stdout.split())
    if status != 1:
        raise RuntimeError(f"cutover checkpoints ended with {status:g}, not with BREACH: {done.stderr}")
    rate = sum(path.stat().st_size for path in files) / (time.monotonic() - began)
    return rate, int(memory) * 1024, seconds
