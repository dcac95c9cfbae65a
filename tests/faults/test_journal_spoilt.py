"""A spoilt journal is found at the engine's start, named, and never guessed around: or what was spoilt is part of no event."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from backends.cutover.events import Event
from backends.engine.errors import JournalBroken
from backends.engine.journal import Journal, read_events, verify_chain
from backends.engine.paths import head_of, journal_of
from tests.faults.moments import moment
from tests.faults.table import Cases, fault_case

PAGE = 4096


async def opened(state: Path) -> list[Event]:
    """As an engine does it at its start."""
    journal = Journal(state)
    try:
        return await journal.open()
    finally:
        await journal.close()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migration's folder with a long journal, nobody at it, its log folded in."""
    state = tmp_path_factory.mktemp("journal") / "state"
    shutil.copytree(moment("dual").state, state)
    asyncio.run(opened(state))
    assert len(journal_of(state).read_bytes()) > 8 * PAGE
    return state


@pytest.fixture
def state(good: Path, tmp_path: Path) -> Path:
    copy = tmp_path / "state"
    shutil.copytree(good, copy)
    return copy


def found_or_harmless(state: Path, events: list[Event]) -> bool:
    """Was it found, by the start and by `history --verify` alike? If not, not one event may differ."""
    try:
        verified = verify_chain(state)
    except JournalBroken:
        with pytest.raises(JournalBroken, match=r"event|journal"):
            asyncio.run(opened(state))
        return True
    assert verified.seq == len(events)
    assert read_events(state) == events
    assert asyncio.run(opened(state)) == events
    return False


def spoilt(good: Path, folder: Path, name: str, content: bytes) -> Path:
    """The good folder once more, with one file's content exchanged."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(good, folder)
    (folder / name).write_bytes(content)
    return folder


@fault_case("a text of the journal turns into bytes", "found at start and named")
@pytest.mark.parametrize("column", ["data", "actor", "at", "kind", "plan_hash", "hash"])
def test_a_field_of_another_kind_is_named(state: Path, column: str) -> None:
    with sqlite3.connect(journal_of(state)) as db:
        db.execute("PRAGMA writable_schema=ON")
        db.execute("UPDATE sqlite_schema SET sql = replace(sql, 'STRICT', '') WHERE name = 'events'")
    db.close()
    with sqlite3.connect(journal_of(state)) as db:
        db.execute(f"UPDATE events SET {column} = CAST({column} AS BLOB) WHERE seq = 7")
    db.close()
    with pytest.raises(JournalBroken, match="event 7"):
        verify_chain(state)


@fault_case("bits of the journal flip anywhere", "found at start and named, or in no event")
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(places=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 7)), min_size=1, max_size=4))
def test_flipped_bits_are_found_or_change_no_event(good: Path, tmp_path: Path, places: list[tuple[float, int]]) -> None:
    content = bytearray(journal_of(good).read_bytes())
    for place, bit in places:
        content[int(place * len(content))] ^= 1 << bit
    found_or_harmless(spoilt(good, tmp_path / "state", "journal.db", bytes(content)), read_events(good))


@pytest.mark.slow
@pytest.mark.timeout(600)
@fault_case(
    "each byte of the journal's first pages, and every 61st beyond, is changed", "found at start and named, or in no event"
)
def test_every_class_of_byte_is_found_or_changes_no_event(good: Path, tmp_path: Path, cases: Cases) -> None:
    whole, events = journal_of(good).read_bytes(), read_events(good)
    places = [*range(0, 128), *range(128, PAGE, 17), *range(PAGE, len(whole), 61)]
    found = 0
    for place in places:
        content = bytearray(whole)
        content[place] ^= 0x41
        found += found_or_harmless(spoilt(good, tmp_path / "state", "journal.db", bytes(content)), events)
    cases.count(len(places))
    assert found > len(places) // 2  # most bytes are an event's


@fault_case("the journal's file is cut off", "found at start and named, or in no event")
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(share=st.floats(0, 1, exclude_max=True))
def test_a_truncated_file_is_found(good: Path, tmp_path: Path, share: float) -> None:
    whole = journal_of(good).read_bytes()
    found_or_harmless(spoilt(good, tmp_path / "state", "journal.db", whole[: int(share * len(whole))]), read_events(good))


@fault_case("the journal's file is empty, or gone", "found at start and named")
@pytest.mark.parametrize("gone", [False, True])
def test_an_empty_or_missing_journal_beside_its_head_is_found(state: Path, gone: bool) -> None:
    journal_of(state).write_bytes(b"")
    if gone:
        journal_of(state).unlink()
    with pytest.raises(JournalBroken, match="its tail is lost"):
        asyncio.run(opened(state))


@fault_case("the journal's last events are lost", "found at start, by the head beside it")
@pytest.mark.parametrize("lost", [1, 2, 40])
def test_a_truncated_tail_is_found(state: Path, lost: int) -> None:
    count = len(read_events(state))
    with sqlite3.connect(journal_of(state)) as db:
        db.execute("DELETE FROM events WHERE seq > ?", (count - lost,))
    db.close()
    with pytest.raises(JournalBroken, match=f"ends at event {count - lost}, but {count} had been written"):
        verify_chain(state)
    with pytest.raises(JournalBroken, match="its tail is lost"):
        asyncio.run(opened(state))


@fault_case("a copy from before is put back", "found at start, by the head beside it")
def test_a_journal_from_before_put_back_is_found(state: Path, tmp_path: Path) -> None:
    before = tmp_path / "before.db"
    shutil.copy(journal_of(state), before)

    async def lived_on() -> None:
        journal = Journal(state)
        await journal.open()
        await journal.append("note", {"text": "later"}, actor="test", observed=1.0)
        await journal.close()

    asyncio.run(lived_on())
    shutil.copy(before, journal_of(state))
    with pytest.raises(JournalBroken, match="its tail is lost"):
        asyncio.run(opened(state))


@fault_case("a second writer adds to the journal", "its event is found by the chain, or collides")
@pytest.mark.parametrize("cuts_in", [True, False])
def test_a_second_writer_is_found(state: Path, cuts_in: bool) -> None:
    """One that does not know the chain; one that knows it and was not the only one is refused by the unique parent."""
    last = len(read_events(state))
    db = sqlite3.connect(journal_of(state))
    row = list(db.execute("SELECT * FROM events WHERE seq = ?", (last,)).fetchone())
    row[0], row[1] = last + 1, last if not cuts_in else last - 1
    statement = f"INSERT INTO events VALUES ({','.join('?' * len(row))})"
    if cuts_in:
        with pytest.raises(sqlite3.IntegrityError, match=r"events\.parent"):
            db.execute(statement, row)
        db.close()
        return
    db.execute(statement, row)
    db.commit()
    db.close()
    with pytest.raises(JournalBroken, match=f"event {last + 1}"):
        verify_chain(state)
    with pytest.raises(JournalBroken, match=f"event {last + 1}"):
        asyncio.run(opened(state))


@fault_case("the file with the journal's head is spoilt", "the chain still holds, or another head is named")
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(content=st.one_of(st.binary(max_size=90), st.integers(-3, 400).map(lambda n: f"{n} {'ab' * 32}\n".encode())))
def test_a_spoilt_head_is_named_or_no_head(good: Path, tmp_path: Path, content: bytes) -> None:
    found_or_harmless(spoilt(good, tmp_path / "state", head_of(good).name, content), read_events(good))
