"""By way of a hub: names, two legs side by side, what is proven, repaired and gone on with. Stores in memory that fail on demand."""

from __future__ import annotations

import asyncio
import random
from collections import deque
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.stores.base import ObjectInfo
from backends.stores.errors import StoreDenied, StoreUnreachable
from backends.transfer.compress.seekable import parse_tail
from backends.transfer.hub.copier import Hub, HubOptions
from backends.transfer.hub.names import key_of_name, name_of, root_of
from backends.transfer.hub.round import sync_round_by_hub
from backends.transfer.hub.state import Arrived, HubPart, HubState, HubUpload
from backends.transfer.index import Index
from backends.transfer.models import Progress, RoundOptions, RoundResult
from backends.transfer.sums import Sums
from tests.backends.transfer.memory import MemoryStore

ROOT = root_of("move", "d")
MIB = 1 << 20
LOG = "".join(
    f"2026-11-{i % 28 + 1:02}T12:{i % 60:02} INFO worker-{i % 7} step={i} loss={1 / (i + 1):.6f}\n" for i in range(60_000)
)
TEXT = LOG.encode()
SMALL = {f"logs/{i:02}.log": TEXT[i * 999 : i * 999 + 40_000] for i in range(12)} | {
    f"blobs/{i}": random.Random(i).randbytes(20_000) for i in range(4)
}
BIG = {"big.log": TEXT * (20 * MIB // len(TEXT) + 1), "big.bin": random.Random(9).randbytes(18 * MIB)}


async def go(
    source: MemoryStore,
    hub: MemoryStore,
    target: MemoryStore,
    index: Index,
    *,
    compress: str = "auto",
    progress: Progress | None = None,
    parallel: int = 4,
    **options: object,
) -> RoundResult:
    # In memory the link is faster than any level: a link that is known to be slow makes `auto` decide the same everywhere.
    bandwidth = 400e6 if compress == "auto" else None
    way = HubOptions("move", "d", parallel, compress, bandwidth=bandwidth)  # type: ignore[arg-type]
    chosen = RoundOptions(parallel=parallel, **options)  # type: ignore[arg-type]
    return await sync_round_by_hub(hub, way, source, target, index, chosen, progress or Progress())


# names


@given(st.text(max_size=300), st.sampled_from(["plain", "zstd"]))
def test_a_name_tells_its_key_and_what_it_is(key: str, codec: str) -> None:
    if any("\ud800" <= sign <= "\udfff" for sign in key):
        return
    name = name_of(key, codec)  # type: ignore[arg-type]
    assert len(name.encode()) <= 206
    assert "/" not in name
    assert name == name.encode("ascii").decode()
    if not name.startswith("=="):
        assert key_of_name(name) == (key, codec)


@given(st.lists(st.text(max_size=80), unique=True, max_size=20))
def test_no_two_names_are_one(keys: list[str]) -> None:
    keys = [k for k in keys if not any("\ud800" <= sign <= "\udfff" for sign in k)]
    names = [name_of(k, codec) for k in keys for codec in ("plain", "zstd")]
    assert len(set(names)) == len(names)
    blind = [name_of(k, "plain", blind=True).lower() for k in keys]
    assert len(set(blind)) == len(keys)


@pytest.mark.parametrize(
    "key", ["a//b", "a/./b", "../x", ".", "", " ", "\n", "a%2Fb", "\udcff", "A", "caf\u00e9", "cafe\u0301", "=41"]
)
def test_odd_keys_have_names_of_their_own(key: str) -> None:
    assert key_of_name(name_of(key, "plain")) == (key, "plain")


def test_a_plain_object_that_looks_compressed_is_not_taken_for_one() -> None:
    assert key_of_name(name_of("x.zst", "plain")) == ("x.zst", "plain")
    assert name_of("x.zst", "plain") != name_of("x", "zstd")


def test_a_long_key_is_called_by_its_hash() -> None:
    one, other = "a" * 1000, "a" * 999 + "b"
    assert name_of(one, "zstd") != name_of(other, "zstd")
    assert key_of_name(name_of(one, "zstd")) is None


# state


async def test_what_has_arrived_is_known_again_with_all_that_the_second_leg_needs(tmp_path: Path) -> None:
    info = ObjectInfo(
        "odd\udcff\n",
        7,
        datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC),
        12345678901234567,
        "etag",
        "v1",
        {"md5": "00"},
        "text/plain",
        {"a": "b"},
        {"cache-control": "no-store"},
        {"t": "1"},
    )
    arrived = Arrived(info, 12.5, Sums.of(b"1234567"), True, "zstd", ROOT + "x.zst", "hub-etag", 99)
    async with Index(tmp_path / "index.db") as index:
        state = HubState(index.database, "d")
        await state.open("hub", "source")
        await state.note_arrived(arrived)
    async with Index(tmp_path / "index.db") as index:
        state = HubState(index.database, "d")
        await state.open("hub", "source")
        assert await state.arrived(info.key) == arrived
        assert await state.all_arrived() == [arrived]
        other = HubState(index.database, "d")
        await other.open("another hub", "source")
        assert await other.arrived(info.key) is None


async def test_an_upload_and_its_parts_are_known_again(tmp_path: Path) -> None:
    upload = HubUpload("k", "name", "id", 100, "source", 3, 1.5)
    parts = [
        HubPart(1, (70_000, 4_000_000_000), Sums.of(b"1"), Sums.of(b"2"), "etag"),
        HubPart(2, (5,), Sums.of(b"3"), Sums.of(b"4")),
    ]
    async with Index(tmp_path / "index.db") as index:
        state = HubState(index.database, "d")
        await state.open("hub", "source")
        await state.note_upload(upload)
        for part in parts:
            state.note_part("k", part)
        assert await state.upload("k") == (upload, parts)
        assert await state.open_uploads() == [upload]
        await state.drop_upload("k")
        assert await state.upload("k") is None


# rounds


@pytest.mark.parametrize("compress", ["never", "zstd", "auto"])
@pytest.mark.parametrize("keeps_sums", [True, False], ids=["keeps sums", "keeps none"])
async def test_all_arrives_by_way_of_the_hub_and_nothing_stays_there(index: Index, compress: str, keeps_sums: bool) -> None:
    source = MemoryStore("old", SMALL | BIG | {"empty": b""}, keeps_sums=keeps_sums)
    hub, target = MemoryStore("hub", keeps_sums=keeps_sums), MemoryStore("new", keeps_sums=keeps_sums)
    progress = Progress()
    result = await go(source, hub, target, index, compress=compress, progress=progress)
    assert target.data == source.data
    assert (result.copied, result.failed, result.lag_objects) == (len(source.data), 0, 0)
    assert result.proofs == {"stored_checksums" if keeps_sums else "manifest": len(source.data)}
    assert {key_of_name(name.removeprefix(ROOT))[0] for name in hub.written} == set(source.data)  # type: ignore[index]
    assert len(hub.written) == len(source.data)
    assert (hub.data, hub.uploads, target.uploads) == ({}, {}, {})
    sent = sum(map(len, source.data.values()))
    assert result.hub_bytes + result.saved_bytes == sent
    assert (result.saved_bytes > 0) == (compress != "never")
    assert [n.partition(":")[0] for n in progress.notes] == [
        "objects are removed from the hub when they are proven on the target",
        *(["compressed on the way to the hub"] if compress == "auto" else []),
    ]
    again = await go(source, hub, target, index, compress=compress)
    assert (again.copied, again.unchanged, again.hub_bytes) == (0, len(source.data), 0)


async def test_auto_sends_text_compressed_and_noise_as_it_is(index: Index) -> None:
    source, hub, target = MemoryStore("old", SMALL | BIG), MemoryStore("hub"), MemoryStore("new")
    result = await go(source, hub, target, index)
    names = {n.removeprefix(ROOT) for n in hub.written}
    assert {name_of(k, "zstd" if k.endswith(".log") else "plain") for k in source.data} == names
    text = sum(len(b) for k, b in source.data.items() if k.endswith(".log"))
    assert result.saved_bytes > 0.5 * text


async def test_what_is_on_the_hub_can_be_proven_by_itself(index: Index) -> None:
    source, hub, target = MemoryStore("old", {"a.log": TEXT, "big.log": BIG["big.log"]}), MemoryStore("hub"), MemoryStore("new")
    target.fail["write"] = deque([StoreDenied("no")])
    target.fail["create_upload"] = deque([StoreDenied("no")])
    result = await go(source, hub, target, index, compress="zstd")
    assert result.failed == 2
    for key, body in source.data.items():
        held = hub.data[ROOT + name_of(key, "zstd")]
        table, sums = parse_tail(held, len(held))
        assert (sums, table.size) == (Sums.of(body), len(body))


async def test_the_second_leg_begins_before_the_first_has_ended(index: Index) -> None:
    """The hub takes no further object until the target has one."""
    source, hub, target = MemoryStore("old", SMALL), MemoryStore("hub"), MemoryStore("new")
    arrived = asyncio.Event()
    put, write = hub.write, target.write

    async def held_back(key: str, body: object, **more: object) -> ObjectInfo:
        if hub.calls["write"] >= 6:
            await arrived.wait()
        return await put(key, body, **more)  # type: ignore[arg-type]

    async def told(key: str, body: object, **more: object) -> ObjectInfo:
        info = await write(key, body, **more)  # type: ignore[arg-type]
        arrived.set()
        return info

    hub.write, target.write = held_back, told  # type: ignore[method-assign]
    async with asyncio.timeout(20):
        result = await go(source, hub, target, index, parallel=8)
    assert (result.copied, target.data) == (len(SMALL), SMALL)


async def test_a_target_that_stands_still_does_not_stop_the_first_leg_and_what_waits_is_bounded(index: Index) -> None:
    objects = {f"k{i:03}": b"x" * 2000 for i in range(120)}
    source, hub, target = MemoryStore("old", objects), MemoryStore("hub"), MemoryStore("new")
    gate = asyncio.Event()
    write = target.write

    async def stands_still(key: str, body: object, **more: object) -> ObjectInfo:
        await gate.wait()
        return await write(key, body, **more)  # type: ignore[arg-type]

    target.write = stands_still  # type: ignore[method-assign]
    way = HubOptions("move", "d", 4)
    round_ = asyncio.create_task(sync_round_by_hub(hub, way, source, target, index, RoundOptions(parallel=4), Progress()))
    bound = 8 * 4
    async with asyncio.timeout(20):
        while len(hub.data) < bound - 4:  # noqa: ASYNC110 - the hub fills while the target stands
            await asyncio.sleep(0.005)
    for _ in range(200):
        await asyncio.sleep(0)
    assert len(hub.data) <= bound
    assert not target.data
    gate.set()
    assert (await round_).copied == 120
    assert target.data == objects


async def test_what_had_arrived_on_the_hub_is_not_read_from_the_source_again(index: Index) -> None:
    source, hub, target = MemoryStore("old", SMALL), MemoryStore("hub"), MemoryStore("new")
    target.fail["write"] = deque([StoreDenied("no")] * len(SMALL))
    first = await go(source, hub, target, index)
    assert (first.failed, len(hub.data)) == (len(SMALL), len(SMALL))
    source.calls.clear()
    hub.calls.clear()
    second = await go(source, hub, target, index)
    assert (second.copied, second.failed, second.hub_bytes) == (len(SMALL), 0, 0)
    assert (source.calls["read"], hub.calls["write"]) == (0, 0)
    assert target.data == SMALL
    assert hub.data == {}


async def test_a_source_that_changed_since_it_arrived_is_sent_again(index: Index) -> None:
    source, hub, target = MemoryStore("old", {"a": b"1" * 5000}), MemoryStore("hub"), MemoryStore("new")
    target.fail["write"] = deque([StoreDenied("no")])
    await go(source, hub, target, index)
    source.put("a", b"2" * 5000)
    result = await go(source, hub, target, index)
    assert (result.copied, target.data) == (1, {"a": b"2" * 5000})
    assert hub.data == {}


async def test_what_expired_on_the_hub_is_sent_again(index: Index) -> None:
    source, hub, target = MemoryStore("old", {"a.log": TEXT[:9000]}), MemoryStore("hub"), MemoryStore("new")
    target.fail["write"] = deque([StoreDenied("no")])
    await go(source, hub, target, index)
    for name in list(hub.data):
        hub.remove(name)
    result = await go(source, hub, target, index)
    assert (result.copied, result.hub_bytes > 0, target.data) == (1, True, source.data)


@pytest.mark.parametrize("compress", ["never", "zstd"])
async def test_damage_on_the_way_from_the_hub_is_mended_and_told(index: Index, compress: str) -> None:
    source, hub, target = MemoryStore("old", {"a.log": TEXT}), MemoryStore("hub"), MemoryStore("new")
    left = [1]

    def flip(key: str, body: bytes) -> bytes:
        if not left or len(body) < 100:
            return body
        left.pop()
        return body[:50] + bytes([body[50] ^ 1]) + body[51:]

    hub.damage = flip
    result = await go(source, hub, target, index, compress=compress)
    assert (result.copied, result.failed, target.data) == (1, 0, source.data)
    assert [f.key for f in result.repaired] == ["a.log"]


@pytest.mark.parametrize("compress", ["never", "zstd"])
async def test_damage_that_stays_on_the_hub_sends_the_object_there_again(index: Index, compress: str) -> None:
    """A hub that keeps no checksums and goes bad after it was proven."""
    source, target = MemoryStore("old", {"a.log": TEXT}), MemoryStore("new")
    hub = MemoryStore("hub", keeps_sums=False)
    target.fail["write"] = deque([StoreDenied("no")])
    await go(source, hub, target, index, compress=compress)
    (name,) = hub.data
    body = bytearray(hub.data[name])
    body[len(body) // 2] ^= 4
    hub.data[name] = bytes(body)  # with the same size, time and name
    result = await go(source, hub, target, index, compress=compress)
    assert (result.copied, result.failed, target.data) == (1, 0, source.data)
    assert result.repaired


async def test_a_hub_that_holds_other_bytes_than_were_sent_is_found_before_the_second_leg(index: Index) -> None:
    source, target = MemoryStore("old", {"a": TEXT[:5000]}), MemoryStore("new")
    hub = MemoryStore("hub", keeps_sums=False)
    hub.damage = lambda key, body: body[:-1] + b"?"
    result = await go(source, hub, target, index, compress="never")
    assert (result.failed, target.data) == (1, {})
    assert "the hub holds other bytes than were sent" in result.failures[0].reason


async def test_a_large_object_cut_off_on_the_first_leg_goes_on_with_the_missing_parts(tmp_path: Path) -> None:
    body = random.Random(4).randbytes(60 * MIB)
    source, hub, target = MemoryStore("old", {"big.bin": body}), MemoryStore("hub"), MemoryStore("new")
    sent: list[int] = []
    write_part = hub.write_part

    async def breaks(key: str, upload: str, number: int, offset: int, body: object, **more: object) -> object:
        if len(sent) == 4:
            raise StoreDenied("the keys have ended")
        info = await write_part(key, upload, number, offset, body, **more)  # type: ignore[arg-type]
        sent.append(number)
        return info

    hub.write_part = breaks  # type: ignore[assignment]
    async with Index(tmp_path / "index.db") as index:
        first = await go(source, hub, target, index, compress="zstd")
        assert (first.failed, len(hub.uploads)) == (1, 1)  # kept: a later run needs it
    hub.write_part = write_part  # type: ignore[method-assign]
    hub.calls.clear()
    async with Index(tmp_path / "index.db") as index:
        second = await go(source, hub, target, index, compress="zstd")
    assert (second.copied, target.data, hub.uploads) == (1, source.data, {})
    assert hub.calls["write_part"] == 8 - 4
    assert hub.calls["create_upload"] == 0


async def test_a_large_object_cut_off_on_the_second_leg_reads_only_the_frames_it_needs(tmp_path: Path) -> None:
    body = random.Random(4).randbytes(60 * MIB)
    source, hub, target = MemoryStore("old", {"big.bin": body}), MemoryStore("hub"), MemoryStore("new")
    sent: list[int] = []
    write_part = target.write_part

    async def breaks(key: str, upload: str, number: int, offset: int, body: object, **more: object) -> object:
        if len(sent) == 5:
            raise StoreDenied("the keys have ended")
        info = await write_part(key, upload, number, offset, body, **more)  # type: ignore[arg-type]
        sent.append(number)
        return info

    target.write_part = breaks  # type: ignore[assignment]
    async with Index(tmp_path / "index.db") as index:
        assert (await go(source, hub, target, index, compress="zstd")).failed == 1
    target.write_part = write_part  # type: ignore[method-assign]
    for store in (source, hub, target):
        store.calls.clear()
    async with Index(tmp_path / "index.db") as index:
        second = await go(source, hub, target, index, compress="zstd")
    assert (second.copied, target.data, hub.data) == (1, source.data, {})
    assert (source.calls["read"], target.calls["write_part"]) == (0, 8 - 5)
    assert hub.calls["read"] == 8 - 5 + 1  # the frames of these parts, and the table


async def test_uploads_of_ours_are_ended_when_the_source_has_gone(tmp_path: Path) -> None:
    source, hub, target = MemoryStore("old", BIG), MemoryStore("hub"), MemoryStore("new")
    hub.fail["write_part"] = deque([StoreDenied("no")] * 9)
    async with Index(tmp_path / "index.db") as index:
        await go(source, hub, target, index, compress="never")
    hub.fail.clear()
    assert hub.uploads
    for key in list(source.data):
        source.remove(key)
    source.put("other", b"1")
    async with Index(tmp_path / "index.db") as index:
        result = await go(source, hub, target, index, compress="never")
    assert (hub.uploads, hub.data, result.failed) == ({}, {}, 0)
    assert result.aborted_uploads >= 1


async def test_where_objects_expire_by_rule_they_are_left_to_it(index: Index) -> None:
    class Expiring(MemoryStore):
        rules: list[tuple[str, int]]

        async def set_expiry(self, prefix: str, days: int) -> None:
            self.rules.append((prefix, days))

    source, hub, target = MemoryStore("old", SMALL), Expiring("hub"), MemoryStore("new")
    hub.rules = []
    progress = Progress()
    result = await go(source, hub, target, index, progress=progress)
    assert hub.rules == [(ROOT, 7)]
    assert (result.copied, len(hub.data), hub.calls["delete"]) == (len(SMALL), len(SMALL), 0)
    assert not any("removed" in note for note in progress.notes)


async def test_the_rule_is_asked_for_once_and_anew_when_its_days_change(index: Index) -> None:
    asked: list[int] = []

    class Expiring(MemoryStore):
        async def set_expiry(self, prefix: str, days: int) -> None:
            asked.append(days)

    source, hub = MemoryStore("old", SMALL), Expiring("hub")
    for days in (7, 7, 3, 3):
        async with Hub(hub, HubOptions("move", "d", 4, days=days), index) as way:
            assert await way.open(source) == ""
    assert asked == [7, 3]


async def test_a_hub_that_refuses_the_rule_is_cleared_by_us_and_that_is_told(index: Index) -> None:
    class Refusing(MemoryStore):
        async def set_expiry(self, prefix: str, days: int) -> None:
            raise StoreDenied("lifecycle: AccessDenied")

    source, hub, target, progress = MemoryStore("old", SMALL), Refusing("hub"), MemoryStore("new"), Progress()
    await go(source, hub, target, index, progress=progress)
    assert hub.data == {}
    assert "AccessDenied" in progress.notes[0]


async def test_a_dry_run_does_not_touch_the_hub(index: Index) -> None:
    source, hub, target = MemoryStore("old", SMALL), MemoryStore("hub"), MemoryStore("new")
    result = await go(source, hub, target, index, dry_run=True)
    assert (result.lag_objects, hub.calls, hub.data) == (len(SMALL), {}, {})


async def test_a_hub_that_is_away_for_a_moment_is_borne_with(index: Index) -> None:
    source, hub, target = MemoryStore("old", SMALL), MemoryStore("hub"), MemoryStore("new")
    hub.fail["write"] = deque([StoreUnreachable("cut")] * 3)
    hub.fail["read"] = deque([StoreUnreachable("cut")] * 3)
    result = await go(source, hub, target, index)
    assert (result.copied, result.failed, target.data) == (len(SMALL), 0, SMALL)


async def test_a_case_blind_hub_holds_both_cases(index: Index) -> None:
    source, hub, target = MemoryStore("old", {"A": b"1" * 50, "a": b"2" * 50}), MemoryStore("hub"), MemoryStore("new")
    hub.capabilities = replace(hub.capabilities, case_blind=True)
    target.fail["write"] = deque([StoreDenied("no")] * 2)
    await go(source, hub, target, index)
    assert len({name.lower() for name in hub.data}) == 2
    assert (await go(source, hub, target, index)).copied == 2
    assert target.data == source.data
