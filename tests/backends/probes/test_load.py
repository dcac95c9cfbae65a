"""Open-loop load against real servers whose delays are known."""

from __future__ import annotations

import asyncio
import itertools
import json
import math
import random
import signal
import sys
import time
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from statistics import median

import pytest
import uvloop
from hypothesis import given
from hypothesis import strategies as st

from backends.errors import CouldNot, UsageError
from backends.histogram import Histogram
from backends.probes.load import pace
from backends.probes.load.answers import MOST_WAITING, Answers, Sameness, difference
from backends.probes.load.connection import Connection, Exchange
from backends.probes.load.course import Course
from backends.probes.load.kept import Kept
from backends.probes.load.pace import Pace
from backends.probes.load.run import LoadPlan, LoadRun, SliceDone
from backends.probes.load.schedule import constant, poisson, recorded
from backends.probes.load.side import Request, Side, Slice, Wire
from backends.vocabulary import SideName
from tests.peers.certificate import make_certificate
from tests.peers.delay_server import DelayServer, delay_server
from tests.peers.process import free_ports

PROGRAM = [sys.executable, "-c", "from console.main import main; main()", "load"]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[DelayServer]:
    async with delay_server(tmp_path) as running:
        yield running


async def all_of(run: LoadRun) -> list[SliceDone]:
    return [one async for one in run.run()]


def whole(done: list[SliceDone], side: str = "legacy") -> Slice:
    course = Course()
    for one in done:
        course.add(one)
    return course.whole[side]  # type: ignore[index]


@given(st.lists(st.floats(0, 100), min_size=1, max_size=200), st.floats(0.01, 1))
def test_a_quantile_is_within_a_bucket_of_the_true_one(values: list[float], share: float) -> None:
    histogram = Histogram()
    for value in values:
        histogram.record(value)
    true = sorted(values)[max(1, math.ceil(share * len(values) - 1e-9)) - 1]
    found = histogram.quantile(share)
    assert found is not None
    assert abs(found - true) <= true / 128 + 1.5e-6
    assert histogram.most == max(values)


@given(st.lists(st.floats(0, 100), max_size=60), st.lists(st.floats(0, 100), max_size=60))
def test_histograms_merge_as_if_they_had_been_one_and_survive_json(one: list[float], two: list[float]) -> None:
    a, b, both = Histogram(), Histogram(), Histogram()
    for value in one:
        a.record(value)
        both.record(value)
    for value in two:
        b.record(value)
        both.record(value)
    a.merge(Histogram.from_json(json.loads(json.dumps(b.as_json()))))
    assert (a.counts, a.count, a.most) == (both.counts, both.count, both.most)


async def asked_plainly(server: DelayServer, until: asyncio.Event) -> list[float]:
    """One request after the other on one connection: how long each took, seconds."""
    took: list[float] = []
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    while not until.is_set():
        began = time.monotonic()
        writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        await reader.readexactly(int(head.split(b"Content-Length: ")[1].split(b"\r\n")[0]))
        took.append(time.monotonic() - began)
    writer.close()
    await writer.wait_closed()
    return took


async def test_latencies_are_the_servers_own_and_lateness_is_told(server: DelayServer) -> None:
    plan, ended = LoadPlan({"legacy": Request(server.url + "/")}, seconds=4), asyncio.Event()
    async with asyncio.TaskGroup() as group:
        plainly = group.create_task(asked_plainly(server, ended))
        found = whole(await all_of(LoadRun(plan, poisson(400, 1))))
        ended.set()
    assert found.errors == {}
    assert found.statuses["200"] == found.sent > 1400
    assert found.late.count == found.sent
    seen = found.latency.quantile(0.5)
    assert seen is not None
    assert server.quantile(0.5) * 0.95 < seen < 1.25 * median(plainly.result()), (
        "above by what a busy machine adds to anyone, never below"
    )


def test_instants_are_finer_than_the_whole_milliseconds_of_a_loops_own_clock(tmp_path: Path) -> None:
    answered: list[Exchange] = []

    async def ask() -> None:
        all_there = asyncio.Event()

        def take(_: SideName, exchange: Exchange) -> None:
            answered.append(exchange)
            if len(answered) == 20:
                all_there.set()

        async with delay_server(tmp_path) as server:
            wire = Wire(Request(server.url + "/now"))
            side = Side("legacy", wire, timeout=5, connections=20, stream=False, answered=take)
            await side.warm(1)
            for index in range(20):
                side.send(index, time.monotonic(), wire.bytes_of(None, None, None), keep=False)
            async with asyncio.timeout(10):
                await all_there.wait()
            await side.close()

    uvloop.run(ask())  # what the command runs on
    assert any(abs(instant * 1000 - round(instant * 1000)) > 1e-3 for one in answered for instant in (one.sent, one.done))


async def test_a_pace_wakes_at_its_instant_and_never_before_however_often_it_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    for is_missing in (False, True):  # as on a system without such timers
        if is_missing:
            monkeypatch.setattr(pace, "_timerfd", lambda: None)
        waker = Pace()
        for seconds in (0.0, 0.0007, 0.02, -1.0):
            began = time.monotonic()
            async with asyncio.timeout(5):
                await waker.wait(seconds)
            assert time.monotonic() - began >= max(pace.LEAST, seconds) - 1e-4
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await waker.wait(60)
        async with asyncio.timeout(5):
            await waker.wait(0.001)  # what was asked for before is forgotten
        waker.close()


async def test_what_is_due_leaves_also_while_nobody_answers(server: DelayServer) -> None:
    """A closed loop would have sent as many as it has connections and then waited: coordinated omission."""
    plan = LoadPlan({"legacy": Request(server.url + "/hang")}, seconds=1, timeout=2.0)
    found = whole(await all_of(LoadRun(plan, constant(200))))
    assert found.sent == 200
    assert found.errors == {"timeout": 200}


async def test_both_sides_get_the_same_requests_and_their_answers_are_held_together(server: DelayServer, tmp_path: Path) -> None:
    async with delay_server(tmp_path, seed=2, name="target") as other:
        plan = LoadPlan(
            {"legacy": Request(server.url + "/now"), "target": Request(other.url + "/now")},
            seconds=1, compared=1e9, sameness=Sameness(ignore=frozenset({"id"})),
        )  # fmt: skip
        run = LoadRun(plan, constant(100))
        done = await all_of(run)
        assert whole(done).sent == whole(done, "target").sent == 100
        assert run.answers.differed == 100, "each names its side"
        assert run.answers.examples[0].endswith("side: differs from character 0: …legacy… on legacy, …target… on target")
        same = LoadRun(
            LoadPlan(plan.requests, seconds=1, compared=1e9, sameness=Sameness(ignore=frozenset({"id", "side"}))), constant(100)
        )
        await all_of(same)
        assert (same.answers.agreed, same.answers.differed) == (100, 0)


async def test_a_stream_tells_its_first_token_and_the_time_between(server: DelayServer) -> None:
    plan = LoadPlan({"legacy": Request(server.url + "/stream?n=8", "POST", body=b"{}")}, seconds=1, stream=True)
    found = whole(await all_of(LoadRun(plan, constant(20))))
    assert found.tokens == 20 * 8
    first, between = found.first_token.quantile(0.5), found.between_tokens.quantile(0.5)
    assert first is not None
    assert between is not None
    assert first >= 0.05
    assert between >= 0.008


async def test_statuses_that_are_no_success_are_errors(server: DelayServer) -> None:
    plan = LoadPlan({"legacy": Request(server.url + "/status/503")}, seconds=0.5)
    found = whole(await all_of(LoadRun(plan, constant(40))))
    assert (found.statuses["503"], found.errors["status 5xx"], found.latency.count) == (20, 20, 0)


async def test_a_side_that_is_not_there_is_told_before_anything_is_sent() -> None:
    plan = LoadPlan({"legacy": Request(f"http://127.0.0.1:{free_ports(1)[0]}/")}, seconds=1)
    with pytest.raises(CouldNot, match="legacy cannot be loaded"):
        await all_of(LoadRun(plan, constant(10)))


async def test_a_count_and_a_time_bound_a_run(server: DelayServer) -> None:
    request = {"legacy": Request(server.url + "/now")}
    counted = whole(await all_of(LoadRun(LoadPlan(request, seconds=60, count=30), constant(500))))  # type: ignore[arg-type]
    assert counted.sent == 30
    timed = whole(await all_of(LoadRun(LoadPlan(request, seconds=0.5), constant(100))))  # type: ignore[arg-type]
    assert timed.sent == 50


def test_poisson_arrivals_have_the_rate_and_the_spread_of_poisson() -> None:
    schedule = poisson(100, 7)
    gaps, before = [], 0.0
    for _ in range(20_000):
        at = next(schedule).at
        gaps.append(at - before)
        before = at
    mean = sum(gaps) / len(gaps)
    spread = math.sqrt(sum((g - mean) ** 2 for g in gaps) / len(gaps))
    assert mean == pytest.approx(0.01, rel=0.03)
    assert spread == pytest.approx(mean, rel=0.05)


def test_recorded_traffic_keeps_its_timing(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    log.write_text(
        '1.2.3.4 - - [10/Oct/2026:13:55:36 -0700] "GET /a HTTP/1.1" 200 5 "-" "x"\n\n'
        '1.2.3.4 - - [10/Oct/2026:13:55:39 -0700] "POST /b?c=d HTTP/1.1" 200 5\n'
    )
    assert [(p.at, p.method, p.path) for p in recorded(log)] == [(0, "GET", "/a"), (3, "POST", "/b?c=d")]
    lines = tmp_path / "traffic.jsonl"
    lines.write_text(
        '{"at": 10.5, "path": "/x"}\n{"time": "1970-01-01T00:00:12.5+00:00", "path": "/y", "method": "POST", "body": {"a": 1}}\n'
    )
    assert [(p.at, p.method, p.path, p.body) for p in recorded(lines, speed=2)] == [
        (0, "GET", "/x", None),
        (1, "POST", "/y", b'{"a":1}'),
    ]


@pytest.mark.parametrize(
    "line",
    [
        "rubbish",
        '{"at": "x", "path": "/"}',
        '{"at": 1, "path": "/a b"}',
        '{"at": 1, "path": "/a\\r\\nX: y"}',
        '{"at": true, "path": "/"}',
        "{",
    ],
)
def test_a_line_that_is_no_request_is_named(tmp_path: Path, line: str) -> None:
    log = tmp_path / "log"
    log.write_text(f'{{"at": 0, "path": "/"}}\n{line}\n')
    with pytest.raises(UsageError) as caught:
        list(recorded(log))
    assert caught.value.where == f"{log}:2"


@pytest.mark.parametrize("header", [("X", "a\r\nEvil: 1"), ("X: y", "1"), ("é", "1")])
def test_a_header_cannot_bring_another(header: tuple[str, str]) -> None:
    with pytest.raises(UsageError):
        Wire(Request("http://h/", headers=(header,)))


SAID = [
    (200, b"a", 200, b"a", None),
    (200, b"a", 500, b"a", "status 200 on legacy, 500 on target"),
    (200, b'{"a":1,"b":[1,2]}', 200, b'{"b":[1,2],"a":1}', None),
    (200, b'{"a":{"b":1}}', 200, b'{"a":{"b":2}}', "a.b: 1 on legacy, 2 on target"),
    (200, b'{"a":1}', 200, b"{}", "a only on legacy"),
    (200, b"[1]", 200, b"[1,2]", "the answer: 1 entries on legacy, 2 on target"),
    (200, b'{"a":true}', 200, b'{"a":1}', "a: True on legacy, 1 on target"),
    (
        200,
        b"hello world",
        200,
        b"hello there",
        "the answer: differs from character 6: …hello world… on legacy, …hello there… on target",
    ),
]


@pytest.mark.parametrize(("old_status", "old", "new_status", "new", "wanted"), SAID)
def test_how_answers_differ_is_said(old_status: int, old: bytes, new_status: int, new: bytes, wanted: str | None) -> None:
    assert difference(old_status, old, new_status, new, Sameness()) == wanted


def test_a_model_that_samples_is_compared_by_likeness() -> None:
    old, new = b'{"text":"the quick brown fox jumps"}', b'{"text":"the quick brown fox leaps"}'
    assert difference(200, old, 200, new, Sameness(text=0.8)) is None
    assert difference(200, old, 200, b'{"text":"nothing alike"}', Sameness(text=0.8)) is not None
    assert difference(200, b"[1.0]", 200, b"[1.001]", Sameness(number=0.01)) is None


async def fed(pieces: list[bytes], *, ends: bool = False) -> Exchange:
    """What a connection makes of an answer that comes in these pieces."""
    done: list[Exchange] = []
    loop = asyncio.get_running_loop()

    class Nowhere(asyncio.Transport):
        def write(self, data: object) -> None: ...
        def close(self) -> None: ...
        def abort(self) -> None: ...

    connection = Connection(lambda _, exchange: done.append(exchange), lambda _: None, loop.time)
    connection.connection_made(Nowhere())
    exchange = Exchange(0, loop.time(), keep=True, stream=False)
    connection.send(exchange, b"GET / HTTP/1.1\r\n\r\n")
    for piece in pieces:
        connection.data_received(piece)
    if ends:
        connection.connection_lost(None)
    return done[0] if done else exchange


@given(st.binary(max_size=300), st.integers(1, 60), st.randoms(use_true_random=False))
async def test_an_answer_is_the_same_however_it_is_cut(body: bytes, size: int, chance: random.Random) -> None:
    chunks = b"".join(b"%x;ext=1\r\n%b\r\n" % (len(body[i : i + size]), body[i : i + size]) for i in range(0, len(body), size))
    heads = {
        b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % len(body): body,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n": chunks + b"0\r\n\r\n",
    }
    for head, rest in heads.items():
        sent, pieces = head + rest, []
        while sent:
            cut = chance.randint(1, len(sent))
            pieces.append(sent[:cut])
            sent = sent[cut:]
        exchange = await fed(pieces)
        assert (exchange.error, exchange.status, bytes(exchange.body)) == ("", 200, body)


@pytest.mark.parametrize(
    ("answer", "error"),
    [(b"SSH-2.0-x\r\n\r\n", "not HTTP"), (b"HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n", "not HTTP"), (b"x" * 70_000, "a head without an end"),
     (b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n", "a broken chunk")],
)  # fmt: skip
async def test_what_is_no_answer_is_an_error_by_name(answer: bytes, error: str) -> None:
    assert (await fed([answer])).error == error


async def test_an_answer_that_ends_too_soon_is_lost_and_one_without_a_length_is_whole() -> None:
    assert (await fed([b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nabc"], ends=True)).error == "connection lost"
    exchange = await fed([b"HTTP/1.1 200 OK\r\n\r\nabc"], ends=True)
    assert (exchange.error, bytes(exchange.body)) == ("", b"abc")


def test_slices_on_disk_are_gone_on_with_and_a_torn_line_is_left(tmp_path: Path) -> None:
    kept = Kept(tmp_path / "load.jsonl", {"rate": 1}, 10.0)
    assert kept.open(resume=False).last_at is None
    one = Slice(sent=3)
    one.latency.record(0.25)
    kept.add(SliceDone(0.0, {"legacy": one}))
    kept.close()
    with kept.path.open("ab") as file:
        file.write(b'{"at": 10.0, "sides": {"leg')
    course = kept.open(resume=True)
    kept.close()
    assert (course.last_at, course.whole["legacy"].sent, course.whole["legacy"].latency.count) == (0.0, 3, 1)
    with pytest.raises(CouldNot, match="something else"):
        Kept(kept.path, {"rate": 2}, 10.0).open(resume=True)
    with pytest.raises(CouldNot, match="no run"):
        Kept(tmp_path / "absent", {}, 10.0).open(resume=True)


DAY = range(0, 86400, 100)  # each of them ten seconds long: a tenth of the day tells as much


def slices_of(chance: random.Random) -> dict[str, Slice]:
    """Ten seconds of both sides: latencies in 12 places of thousands."""
    sides = {side: Slice(sent=1000) for side in ("legacy", "target")}
    for one in sides.values():
        for _ in range(12):
            one.latency.record(chance.lognormvariate(-3, 0.5))
    return sides


def test_a_day_of_load_takes_no_more_memory_than_its_first_hour(tmp_path: Path) -> None:
    chance, course = random.Random(1), Course()
    made = [slices_of(chance) for _ in range(16)]
    kept = Kept(tmp_path / "load.jsonl", {}, 10.0)
    kept.open(resume=False)
    tracemalloc.start()
    try:
        held = {}
        for at in DAY:
            done = SliceDone(at, made[at // 100 % 16])  # type: ignore[arg-type]
            course.add(done)
            if at % 1200 == 0:  # each is synced to the disk
                kept.add(done)
            if at in (3600, DAY[-1]):
                held[at] = tracemalloc.get_traced_memory()[0]
        kept.close()
        written = kept.path.read_bytes().split(b"\n", 1)[1]
        with kept.path.open("ab") as file:
            file.write(written * 3)
        before = tracemalloc.get_traced_memory()[0]
        tracemalloc.reset_peak()
        again = Kept(kept.path, {}, 10.0)
        last_at = again.open(resume=True).last_at
        again.close()
        peak = tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()
    assert held[DAY[-1]] - held[3600] < 1000 * len(DAY), "in brief: under a kilobyte a slice"
    assert peak < 1000 * 4 * len(DAY[::12]) + 50_000, "in brief there too: whole slices take ten times that"
    assert course.whole["target"].sent == 1000 * len(DAY)
    assert (len(course.slices), last_at) == (len(DAY), DAY[-1] - DAY[-1] % 1200)


def test_answers_that_wait_for_a_side_that_never_comes_are_bounded() -> None:
    answers = Answers(Sameness())
    for index in range(3 * MOST_WAITING):
        answers.take("legacy", Exchange(index, 0.0, keep=True, stream=False))
    assert len(answers._waiting) == MOST_WAITING


def test_a_run_that_goes_on_does_not_walk_through_what_is_done() -> None:
    late = 23 * 3600.0
    first = next(poisson(5000, 1, since=late))
    assert late < first.at < late + 0.01
    assert next(constant(3, since=late + 0.1)).at == pytest.approx(late + 1 / 3)
    gaps = [planned.at for planned in itertools.islice(poisson(100, 7, since=late), 2000)]
    assert 15 < gaps[-1] - late < 25


def plan_of(tmp_path: Path, legacy: DelayServer, target: DelayServer, path: str = "/now") -> Path:
    plan = {
        "version": 1,
        "name": "loaded",
        "simulation": True,
        "legacy": {"provider": "old"},
        "target": {"provider": "new"},
        "workloads": [
            {
                "name": "chat",
                "class": "realtime",
                "load": {"legacy": legacy.url + path, "target": target.url + path, "ignore": ["id", "side"]},
            }
        ],
    }
    file = tmp_path / "plan.yaml"
    file.write_text(json.dumps(plan))
    return file


async def test_the_command_loads_both_sides_of_a_plan(server: DelayServer, tmp_path: Path) -> None:
    async with delay_server(tmp_path, seed=2, name="target") as other:
        plan = plan_of(tmp_path, server, other)
        argv = [*PROGRAM, str(plan), "--rate", "50", "--for", "1s", "--constant", "--json", "--state", str(tmp_path / "state")]
        process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
        out, _ = await process.communicate()
        found = json.loads(out)
        assert (process.returncode, found["ok"], found["workload"]) == (0, True, "chat")
        assert {name: side["sent"] for name, side in found["sides"].items()} == {"legacy": 50, "target": 50}
        answers = found["answers"]
        assert (answers["differed"], answers["examples"]) == (0, [])
        assert answers["compared"] == answers["agreed"] >= 49
        assert found["sides"]["target"]["lateness"]["p99"] is not None


async def test_an_interrupted_load_goes_on_from_where_it_was(server: DelayServer, tmp_path: Path) -> None:
    plan = plan_of(tmp_path, server, server)
    state = tmp_path / "state"
    argv = [*PROGRAM, str(plan), "--rate", "20", "--for", "5s", "--json", "--state", str(state)]
    process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.PIPE)
    async with asyncio.timeout(60):
        while not (state / "load-chat.jsonl").exists() or len((state / "load-chat.jsonl").read_bytes().splitlines()) < 2:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
    process.send_signal(signal.SIGINT)
    await process.communicate()
    assert process.returncode == 130
    process = await asyncio.create_subprocess_exec(*argv, "--resume", stdout=asyncio.subprocess.PIPE)
    out, _ = await process.communicate()
    found = json.loads(out)
    assert [one["at"] for one in found["slices"]][:5] == [0.0, 1.0, 2.0, 3.0, 4.0], (
        "a sixth holds what was answered after the end"
    )
    assert found["sides"]["legacy"]["sent"] > 70, "those before the interruption count too"


async def test_an_untrusted_certificate_is_an_error(tmp_path: Path) -> None:
    context = make_certificate(tmp_path).context()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    served = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=context)
    port = served.sockets[0].getsockname()[1]
    try:
        with pytest.raises(CouldNot, match="cannot be loaded"):
            await all_of(LoadRun(LoadPlan({"legacy": Request(f"https://127.0.0.1:{port}/")}, seconds=1), constant(10)))
    finally:
        served.close()
        await served.wait_closed()
