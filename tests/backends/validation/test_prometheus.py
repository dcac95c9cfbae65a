"""Figures of a real Prometheus (Debian's), with a history that promtool writes; the clock is the test's."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client import Counter as CollectorCounter

from backends.plan.models import Measure, Source, Trigger
from backends.validation.addresses import address_of
from backends.validation.errors import MetricAbsent, MetricAmbiguous, SourceUnreadable
from backends.validation.fetch import FetchedRun, fetch_run
from backends.validation.measured import silence_of
from backends.validation.prometheus import grid, metrics_of
from backends.validation.prometheus_feed import MOST_AT_FIRST, Counters, PrometheusFeed
from backends.validation.trigger import judge_trigger
from backends.validation.web import Web
from backends.verdict import Verdict
from tests.peers.process import free_ports
from tests.peers.prometheus import prometheus, prometheus_missing
from tests.peers.scripted_http import Asked, answer, scripted_http

pytestmark = pytest.mark.skipif(prometheus_missing(), reason="prometheus or promtool is absent")
BEGAN = 1_790_000_000 // 15 * 15
MINUTES = 30


def history() -> str:
    """Half an hour of a chat service, scraped every 15 s: requests rise by 150 a scrape; from the middle on 3 of them fail."""
    lines = ["# TYPE http_requests counter"]
    for i in range(MINUTES * 4):
        lines.append(f"http_requests_total {150 * i} {BEGAN + 15 * i}")
    lines.append("# TYPE http_failures counter")
    half = MINUTES * 2
    lines += [f"http_failures_total {3 * (i - half)} {BEGAN + 15 * i}" for i in range(half, MINUTES * 4)]
    lines.append("# TYPE latency_seconds gauge")
    for i in range(MINUTES * 4):
        lines.append(f'latency_seconds{{quantile="0.99",side="legacy"}} {0.05 + i % 3 / 1000} {BEGAN + 15 * i}')
        lines.append(f'latency_seconds{{quantile="0.99",side="target"}} {0.08 + i % 3 / 1000} {BEGAN + 15 * i}')
    lines += ["# TYPE odd gauge", f"odd NaN {BEGAN}", f"odd +Inf {BEGAN + 15}", "# EOF", ""]
    return "\n".join(lines)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """One server for all tests, in an event loop of its own."""
    loop = asyncio.new_event_loop()
    made = prometheus(tmp_path_factory.mktemp("prometheus"), history())
    try:
        yield loop.run_until_complete(made.__aenter__())
        loop.run_until_complete(made.__aexit__(None, None, None))
    finally:
        loop.close()


async def fetch(served: str, query: str, more: str = f"&start={BEGAN}&end={BEGAN + 60}") -> FetchedRun:
    address = address_of(f"prometheus+{served}?query={query}{more}")
    assert address is not None
    return await fetch_run(address, "latency")


async def test_a_range_is_read_on_the_grid(served: str) -> None:
    run = await fetch(served, 'latency_seconds{side="legacy"} * 1000')
    assert run.axes == ("time",)
    assert run.load("time").points() == [(BEGAN + 15 * i, pytest.approx(50 + i % 3)) for i in range(5)]


async def test_more_points_than_prometheus_gives_at_once_are_asked_for_in_parts(served: str) -> None:
    run = await fetch(served, "http_requests_total", f"&start={BEGAN}&end={BEGAN + 1700}&step=100ms")
    assert len(run.load("time")) == 17_001


async def test_two_counters_are_so_many_requests_of_which_so_many_failed(served: str) -> None:
    half = BEGAN + 15 * MINUTES * 2
    run = await fetch(served, "http_failures_total", f"&total=http_requests_total&start={half}&end={half + 150}")
    curve = run.load("time", every=True)
    assert (len(curve), sum(curve.ys)) == (1500, 30.0)
    with pytest.raises(MetricAbsent, match="`http_request_total` is not there"):
        await fetch(served, "http_failures_total", f"&total=http_request_total&start={half}&end={half + 150}")
    with pytest.raises(SourceUnreadable, match="no request is told"):
        await fetch(served, "http_failures_total", f"&total=http_requests_total&start={half}&end={half}")


async def test_nan_and_infinity_stay_what_they_are(served: str) -> None:
    ys = (await fetch(served, "odd", f"&start={BEGAN}&end={BEGAN + 15}")).load("time").ys
    assert math.isnan(ys[0])
    assert ys[1] == math.inf


async def test_several_series_are_named_never_mixed(served: str) -> None:
    with pytest.raises(MetricAmbiguous, match=r"gives 2 series: latency_seconds\{quantile=0.99, side=legacy\}"):
        await fetch(served, "latency_seconds")


async def test_a_metric_that_is_not_there_lists_those_that_are(served: str) -> None:
    with pytest.raises(MetricAbsent, match="`http_request_total` is not there; there are http_requests_total") as caught:
        await fetch(served, "sum(rate(http_request_total[1m]))")
    assert caught.value.hint == "did you mean http_requests_total?"
    with pytest.raises(MetricAbsent, match="gives nothing in this time"):
        await fetch(served, 'http_requests_total{code="500"}')


async def test_a_refused_query_is_told_in_prometheus_own_words(served: str) -> None:
    with pytest.raises(SourceUnreadable, match="parse error"):
        await fetch(served, "sum(")


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


@asynccontextmanager
async def following(source: Source, clock: Clock, wall: Clock | None = None) -> AsyncIterator[PrometheusFeed]:
    async with Web() as web:
        yield PrometheusFeed(source, web, clock=clock, wall=wall)


async def test_a_feed_reads_its_past_at_once_and_then_what_is_new(served: str) -> None:
    clock = Clock(BEGAN + 62)
    async with following(Source(prometheus=served, query='latency_seconds{side="legacy"}', unit="s"), clock) as feed:
        await feed.poll()
        assert feed.error is None
        assert [x for x, _ in feed.series.points()] == [BEGAN + 15 * i for i in range(5)]
        assert feed.series.points()[0][1] == 50.0
        clock.now += 20
        await feed.poll()
        await feed.poll()
        assert len(feed.series) == 6
        assert feed.age(clock.now) == 0


async def test_after_a_jump_of_our_wall_clock_the_server_is_asked_what_time_it_is(served: str) -> None:
    """cutover.md, section 7: we began an hour ahead of everybody, and were put right."""
    began = time.time() + 3600.0
    clock, wall = Clock(began), Clock(began)
    async with following(Source(prometheus=served, query="time()", every="1s"), clock, wall) as feed:
        await feed.poll()
        clock.now, wall.now = began + 5, began + 5 - 3600.0
        await feed.poll()
        assert feed.error is None
        clock.now, wall.now = began + 8, began + 8 - 3600.0
        await feed.poll()
        newest = feed.series.newest()
    assert newest is not None
    assert newest.value == pytest.approx(time.time(), abs=30), "an instant of the server's"
    assert newest.time == pytest.approx(clock.now, abs=30), "at its time by ours"


async def test_counters_become_requests_of_which_some_failed(served: str) -> None:
    clock = Clock(BEGAN + MINUTES * 60 - 10)
    source = Source(prometheus=served, query="sum(http_failures_total)", total="sum(http_requests_total)", every="15s")
    async with following(source, clock) as feed:
        await feed.poll()
        early = feed.series.window(BEGAN, BEGAN + MINUTES * 30)
        late = feed.series.window(BEGAN + MINUTES * 30, math.inf)
    assert (len(early), sum(early)) == (150 * MINUTES * 2, 0)
    assert (len(late), sum(late)) == (150 * (MINUTES * 2 - 1), 3 * (MINUTES * 2 - 1))


async def test_an_error_rate_of_counters_is_judged_as_requests_are(served: str) -> None:
    now = BEGAN + MINUTES * 60.0 - 10
    source = Source(prometheus=served, query="sum(http_failures_total)", total="sum(http_requests_total)", every="15s")
    calm = Source(prometheus=served, query="sum(http_failures_total) * 0", total="sum(http_requests_total)", every="15s")
    measure = Measure(name="errors", workload="chat", kind="error_rate", legacy=calm, target=source)
    trigger = Trigger(measure="errors", above="0.1%", action="rollback")
    async with following(source, Clock(now)) as target, following(calm, Clock(now)) as legacy:
        await target.poll()
        await legacy.poll()
        found = judge_trigger(trigger, measure, legacy, target, windows=(120, 600), since=now - 700, now=now, exposed=True)
        before = now - 60 * MINUTES / 2
        healthy = judge_trigger(trigger, measure, legacy, legacy, windows=(120, 600), since=before, now=now, exposed=True)
    assert found.verdict is Verdict.BREACH
    assert "requests failed (2 %)" in found.reason
    assert healthy.verdict is Verdict.PASS


async def test_latencies_of_a_query_are_levels_and_the_absolute_limit_holds(served: str) -> None:
    now = BEGAN + MINUTES * 60.0 - 10
    sides = [Source(prometheus=served, query=f'latency_seconds{{side="{s}"}}', unit="s") for s in ("legacy", "target")]
    measure = Measure(name="p99", workload="chat", kind="latency", legacy=sides[0], target=sides[1])
    trigger = Trigger(measure="p99", worse_by="25%", action="rollback")
    async with following(sides[0], Clock(now)) as legacy, following(sides[1], Clock(now)) as target:
        await legacy.poll()
        await target.poll()
        ask = {"windows": (120.0, 600.0), "since": now - 700, "now": now, "exposed": True}
        found = judge_trigger(trigger, measure, legacy, target, absolute=100.0, **ask)  # type: ignore[arg-type]
        strict = judge_trigger(trigger.model_copy(update={"worse_by": 1.0}), measure, legacy, target, absolute=60.0, **ask)  # type: ignore[arg-type]
    assert found.verdict is Verdict.BREACH
    assert "81, legacy now 51: +58.8 %" in found.reason
    assert strict.verdict is Verdict.BREACH
    assert "60 allowed" in strict.reason


async def test_a_query_that_finds_nothing_is_no_error_and_says_what_may_be_wrong(served: str) -> None:
    async with following(Source(prometheus=served, query="http_request_total"), Clock(BEGAN + 600)) as feed:
        await feed.poll()
        assert feed.error is None
        assert "did you mean http_requests_total?" in str(feed.note)


async def test_a_server_that_comes_later_is_told_and_then_read(tmp_path: Path) -> None:
    (port,) = free_ports(1)
    async with following(Source(prometheus=f"http://127.0.0.1:{port}", query="up"), Clock(BEGAN)) as feed:
        await feed.poll()
        assert "Connect" in str(feed.error)
        assert feed.age(BEGAN) is None


@pytest.mark.parametrize(
    "said",
    [
        "",
        "{}",
        '{"status":"success"}',
        '{"status":"success","data":{"resultType":"matrix","result":5}}',
        '{"status":"error","error":["\\u001b"]}',
    ],
)
async def test_an_answer_that_is_not_prometheus_is_an_error_never_a_crash(said: str) -> None:
    async with scripted_http(lambda _: answer(200, said)) as server:
        async with following(Source(prometheus=server.endpoint, query="up"), Clock(BEGAN)) as feed:
            await feed.poll()
        assert feed.error is not None
        assert "\x1b" not in feed.error


async def test_the_token_goes_to_the_server_and_into_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROM_TEST_TOKEN", "very-secret")
    source = Source(prometheus="", query="up", token="${env:PROM_TEST_TOKEN}")

    def script(asked: Asked) -> bytes:
        return answer(
            200 if asked.headers.get("authorization") == "Bearer very-secret" else 401, '{"status":"error","error":"seen"}'
        )

    async with scripted_http(script) as server:
        async with following(source.model_copy(update={"prometheus": server.endpoint}), Clock(BEGAN)) as feed:
            await feed.poll()
        assert "seen" in str(feed.error)
        assert "very-secret" not in str(feed.error) + repr(source)


@pytest.mark.slow
async def test_a_server_that_scrapes_a_living_service_is_followed_and_silence_is_seen(tmp_path: Path) -> None:
    """Nothing is faked here: a service counts requests, Prometheus scrapes it each second, the feed follows; then the service dies."""
    registry = CollectorRegistry()
    counted = CollectorCounter("served", "Requests.", ["code"], registry=registry)

    async def page(_: web.Request) -> web.Response:
        counted.labels("200").inc(97)
        counted.labels("500").inc(3)
        return web.Response(body=generate_latest(registry))

    app = web.Application()
    app.router.add_get("/metrics", page)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    source_of = {"query": 'sum(served_total{code="500"})', "total": "sum(served_total)", "every": "1s"}
    try:
        async with (
            prometheus(tmp_path / "prometheus", scrape=[runner.addresses[0][1]]) as url,
            following(Source.model_validate({"prometheus": url, **source_of}), time.time) as feed,  # type: ignore[arg-type]
        ):
            async with asyncio.timeout(60):
                while len(feed.series) < 500:
                    await feed.poll()
                    await asyncio.sleep(0.25)  # between two looks, not instead of one
            values = feed.series.window(0, math.inf)
            assert sum(values) / len(values) == pytest.approx(0.03)
            await runner.cleanup()
            async with asyncio.timeout(60):
                while (feed.age(time.time()) or 0.0) < 6:
                    await feed.poll()
                    await asyncio.sleep(0.25)
            assert feed.error is None
            assert silence_of("target", feed, time.time(), 5.0) is not None
    finally:
        await runner.cleanup()


COUNTS = st.lists(st.tuples(st.integers(0, 400), st.integers(0, 400)), min_size=1, max_size=30)


@given(COUNTS)
def test_counters_give_as_many_requests_and_failures_as_they_grew_by(grown: list[tuple[int, int]]) -> None:
    failed, total, errors, requests = [(0.0, 0.0)], [(0.0, 0.0)], 0, 0
    for i, (bad, good) in enumerate(grown, 1):
        errors, requests = errors + bad, requests + bad + good
        failed.append((float(i), float(errors)))
        total.append((float(i), float(requests)))
    samples = Counters().take(failed, total)
    assert sum(s.value for s in samples) == errors
    assert len(samples) == requests
    assert all(0 < s.time <= len(grown) for s in samples)


def test_a_counter_that_fell_leaves_its_interval_out_and_failures_start_at_nothing() -> None:
    counters = Counters()
    samples = counters.take([(2.0, 5.0)], [(0.0, 100.0), (1.0, 200.0), (2.0, 300.0), (3.0, 10.0), (4.0, 20.0)])
    assert (len(samples), sum(s.value for s in samples)) == (210, 5)
    assert counters.left_out == 1


def test_of_a_long_past_only_so_much_is_read() -> None:
    total = [(float(i), 1000.0 * i) for i in range(1000)]
    assert len(Counters().take([], total)) <= MOST_AT_FIRST


@pytest.mark.parametrize(
    ("query", "names"),
    [
        ('sum by (job) (rate(a_total{b="c d"}[5m])) / ignoring(x) on_b', ["a_total", "on_b"]),
        ("histogram_quantile(0.99, sum(rate(x_bucket[5m])) by (le)) * 1e3", ["x_bucket"]),
        ("a offset 5m > bool 2 or b", ["a", "b"]),
    ],
)
def test_the_metrics_of_a_query_are_found(query: str, names: list[str]) -> None:
    assert metrics_of(query) == names


@given(st.integers(0, 10**10), st.sampled_from([0.1, 1.0, 5.0, 15.0, 60.0]))
def test_instants_of_the_grid_stay_where_they_are(n: int, step: float) -> None:
    instant = grid(float(n), step)
    assert instant <= n + 1e-6
    assert grid(instant, step) == pytest.approx(instant)
