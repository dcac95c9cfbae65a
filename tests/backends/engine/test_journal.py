"""The journal: durable, chained, and never guessed around."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any

import pytest

from backends.engine import journal as module
from backends.engine.errors import JournalBroken, JournalFull, StateLocked
from backends.engine.journal import Journal, read_events, read_head, verify_chain
from backends.engine.lock import StateLock, is_locked
from backends.engine.paths import head_of, journal_of


async def write(state: Path, count: int) -> None:
    journal = Journal(state)
    await journal.open()
    for number in range(count):
        await journal.append("note", {"text": f"event {number}"}, actor="test", observed=float(number))
    await journal.close()


def spoil(state: Path, statement: str, *args: Any) -> None:
    db = sqlite3.connect(journal_of(state))
    db.execute(statement, args)
    db.commit()
    db.close()


async def test_events_come_back_in_order_with_their_chain(tmp_path: Path) -> None:
    await write(tmp_path, 5)
    events = read_events(tmp_path)
    assert [e.seq for e in events] == [1, 2, 3, 4, 5]
    assert [e.data["text"] for e in events] == [f"event {n}" for n in range(5)]
    head = verify_chain(tmp_path)
    assert head.seq == 5
    assert head == read_head(tmp_path)


@pytest.mark.parametrize(
    "statement",
    [
        'UPDATE events SET data = \'{"text": "other"}\' WHERE seq = 3',
        "UPDATE events SET actor = 'somebody' WHERE seq = 3",
        "UPDATE events SET at = '2020-01-01T00:00:00+00:00' WHERE seq = 3",
        "UPDATE events SET observed = 99.0 WHERE seq = 3",
        "DELETE FROM events WHERE seq = 3",
        "UPDATE events SET hash = 'ab' WHERE seq = 3",
    ],
)
async def test_a_changed_event_is_found_and_named(tmp_path: Path, statement: str) -> None:
    await write(tmp_path, 5)
    spoil(tmp_path, statement)
    with pytest.raises(JournalBroken, match="event 3"):
        verify_chain(tmp_path)
    with pytest.raises(JournalBroken, match="event 3"):
        await Journal(tmp_path).open()


async def test_a_lost_tail_is_noticed_by_the_head_beside_it(tmp_path: Path) -> None:
    await write(tmp_path, 5)
    spoil(tmp_path, "DELETE FROM events WHERE seq >= 4")
    with pytest.raises(JournalBroken, match="its tail is lost"):
        await Journal(tmp_path).open()
    with pytest.raises(JournalBroken, match="event 3, but 5 had been written"):
        verify_chain(tmp_path)


async def test_a_journal_exchanged_for_another_is_noticed(tmp_path: Path) -> None:
    await write(tmp_path, 3)
    head_of(tmp_path).write_text(f"3 {'ab' * 32}\n")
    with pytest.raises(JournalBroken, match="event 3 is not the one"):
        verify_chain(tmp_path)


async def test_a_file_that_is_no_database_is_named_and_left_alone(tmp_path: Path) -> None:
    journal_of(tmp_path).write_bytes(b"rubbish" * 1000)
    with pytest.raises(JournalBroken, match="cannot be read"):
        await Journal(tmp_path).open()
    assert journal_of(tmp_path).read_bytes().startswith(b"rubbish")


async def test_a_second_writer_collides(tmp_path: Path) -> None:
    one, two = Journal(tmp_path), Journal(tmp_path)
    await one.open()
    await two.open()
    await one.append("note", {}, actor="one", observed=0)
    with pytest.raises(JournalFull, match="UNIQUE"):
        await two.append("note", {}, actor="two", observed=0)
    await one.close()
    await two.close()


async def test_a_rollback_goes_on_with_a_journal_that_cannot_be_written_and_is_merged_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    journal = Journal(tmp_path)
    await journal.open()
    await journal.append("note", {"n": 1}, actor="test", observed=0)
    insert = Journal._insert

    def full(*args: Any) -> Any:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(Journal, "_insert", full)
    with pytest.raises(JournalFull, match="disk is full"):
        await journal.append("note", {"n": 0}, actor="test", observed=0)
    spilled = await journal.append("note", {"n": 2}, actor="test", observed=1, may_spill=True)
    assert spilled.data == {"n": 2}
    assert journal.emergency is not None
    emergency = journal.emergency
    assert '"n": 2' in emergency.read_text()
    monkeypatch.setattr(Journal, "_insert", insert)
    await journal.append("note", {"n": 3}, actor="test", observed=2)
    await journal.close()
    assert not emergency.exists()
    assert [e.data.get("n") for e in read_events(tmp_path)] == [1, 2, None, 3]
    verify_chain(tmp_path)


async def test_an_event_of_a_newer_version_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "SCHEMA", 99)
    await write(tmp_path, 1)
    monkeypatch.undo()
    with pytest.raises(JournalBroken, match="schema 99"):
        await Journal(tmp_path).open()


async def test_the_journal_is_for_its_owner_alone(tmp_path: Path) -> None:
    await write(tmp_path, 1)
    assert journal_of(tmp_path).stat().st_mode & 0o077 == 0
    assert head_of(tmp_path).read_text().startswith("1 ")


def test_a_folder_has_one_engine(tmp_path: Path) -> None:
    lock = StateLock(tmp_path)
    lock.take("the engine")
    with pytest.raises(StateLocked, match="the engine"):
        StateLock(tmp_path).take("another")
    assert is_locked(tmp_path)
    lock.release()
    assert not is_locked(tmp_path)


def full(*args: Any) -> Any:
    raise sqlite3.OperationalError("database or disk is full")


async def spilled(state: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An engine that is killed while its journal cannot be written; returns its emergency journal."""
    await write(state, 2)
    journal = Journal(state)
    await journal.open()
    insert = Journal._insert
    monkeypatch.setattr(Journal, "_insert", full)
    for number in (2, 3):
        await journal.append("note", {"text": f"event {number}"}, actor="test", observed=5.0, may_spill=True)
    monkeypatch.setattr(Journal, "_insert", insert)
    await journal.close()
    assert journal.emergency is not None
    return journal.emergency


async def test_what_a_killed_engine_left_in_its_emergency_journal_is_merged_by_the_next(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = await spilled(tmp_path, monkeypatch)
    with left.open("a") as file:
        file.write('{"at": "2026-')  # cut off in the middle of a line
    journal = Journal(tmp_path)
    events = await journal.open()
    await journal.close()
    assert [e.data["text"] for e in events] == [f"event {n}" for n in range(4)]
    assert not left.exists()
    assert [e.kind for e in read_events(tmp_path)] == ["note"] * 4 + ["journal.merged"]
    verify_chain(tmp_path)


async def test_what_cannot_be_merged_yet_counts_all_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    left = await spilled(tmp_path, monkeypatch)
    insert = Journal._insert
    monkeypatch.setattr(Journal, "_insert", full)
    journal = Journal(tmp_path)
    assert [e.seq for e in await journal.open()] == [1, 2, 3, 4]
    assert journal.emergency == left
    monkeypatch.setattr(Journal, "_insert", insert)
    await journal.append("note", {"text": "event 4"}, actor="test", observed=6.0)
    await journal.close()
    assert not left.exists()
    assert len(read_events(tmp_path)) == 6


async def test_an_emergency_journal_that_others_could_have_written_is_left_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    left = await spilled(tmp_path, monkeypatch)
    left.chmod(0o620)
    try:
        journal = Journal(tmp_path)
        assert len(await journal.open()) == 2
        await journal.close()
    finally:
        left.unlink()
