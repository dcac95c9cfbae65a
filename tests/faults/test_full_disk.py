"""A disk that runs full under the journal: nothing moves forward, the way back is still written down, and room heals it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.engine import reserve
from backends.engine.errors import JournalFull
from backends.engine.journal import Journal, verify_chain

MIB = 1 << 20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 24 MiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    argv = ["mount", "-t", "tmpfs", "-o", "size=24m", "cutover-test", str(folder)]
    done = subprocess.run(argv, capture_output=True, check=False)
    if done.returncode != 0:
        pytest.skip(f"a small tmpfs cannot be mounted: {done.stderr.decode(errors='replace').strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path) -> Path:
    """Take every byte that is left."""
    ballast = folder / "ballast"
    with ballast.open("wb", buffering=0) as file:
        size = MIB
        while size >= 1:
            try:
                file.write(b"\0" * size)
            except OSError:
                size //= 16
    return ballast


async def _until_full(journal: Journal) -> None:
    """SQLite's own files may have some room left."""
    while True:
        await journal.append("op.intent", {"text": "x" * 500}, actor="test", observed=0.0)


async def test_a_rollback_is_written_into_the_reserved_space_and_room_heals_it(disk: Path) -> None:
    journal = Journal(disk)
    try:
        await journal.open()
        assert reserve.reserve_of(disk).stat().st_size == reserve.SIZE
        await journal.append("created", {"name": "x"}, actor="test", observed=0.0)
        ballast = fill(disk)
        with pytest.raises(JournalFull):
            await _until_full(journal)
        for number in range(200):
            await journal.append("note", {"n": number, "text": "x" * 500}, actor="test", observed=0.0, may_spill=True)
        assert journal.released
        assert journal.emergency is None, "it is in the journal itself"
        assert not reserve.reserve_of(disk).exists()
        with pytest.raises(JournalFull, match="for the way back"):
            await journal.append("op.intent", {}, actor="test", observed=0.0)
        ballast.unlink()
        await journal.append("op.intent", {}, actor="test", observed=0.0)
        assert not journal.released
        assert reserve.reserve_of(disk).exists()
    finally:
        await journal.close()
    verify_chain(disk)


async def test_when_the_reserved_space_is_full_too_memory_takes_the_rest(disk: Path) -> None:
    journal = Journal(disk)
    try:
        await journal.open()
        await journal.append("created", {"name": "x"}, actor="test", observed=0.0)
        fill(disk)
        while journal.emergency is None:
            await journal.append("note", {"text": "x" * 50_000}, actor="test", observed=0.0, may_spill=True)
        (disk / "ballast").unlink()
        await journal.append("note", {}, actor="test", observed=0.0, may_spill=True)
        assert journal.emergency is None
    finally:
        await journal.close()
    verify_chain(disk)
