"""Reads past the page cache give the bytes that a plain read gives."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends.validation.checkpoint.direct import is_cached, open_direct, read_direct, room
from backends.validation.checkpoint.side import LocalSide
from backends.validation.errors import CheckpointRefused

SIZE = 1_000_003


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "one.safetensors"
    with path.open("wb") as out:
        out.write(os.urandom(SIZE))
        out.flush()
        os.fsync(out.fileno())
    return path


@given(start=st.integers(0, SIZE - 1), length=st.integers(1, SIZE))
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_range_comes_as_it_is_in_the_file(file: Path, start: int, length: int) -> None:
    handle = os.open(file, os.O_RDONLY)
    direct = open_direct(handle)
    if direct is None:
        os.close(handle)
        pytest.skip("this file system has no O_DIRECT")
    try:
        body = read_direct(direct, start, length, room(length))
        assert body is None or body == file.read_bytes()[start : start + length]
    finally:
        os.close(direct)
        os.close(handle)


def test_what_was_just_read_is_known_to_be_cached(file: Path) -> None:
    whole = file.read_bytes()
    handle = os.open(file, os.O_RDONLY)
    try:
        assert is_cached(handle, 0, len(whole))
        assert not is_cached(handle, len(whole), 1)
    finally:
        os.close(handle)


@pytest.mark.parametrize("is_in_cache", [True, False])
async def test_a_side_reads_the_same_from_the_cache_and_past_it(file: Path, is_in_cache: bool) -> None:
    whole = file.read_bytes()
    if not is_in_cache:
        handle = os.open(file, os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)
    async with LocalSide(file) as side:
        assert await side.read(file.name, 777, 600_000, room(600_000)) == whole[777 : 777 + 600_000]
        with pytest.raises(CheckpointRefused, match="any more"):
            await side.read(file.name, 700_000, 600_000, room(600_000))
