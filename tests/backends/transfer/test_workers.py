"""Hosts that carry too: over real sshd, between buckets of a real server; one dies, one lacks Cutover, one lies."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.plan.models import Dataset, Plan, Side, Store, Transfer
from backends.ssh.models import SshSettings
from backends.ssh.pool import SshPool
from backends.stores.base import ObjectInfo, PartInfo
from backends.stores.errors import SourceChanged, StoreBusy, StoreDenied
from backends.stores.open import open_store
from backends.transfer.errors import Damaged
from backends.transfer.haul import Hauled
from backends.transfer.models import Progress, RoundResult
from backends.transfer.pace import Bandwidth
from backends.transfer.session import TransferSession
from backends.transfer.sums import Sums
from backends.transfer.workers.fleet import Fleet, Worker, WorkerLost
from backends.transfer.workers.wire import (
    PROTOCOL,
    decode,
    encode,
    error_in,
    error_out,
    hauled_in,
    hauled_out,
    info_in,
    info_out,
    part_in,
    part_out,
)
from tests.peers.openssh import OpenSsh
from tests.peers.seaweedfs import SeaweedFs

SMALL = {f"small/{i:03}": os.urandom(1500 + i) for i in range(290)}
LARGE = {"large/one": os.urandom(33 << 20)}
PROGRAM = str(Path(sys.executable).parent / "cutover")


@dataclass
class World:
    """Two buckets, and the plan that copies one to the other with the help of `box`."""

    folder: Path
    weed: SeaweedFs
    sshd: OpenSsh
    number: int

    def plan(self, program: str = PROGRAM, **transfer: object) -> Plan:
        stores = {}
        for name, host in (("old", "localhost"), ("new", "127.0.0.1")):  # by two names: a server copies within one by itself
            endpoint = self.weed.endpoint.replace("127.0.0.1", host)
            keys = {"access_key": self.weed.access_key, "secret_key": "${file:secret}"}
            stores[name] = Store(url=f"s3://work-{self.number}-{name}/data/", endpoint=endpoint, **keys)
        (self.folder / "secret").touch(mode=0o600)
        (self.folder / "secret").write_text(self.weed.secret_key + "\n")
        dataset = Dataset.model_validate({"name": "d", "from": "old", "to": "new"})
        asked = Transfer(workers=("box",), worker_program=program, **transfer)  # type: ignore[arg-type]
        return Plan(
            version=1, name="try", legacy=Side(provider="a"), target=Side(provider="b"), stores=stores, datasets=(dataset,),
            transfer=asked,
        )  # fmt: skip

    async def fill(self, bodies: Mapping[str, bytes]) -> None:
        plan = self.plan()
        for name in ("old", "new"):
            store = open_store(name, plan.stores[name], ssh=None, base=self.folder)
            await store.create_bucket()  # type: ignore[attr-defined]
            if name == "old":
                await asyncio.gather(*(store.write(key, body, crc64nvme=Sums.of(body).crc64nvme) for key, body in bodies.items()))
            await store.close()

    async def copied(self) -> dict[str, Sums]:
        store = open_store("new", self.plan().stores["new"], ssh=None, base=self.folder)
        try:
            keys = [info.key async for page in store.list_pages() for info in page]
            return {key: Sums.of(await store.read(key)) for key in keys}
        finally:
            await store.close()

    async def sync(self, plan: Plan, progress: Progress | None = None, *, at_once: bool = False) -> RoundResult:
        """A round. Unless `at_once`, this machine moves its first bytes when the host is ready, or has said why it is not."""
        async with (
            SshPool(self.sshd.settings, [self.sshd.host("box")]) as pool,
            TransferSession(plan, self.folder, self.folder / "state", pool) as session,
        ):
            if not at_once:
                session._pace.bandwidth = Gate(session)
            return await session.round("d", progress=progress)

    def workers(self) -> list[psutil.Process]:
        """Those that run below our sshd."""
        found = []
        for process in psutil.Process(self.sshd.pid).children(recursive=True):
            with contextlib.suppress(psutil.NoSuchProcess):  # a zombie is one too
                found += [process] if "worker" in process.cmdline()[-1:] else []
        return found


class Gate(Bandwidth):
    """Bytes move from the moment on at which the host carries, or cannot."""

    def __init__(self, session: TransferSession) -> None:
        super().__init__(None)
        self._fleets: list[Fleet] = []
        make = session._fleet

        def kept(*args: Any) -> Fleet | None:
            fleet = make(*args)
            self._fleets += [fleet] if fleet is not None else []
            return fleet

        session._fleet = kept  # type: ignore[method-assign]

    async def take(self, size: int) -> None:
        async with asyncio.timeout(60):
            for worker in (worker for fleet in self._fleets for worker in fleet.workers):
                await worker.known.wait()


def sums(bodies: Mapping[str, bytes]) -> dict[str, Sums]:
    return {key: Sums.of(body) for key, body in bodies.items()}


@pytest.fixture
def world(tmp_path: Path, servers: Callable[[str], object], request: pytest.FixtureRequest) -> World:
    weed, sshd = servers("weed"), servers("sshd")
    assert isinstance(weed, SeaweedFs)
    assert isinstance(sshd, OpenSsh)
    return World(tmp_path, weed, sshd, abs(hash(request.node.name)) % 10**6)


async def test_a_host_carries_its_share_and_the_proof_is_of_every_byte(world: World) -> None:
    bodies = {**SMALL, **LARGE}
    await world.fill(bodies)
    progress = Progress()
    seen: list[list[str]] = []
    async with asyncio.TaskGroup() as group:
        looking = group.create_task(_look(world, seen))
        result = await world.sync(world.plan(parallel=2), progress)
        looking.cancel()
    assert (result.failed, result.lag_objects, result.is_proven) == (0, 0, True)
    assert await world.copied() == sums(bodies)
    assert result.carried["box"] > 0, progress.notes
    assert sum(result.carried.values()) == result.bytes == sum(map(len, bodies.values()))
    assert seen, "no worker was seen"
    assert not progress.notes
    assert not any(world.weed.secret_key in line for lines in seen for line in lines)
    assert world.workers() == []


async def _look(world: World, seen: list[list[str]]) -> None:
    """What a worker's arguments and environment tell to who may look at them."""
    while True:
        for process in world.workers():
            with contextlib.suppress(psutil.NoSuchProcess):
                seen.append([*process.cmdline(), *process.environ().values()])
        await asyncio.sleep(0.05)


async def test_a_worker_that_is_killed_costs_nothing_but_time(world: World) -> None:
    bodies = {**SMALL, **LARGE}
    await world.fill(bodies)
    progress = Progress()
    killed = 0

    async def kill() -> None:
        nonlocal killed
        while not killed:
            for process in world.workers():
                if progress.copied_objects > 20:
                    with contextlib.suppress(psutil.NoSuchProcess):
                        process.send_signal(signal.SIGKILL)
                        killed += 1
            await asyncio.sleep(0.02)

    async with asyncio.TaskGroup() as group:
        killing = group.create_task(kill())
        result = await world.sync(world.plan(parallel=2), progress)
        killing.cancel()
    assert killed
    assert (result.failed, result.lag_objects, result.is_proven) == (0, 0, True)
    assert await world.copied() == sums(bodies)
    assert any("box" in note for note in progress.notes), progress.notes


@pytest.mark.slow
async def test_a_worker_that_stands_still_keeps_nothing_waiting_for_ever(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Frozen, its connection open: nothing ends by itself. When it wakes, nothing that it still does changes what was copied."""
    monkeypatch.setattr("backends.transfer.workers.fleet.SILENCE", 6.0)
    bodies = {**SMALL, **LARGE}
    await world.fill(bodies)
    progress = Progress()
    frozen: list[psutil.Process] = []

    async def freeze() -> None:
        while not frozen:
            if progress.copied_objects > 20:
                for process in world.workers():
                    process.suspend()
                    frozen.append(process)
            await asyncio.sleep(0.01)

    async with asyncio.TaskGroup() as group:
        freezing = group.create_task(freeze())
        result = await world.sync(world.plan(parallel=2), progress)
        freezing.cancel()
    assert frozen
    for process in frozen:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.resume()
    await asyncio.to_thread(psutil.wait_procs, frozen, 20)
    assert not [process for process in frozen if process.is_running()]
    assert (result.failed, result.lag_objects, result.is_proven) == (0, 0, True)
    assert await world.copied() == sums(bodies)


async def test_a_host_without_cutover_is_named_and_this_machine_carries_all(world: World) -> None:
    await world.fill(SMALL)
    progress = Progress()
    result = await world.sync(world.plan("/no/such/cutover"), progress)
    assert (result.is_proven, result.carried) == (True, {"": sum(map(len, SMALL.values())), "box": 0})
    (note,) = progress.notes
    assert "box has no `/no/such/cutover`: install Cutover" in note


async def test_a_small_round_waits_for_nobody(world: World) -> None:
    await world.fill({"one": b"1"})
    result = await world.sync(world.plan(), at_once=True)
    assert (result.copied, result.carried) == (1, {"": 1, "box": 0})
    assert world.workers() == []


async def test_it_ends_when_its_input_does() -> None:
    process = await asyncio.create_subprocess_exec(
        PROGRAM, "worker", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    hello = json.loads(await process.stdout.readline())
    assert hello["protocol"] == PROTOCOL
    process.stdin.close()
    assert await asyncio.wait_for(process.wait(), 20) == 0


async def test_what_is_no_message_ends_it_with_the_word_of_it() -> None:
    process = await asyncio.create_subprocess_exec(
        PROGRAM, "worker", stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE
    )
    out, error = await asyncio.wait_for(process.communicate(b'{"stores": {"source": {"secret_key": "hush"}}, "anew": 0}\n'), 20)
    assert process.returncode == 2, (out, error)
    assert b"hush" not in out + error
    assert b"no message of Cutover" in error


# what a host says that lies, or is another version


class Script:
    """Stands for a session: answers each line by what `reply` gives."""

    def __init__(self, reply: Callable[[dict[str, Any]], list[bytes | str]]) -> None:
        self.said: list[dict[str, Any]] = []
        self.stderr = bytearray()
        self.exit_status = 0
        self._reply = reply
        self._lines: asyncio.Queue[str | None] = asyncio.Queue()
        self.is_stopped = False

    def write(self, data: bytes) -> None:
        message = decode(data.decode())
        self.said.append(message)
        for line in self._reply(message):
            self._lines.put_nowait(line.decode() if isinstance(line, bytes) else line)

    def tell(self, line: bytes | str) -> None:
        self._lines.put_nowait(line.decode() if isinstance(line, bytes) else line)

    def stop(self) -> None:
        self.is_stopped = True
        self._lines.put_nowait(None)

    async def __aiter__(self) -> AsyncIterator[str]:
        while (line := await self._lines.get()) is not None:
            yield line


class ScriptedPool(SshPool):
    def __init__(self, script: Script) -> None:
        super().__init__(SshSettings(), [])
        self._script = script

    @contextlib.asynccontextmanager
    async def stream(self, host: str, argv: object, *, limit: int = 0) -> AsyncIterator[Any]:
        yield self._script


INFO = ObjectInfo("k", 3, etag="e")
HELLO = encode({"cutover": "1.0", "protocol": PROTOCOL})


async def told(anew: bool) -> dict[str, Any]:
    return {"source": {}, "target": {}, "anew": anew}


async def with_script(reply: Callable[[dict[str, Any]], list[bytes | str]], first: list[bytes | str] | None = None) -> Worker:
    script = Script(reply)
    for line in [HELLO] if first is None else first:
        script.tell(line)
    return Worker("box", ScriptedPool(script), "cutover", "1.0", told)


def ready_then(answer: Callable[[dict[str, Any]], list[bytes | str]]) -> Callable[[dict[str, Any]], list[bytes | str]]:
    def reply(message: dict[str, Any]) -> list[bytes | str]:
        if "stores" in message:
            return [] if message["anew"] else [encode({"ready": 1})]
        return answer(message) if "n" in message else []

    return reply


async def carried(worker: Worker, here: Hauled, then: Callable[[Worker], Awaitable[None]] | None = None) -> Hauled:
    async def by_us() -> Hauled:
        return here

    async with Fleet([worker]) as fleet, asyncio.timeout(30):
        await worker.known.wait()
        fleet._here = 1 << 40  # this machine has much to do
        done = await fleet.carry(INFO.size, by_us, lambda w: w.whole(INFO))
        if then is not None:
            await then(worker)
        return done


HERE = Hauled(INFO, INFO, Sums.of(b"abc"), "manifest")
THERE = Hauled(INFO, ObjectInfo("k", 3, etag="there"), Sums.of(b"abc"), "stored_checksums")


async def test_what_a_worker_did_is_taken() -> None:
    worker = await with_script(ready_then(lambda m: [encode({"n": m["n"], **hauled_out(THERE)})]), ["motd: hello\n", HELLO])
    assert await carried(worker, HERE) == THERE


LIES: list[Callable[[dict[str, Any]], list[bytes | str]]] = [
    lambda m: ["\x1b[2J no json"],
    lambda m: [encode({"n": m["n"]})],
    lambda m: [encode({"n": m["n"], **hauled_out(THERE._replace(target=ObjectInfo("other", 3)))})],
    lambda m: [encode({"n": m["n"], **hauled_out(THERE._replace(sums=Sums.of(b"abcd")))})],
    lambda m: [encode({"n": m["n"], **hauled_out(THERE), "proof": "trust me"})],
    lambda m: [encode({"n": m["n"], "error": "no"})],
    lambda m: [encode({"n": m["n"], "source": {"key": "k", "size": -3}})],
]


@pytest.mark.parametrize("lie", LIES)
async def test_a_host_that_lies_is_left_and_its_piece_carried_here(lie: Callable[[dict[str, Any]], list[bytes | str]]) -> None:
    worker = await with_script(ready_then(lie))
    assert await carried(worker, HERE) == HERE
    assert not worker.is_ready


@pytest.mark.parametrize(
    ("first", "words"),
    [
        ([encode({"cutover": "0.9", "protocol": PROTOCOL})], "box has Cutover 0.9, and this is 1.0"),
        ([encode({"cutover": "1.0\x1b[2J", "protocol": PROTOCOL})], "box has Cutover 1.0"),
        ([encode({"protocol": 99})], "box has Cutover None"),
        (["motd"] * 60, "says what it cannot have said"),
    ],
)
async def test_another_version_gives_no_secret_away_and_says_what_to_do(first: list[bytes | str], words: str) -> None:
    worker = await with_script(ready_then(lambda m: []), first)
    assert await carried(worker, HERE) == HERE
    assert words in worker.said
    assert "\x1b" not in worker.said
    assert not any("stores" in m for m in worker._pool._script.said)  # type: ignore[attr-defined]


async def test_credentials_that_ended_are_told_anew_and_once() -> None:
    denied = {"code": "store_denied", "message": "expired"}
    answers = iter([{"error": denied}, hauled_out(THERE), {"error": denied}])
    worker = await with_script(ready_then(lambda m: [encode({"n": m["n"], **next(answers)})]))

    async def denied_again(worker: Worker) -> None:
        with pytest.raises(StoreDenied):
            await worker.whole(INFO)  # so soon after, others would not help either

    assert await carried(worker, HERE, denied_again) == THERE
    script = worker._pool._script  # type: ignore[attr-defined]
    assert [m["anew"] for m in script.said if "stores" in m] == [False, True]


async def test_a_worker_that_is_lost_is_not_asked() -> None:
    worker = await with_script(ready_then(lambda m: []))
    with pytest.raises(WorkerLost):
        await worker.whole(INFO)


class Pieces:
    """Pieces of one byte by a fleet of this machine and one that was not heard of yet: `begun` tells where, `end` lets one end."""

    def __init__(self, group: asyncio.TaskGroup, count: int, at_once: int) -> None:
        self.worker = Worker("box", SshPool(SshSettings(), []), "cutover", "1.0", no_stores)
        self.fleet = Fleet([self.worker])
        self.begun: list[str] = []
        self._ends = asyncio.Semaphore(0)
        self.tasks = [group.create_task(self._carry(at_once)) for _ in range(count)]

    async def _carry(self, at_once: int) -> None:
        async def piece(where: str) -> None:
            self.begun.append(where)
            await self._ends.acquire()

        await self.fleet.carry(1, lambda: piece("here"), lambda w: piece(w.host), kind="whole", at_once=at_once)

    async def end(self, count: int) -> list[str]:
        """So many end; where all have begun by then."""
        for _ in range(count):
            self._ends.release()
        await settle()
        return self.begun

    async def tells(self, *, ready: bool) -> list[str]:
        self.worker.is_ready = ready
        self.worker._says("what it does")
        await settle()
        return self.begun


async def no_stores(anew: bool) -> Mapping[str, Any]:
    return {}


async def settle() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_until_a_host_is_known_this_machine_begins_its_own_share_only() -> None:
    async with asyncio.TaskGroup() as group:
        pieces = Pieces(group, count=9, at_once=6)
        assert await pieces.end(0) == ["here"] * 3
        assert await pieces.end(1) == ["here"] * 4, "one has ended, one more begins"
        assert await pieces.tells(ready=True) == ["here"] * 4 + ["box"] * 5
        await pieces.end(8)


async def test_a_host_that_cannot_carry_leaves_all_to_this_machine() -> None:
    async with asyncio.TaskGroup() as group:
        pieces = Pieces(group, count=6, at_once=6)
        assert await pieces.end(0) == ["here"] * 3
        assert await pieces.tells(ready=False) == ["here"] * 6
        await pieces.end(6)


async def test_a_turn_that_is_given_up_goes_to_the_next() -> None:
    async with asyncio.TaskGroup() as group:
        pieces = Pieces(group, count=4, at_once=2)
        assert await pieces.end(0) == ["here"]
        pieces._ends.release()
        for _ in range(20):
            if len(pieces.fleet._waiting) == 2:
                break
            await asyncio.sleep(0)
        pieces.tasks[1].cancel()  # its turn has come, and it has not seen that yet
        assert await pieces.end(0) == ["here"] * 2
        await pieces.end(2)
        assert [task.cancelled() for task in pieces.tasks] == [False, True, False, False]
        assert len(pieces.begun) == 3


@pytest.mark.parametrize("error", [SourceChanged("s", hint="h"), StoreBusy("s", 4.5), Damaged("d"), TimeoutError()])
def test_an_error_of_there_is_handled_as_one_of_here(error: Any) -> None:
    found = error_in(decode(encode({"error": error_out(error)}).decode())["error"], "box")
    assert type(found) is type(error)
    assert getattr(found, "retry_after", None) == getattr(error, "retry_after", None)


TEXT = st.text(st.characters(), max_size=12)  # lone surrogates too: names of trees that are no UTF-8
TEXTS = st.dictionaries(TEXT, TEXT, max_size=3)
INFOS = st.builds(
    ObjectInfo,
    key=TEXT,
    size=st.integers(0, 2**60),
    mtime=st.none() | st.datetimes(timezones=st.just(UTC)),
    mtime_ns=st.none() | st.integers(0, 2**62),
    etag=st.none() | TEXT.filter(bool),
    version=st.none() | TEXT.filter(bool),
    checksums=TEXTS,
    content_type=st.none() | TEXT.filter(bool),
    metadata=TEXTS,
    headers=TEXTS,
    tags=TEXTS,
)


@given(INFOS, INFOS, st.binary(max_size=9), st.integers(1, 10_000))
def test_what_is_said_arrives_as_it_was(source: ObjectInfo, target: ObjectInfo, body: bytes, number: int) -> None:
    assert info_in(decode(encode(info_out(source)).decode())) == source
    sums = Sums.of(body)
    done = Hauled(source._replace(size=len(body)), target._replace(key=source.key, size=len(body)), sums, "manifest")
    assert hauled_in(decode(encode(hauled_out(done)).decode()), source.key) == done
    part = PartInfo(number, source.key, len(body), sums.crc64nvme)
    assert part_in(decode(encode(part_out(sums, part)).decode()), number, len(body)) == (sums, part)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["key", "size", "mtime", "source", "sums", "n"]) | TEXT, inner),
    max_leaves=8,
)  # fmt: skip


@given(JSON)
def test_no_answer_breaks_more_than_itself(value: object) -> None:
    for read in (info_in, lambda v: error_in(v, "box"), lambda v: hauled_in(dict(error=v, source=v, target=v, sums=v), "k")):
        with contextlib.suppress(ValueError):
            read(value)


def test_an_mtime_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="isoformat"):
        info_in({"key": "k", "size": 1, "mtime": "yesterday"})
    assert info_in({"key": "k", "size": 1, "mtime": "2026-01-01T00:00:00+00:00"}).mtime == datetime(2026, 1, 1, tzinfo=UTC)
