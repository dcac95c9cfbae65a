"""The index: what it keeps, at what pace, and what survives."""

from __future__ import annotations

import sqlite3
import time
from pathlib import Path

import pytest

from backends.transfer.errors import IndexUnusable
from backends.transfer.index import Index, Row
from backends.transfer.models import Failure
from backends.transfer.sums import Sums


def row(key: str, size: int = 1) -> Row:
    return Row(key, size, "0" * 16, "manifest", f"l-{size}", f"t-{size}")


async def test_rows_come_back_as_they_were_odd_keys_too(index: Index) -> None:
    keys = ["a//b", "new\nline", "café", "cafe\u0301", "🛰️", "bytes-\udcff", "'; DROP TABLE objects; --"]
    for key in keys:
        index.record("d", "target", "forward", row(key))
    found = await index.rows_between("d", "", "\U0010ffff")
    assert found == {key: row(key) for key in keys}
    assert await index.rows_between("other", "", "\U0010ffff") == {}


async def test_a_hundred_thousand_rows_are_written_in_seconds(index: Index) -> None:
    started = time.monotonic()
    await index.record_many("d", (row(f"{i:08}") for i in range(100_000)))
    assert await index.count("d") == 100_000
    assert time.monotonic() - started < 50  # it takes 1 s; the machine may be loaded
    assert len(await index.rows_between("d", "00001000", "00001999")) == 1000


async def test_what_was_recorded_survives_closing(tmp_path: Path) -> None:
    async with Index(tmp_path / "i.db") as first:
        first.record("d", "target", "forward", row("x"))
    async with Index(tmp_path / "i.db") as second:
        assert await second.row("d", "x") == row("x")


async def test_the_handover_index_stays_as_it_was(index: Index) -> None:
    index.record("d", "target", "forward", row("x"))
    index.record("d", "target", "forward", row("y"))
    assert await index.keep_handover("d", 1) == 2
    index.record("d", "target", "forward", row("z"))
    assert await index.handover_count("d", 1) == 2
    assert await index.keep_handover("d", 1) == 3  # again is as once


async def test_rows_are_forgotten_when_the_dataset_has_moved_to_other_stores(index: Index) -> None:
    await index.bind("d", "s3://a/", "s3://b/")
    index.record("d", "target", "forward", row("x"))
    await index.bind("d", "s3://a/", "s3://b/")
    assert await index.count("d") == 1
    await index.bind("d", "s3://a/", "s3://c/")
    assert await index.count("d") == 0


async def test_an_object_recorded_is_a_failure_no_more(index: Index) -> None:
    index.fail("d", "forward", Failure("x", "why"))
    index.fail("d", "reverse", Failure("x", "other way"))
    assert await index.failures("d", "forward") == [Failure("x", "why")]
    index.record("d", "target", "forward", row("x"))
    assert await index.failures("d", "forward") == []
    assert await index.failures("d", "reverse") == [Failure("x", "other way")]


async def test_begun_is_known_until_recorded(index: Index) -> None:
    index.begin("d", "target", "x")
    index.begin("d", "target", "y")
    assert await index.was_begun("d", "target", ["w", "x", "y"]) == {"x", "y"}
    index.record("d", "target", "forward", row("x"))
    assert await index.was_begun("d", "target", ["w", "x", "y"]) == {"y"}


async def test_an_error_of_one_call_does_not_harm_the_others(index: Index) -> None:
    index.record("d", "target", "forward", row("x"))
    with pytest.raises(IndexUnusable, match="no such table"):
        await index.database.call(lambda db: db.execute("SELECT * FROM nowhere"))
    index.record("d", "target", "forward", row("y"))
    assert await index.count("d") == 2


async def test_an_error_of_a_post_is_raised_by_what_comes_next(index: Index) -> None:
    index.database.post(lambda db: db.execute("INSERT INTO nowhere VALUES (1)"))
    with pytest.raises(IndexUnusable):
        await index.database.flush()


async def test_a_file_that_is_no_index_is_told_by_its_path(tmp_path: Path) -> None:
    path = tmp_path / "index.db"
    path.write_bytes(b"not a database at all, but long enough to be read as one" * 10)
    with pytest.raises(IndexUnusable, match=r"index\.db cannot be used"):
        await Index.open(path)


async def test_two_processes_may_have_it_open_at_once(tmp_path: Path) -> None:
    async with Index(tmp_path / "i.db") as one, Index(tmp_path / "i.db") as other:
        one.record("d", "target", "forward", row("x"))
        await one.database.flush()
        other.record("d", "target", "forward", row("y"))
        await other.database.flush()
        assert await one.count("d") == 2


def test_sums_of_parts_add_up_to_the_sum_of_the_whole() -> None:
    parts = [b"", b"a" * 1000, b"bc", b"d" * 70_000]
    total = sum((Sums.of(p) for p in parts), Sums())
    assert total == Sums.of(b"".join(parts))


def test_md5_counts_only_where_nothing_better_is_kept() -> None:
    sums = Sums.of(b"abc")
    assert sums.agrees({"md5": "900150983cd24fb0d6963f7d28e17f72"}, b"abc") is True
    assert sums.agrees({"md5": "0"}, b"abc") is False
    assert sums.agrees({"md5": "0"}) is None
    assert sums.agrees({"md5": "0", "crc64nvme": sums.crc64nvme}, b"abc") is True


def test_sqlite_is_new_enough_for_what_the_index_asks() -> None:
    assert sqlite3.sqlite_version_info >= (3, 28)
