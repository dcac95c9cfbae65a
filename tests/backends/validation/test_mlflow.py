"""MLflow's metrics, from a small server of ours that speaks its REST API."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import quote

import pytest

from backends.errors import UsageError
from backends.plan.models import Gate, Measure, Source
from backends.validation.addresses import address_of
from backends.validation.curve import Curve
from backends.validation.errors import MetricAbsent, SourceUnreadable
from backends.validation.fetch import FetchedRun, fetch_run
from backends.validation.gate import judge_gate
from backends.validation.measured import silence_of
from backends.validation.mlflow_feed import MlflowFeed
from backends.validation.web import Web
from backends.verdict import Verdict
from tests.peers.mlflow import Mlflow, mlflow
from tests.peers.scripted_http import Asked, answer, scripted_http

LOSS = [(s, 1_700_000_000_000 + s * 1000, 2.0 / (1 + s)) for s in range(10)]


async def fetch(url: str, metric: str = "loss", run: str = "abc", more: str = "") -> FetchedRun:
    address = address_of(f"mlflow+{url}?run={run}{more}")
    assert address is not None
    return await fetch_run(address, metric)


async def load(url: str, metric: str = "loss", **more: str) -> Curve:
    return (await fetch(url, metric, **more)).load("step")


async def test_a_metrics_history_is_read_page_by_page() -> None:
    async with mlflow(Mlflow({"abc": {"loss": LOSS}}, page=3)) as server:
        run = await fetch(server.url)
        assert run.load("step").points() == [(s, v) for s, _, v in LOSS]
        assert run.load("time").xs[1] == 1_700_000_001.0
        assert sum("get-history" in a for a in server.asked) == 4


async def test_odd_figures_stay_what_they_are_and_of_a_step_written_twice_the_last_counts() -> None:
    entries = [(0, 0, "NaN"), (1, 1, "Infinity"), (2, 2, 1.0), (2, 3, 2.0)]
    async with mlflow(Mlflow({"abc": {"loss": entries}})) as server:
        curve = await load(server.url)
    assert math.isnan(curve.ys[0])
    assert list(curve.ys[1:]) == [math.inf, 2.0]
    assert curve.notes == ["1 place written more than once, the last counts"]


async def test_a_metric_that_is_not_there_lists_those_that_are() -> None:
    async with mlflow(Mlflow({"abc": {"val_loss": LOSS, "acc": LOSS}})) as server:
        with pytest.raises(MetricAbsent, match="there are val_loss, acc"):
            await load(server.url, "val_los")


async def test_an_unknown_run_is_told_in_mlflows_words() -> None:
    async with mlflow(Mlflow({})) as server:
        with pytest.raises(SourceUnreadable, match="RESOURCE_DOES_NOT_EXIST"):
            await load(server.url, run="nope")


async def test_a_token_is_a_reference_and_is_shown_nowhere(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TEST_TOKEN", "very-secret")
    async with mlflow(Mlflow({"abc": {"loss": LOSS}}, token="very-secret")) as server:
        with pytest.raises(SourceUnreadable, match="access denied"):
            await load(server.url)
        run = await fetch(server.url, more="&token=${env:MLFLOW_TEST_TOKEN}")
        assert len(run.load("step")) == 10
        assert "very-secret" not in run.where
        with pytest.raises(UsageError, match="seen by all") as caught:
            await fetch(server.url, more="&token=very-secret")
    assert "very-secret" not in str(caught.value) + caught.value.where


async def test_an_answer_that_is_not_mlflows_is_an_error_never_a_crash() -> None:
    for said in (
        b"",
        b"[]",
        b'{"metrics": 3}',
        b'{"metrics": [1, {"value": {}}, {"value": "x"}]}',
        b"<html>",
        b'{"error_code": 5}',
    ):

        def script(_: Asked, said: bytes = said) -> bytes:
            return answer(200, said)

        async with scripted_http(script) as server:
            with pytest.raises((SourceUnreadable, MetricAbsent)):
                await load(server.endpoint)


async def test_a_redirect_is_not_followed_and_a_hang_is_cancelled() -> None:
    async with scripted_http(lambda _: answer(302, location="http://127.0.0.1:1/")) as server:
        with pytest.raises(SourceUnreadable, match="elsewhere"):
            await load(server.endpoint)
    asked = asyncio.Event()

    def hang(_: Asked) -> None:
        asked.set()

    async with scripted_http(hang) as server:
        task = asyncio.create_task(fetch(server.endpoint))
        await asyncio.wait_for(asked.wait(), 10)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ("mlflow+http://h:1?rum=1", "which mlflow sources do not have"),
        ("mlflow+http://h:1", "no `run`"),
        ("mlflow+http://?run=1", "no server"),
        ("mlflow+http://h:x?run=1", "no address"),
        ("mlflow+http://u:p@h:1?run=1", "a login"),
        ("prometheus+http://h:1?query=a&last=5", "unit"),
    ],
)
async def test_addresses_that_cannot_be_are_usage_errors(source: str, said: str) -> None:
    async def ask() -> None:
        address = address_of(source)
        assert address is not None
        await fetch_run(address, "x")

    with pytest.raises(UsageError, match=said):
        await ask()


def test_a_plus_in_a_query_stays_a_plus_and_percent_codes_are_undone() -> None:
    query = 'sum(rate(x{a="1&2"}[5m])) + 1'
    address = address_of("prometheus+http://h:9090/prom?query=" + query.replace("&", "%26"))
    assert address is not None
    assert address.params["query"] == query
    assert address.url == "http://h:9090/prom"
    again = address_of("prometheus+http://h?query=" + quote(query))
    assert again is not None
    assert again.params["query"] == query
    assert address_of("file:///x?query=1") is None


class Clock:
    def __init__(self, now: float) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now


NOW = 1_700_000_100.0


@asynccontextmanager
async def following(url: str, clock: Clock, **more: str) -> AsyncIterator[MlflowFeed]:
    source = Source.model_validate({"mlflow": url, "run": "abc", "value": "loss", "by": "step"} | more)
    async with Web() as web:
        yield MlflowFeed(source, web, clock=clock)


async def test_a_feed_reads_the_past_and_then_only_from_the_last_page_on() -> None:
    losses, clock = list(LOSS), Clock(NOW)
    async with mlflow(Mlflow({"abc": {"loss": losses}}, page=4)) as server, following(server.url, clock) as feed:
        await feed.poll()
        assert feed.error is None
        assert feed.series.points() == [(s, v) for s, _, v in LOSS]
        assert feed.age(NOW) == NOW - 1_700_000_009.0
        losses.append((10, 1_700_000_101_000, 0.1))
        losses += [(s, 1_700_000_101_000 + s, 0.1) for s in range(11, 15)]
        server.asked.clear()
        clock.now += 6
        await feed.poll()
        assert [x for x, _ in feed.series.points()] == list(range(15))
        assert feed.series.duplicates == 0
        assert sum("get-history" in a for a in server.asked) == 2
        assert feed.age(clock.now) == 0


async def test_a_run_that_logs_nothing_new_is_asked_for_its_latest_figures_only() -> None:
    clock = Clock(NOW)
    odd = [*LOSS, (10, 1_700_000_010_000, "NaN")]
    async with mlflow(Mlflow({"abc": {"loss": odd}})) as server, following(server.url, clock) as feed:
        await feed.poll()
        server.asked.clear()
        for _ in range(12):
            clock.now += 1
            await feed.poll()
        assert [a.split("?")[0].rsplit("/", 1)[-1] for a in server.asked] == ["get", "get"]
        assert silence_of("target", feed, NOW + 60, 30) == (Verdict.INCONCLUSIVE, "target silent 2 min")


async def test_figures_of_an_earlier_time_that_come_late_are_read_too() -> None:
    losses, clock = list(LOSS), Clock(NOW)
    async with mlflow(Mlflow({"abc": {"loss": losses}})) as server, following(server.url, clock) as feed:
        await feed.poll()
        losses.insert(3, (77, 1_700_000_002_500, 7.0))
        losses.append((10, 1_700_000_101_000, 0.1))
        clock.now += 6
        await feed.poll()
        assert feed.series.at(77) == 7.0
        assert len(feed.series.points()) == 12
        assert "anew" in str(feed.note)


async def test_a_server_that_keeps_files_gives_one_page_whatever_was_asked_for() -> None:
    losses, clock = list(LOSS), Clock(NOW)
    async with mlflow(Mlflow({"abc": {"loss": losses}}, page=2, pages=False)) as server, following(server.url, clock) as feed:
        await feed.poll()
        losses.append((10, 1_700_000_101_000, 0.1))
        clock.now += 6
        await feed.poll()
        assert feed.error is None
        assert len(feed.series.points()) == 11


async def test_a_run_without_figures_is_no_error_and_one_with_others_names_them() -> None:
    run: dict[str, list[tuple[int, int, float]]] = {}
    clock = Clock(NOW)
    async with mlflow(Mlflow({"abc": run})) as server, following(server.url, clock) as feed:
        await feed.poll()
        assert (feed.error, feed.is_caught_up, len(feed.series)) == (None, True, 0)
        run["val_loss"] = LOSS
        clock.now += 6
        await feed.poll()
        assert "`loss` is not there; there are val_loss" in str(feed.error)
        run["loss"] = LOSS
        await feed.poll()
        assert feed.error is None
        assert len(feed.series) == 10


async def test_a_server_that_is_away_is_told_and_read_on_when_it_is_back() -> None:
    losses, clock = list(LOSS), Clock(NOW)
    server = Mlflow({"abc": {"loss": losses}}, token="t0ken")
    async with mlflow(server), following(server.url, clock) as feed:
        await feed.poll()
        assert "access denied" in str(feed.error)
        server.token = None
        await feed.poll()
        assert len(feed.series) == 10
        server.token = "another"
        clock.now += 6
        losses.append((10, 1_700_000_101_000, 0.1))
        await feed.poll()
        assert "access denied" in str(feed.error)
        server.token = None
        await feed.poll()
        assert (feed.error, len(feed.series)) == (None, 11)


async def test_a_token_of_the_plan_goes_to_the_server_and_into_no_message(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TEST_TOKEN", "very-secret")
    server = Mlflow({}, token="very-secret")
    async with mlflow(server), following(server.url, Clock(NOW), token="${env:MLFLOW_TEST_TOKEN}") as feed:
        await feed.poll()
    assert "RESOURCE_DOES_NOT_EXIST" in str(feed.error)
    assert "very-secret" not in str(feed.error) + repr(feed.source)


async def test_a_loss_of_two_runs_is_judged_as_one_of_two_files_is() -> None:
    worse = [(s, at, v * 1.02) for s, at, v in LOSS]
    clock = Clock(NOW)
    async with mlflow(Mlflow({"abc": {"loss": LOSS}, "new": {"loss": worse}})) as server:
        async with following(server.url, clock) as legacy, following(server.url, clock, run="new") as target:
            await legacy.poll()
            await target.poll()
        measure = Measure(name="loss", workload="w", kind="loss", legacy=legacy.source, target=target.source)
        gate = Gate.model_validate({"measure": "loss", "at": [1, 5], "within": "0.5%"})
        found = judge_gate(gate, measure, legacy, target, now=NOW)
    assert found.verdict is Verdict.BREACH
    assert [p.delta for p in found.points] == [pytest.approx(0.02), pytest.approx(0.02)]


def errors_of(count: int, failed: float, *, apart: int = 0, share: bool = False) -> dict[str, list[tuple[int, int, float | str]]]:
    """So many steps of 1,000 requests each, `failed` of them; the two figures logged `apart` milliseconds from each other."""
    start = 1_700_000_000_000
    return {
        "errors": [(s, start + s * 1000, failed / 1000 if share else failed) for s in range(count)],
        "requests": [(s, start + s * 1000 + apart, 1000.0) for s in range(count)],
    }


@pytest.mark.parametrize(("apart", "share"), [(0, False), (7, False), (0, True)])
async def test_errors_with_their_number_of_requests_are_judged_by_exact_counts(apart: int, share: bool) -> None:
    runs = {"abc": errors_of(8, 1, apart=apart, share=share), "new": errors_of(8, 4, apart=apart, share=share)}
    clock, more = Clock(NOW), {"value": "errors", "total": "requests", "by": "time"} | ({"unit": "share"} if share else {})
    async with (
        mlflow(Mlflow(runs, page=3)) as server,
        following(server.url, clock, **more) as legacy,
        following(server.url, clock, run="new", **more) as target,
    ):
        await legacy.poll()
        await target.poll()
    assert (legacy.error, target.error) == (None, None)
    measure = Measure(name="e", workload="w", kind="error_rate", legacy=legacy.source, target=target.source)
    gate = Gate.model_validate({"measure": "e", "within": "0.1%"})
    found = judge_gate(gate, measure, legacy, target, now=1_700_000_009.0)
    assert found.reason == "32 of 8000 requests failed, 0.1 % allowed"
    assert found.verdict is Verdict.BREACH


async def test_requests_that_come_in_later_are_counted_once() -> None:
    run, clock = errors_of(3, 2), Clock(NOW)
    async with (
        mlflow(Mlflow({"abc": run}, page=2)) as server,
        following(server.url, clock, value="errors", total="requests", by="time") as feed,
    ):
        await feed.poll()
        assert len(feed.series) == 3000
        run["errors"].append((3, 1_700_000_101_000, 5.0))
        clock.now += 6
        await feed.poll()
        assert len(feed.series) == 3000
        run["requests"].append((3, 1_700_000_101_009, 1000.0))
        clock.now += 6
        await feed.poll()
    assert len(feed.series) == 4000
    assert sum(feed.series.window(0, float("inf"))) == 11


async def test_of_a_step_that_was_logged_twice_only_figures_of_one_instant_belong_together() -> None:
    run = errors_of(2, 1)
    run["errors"] += [(0, 1_700_000_050_000, 3.0)]
    run["requests"] += [(0, 1_700_000_050_000, 1000.0), (0, 1_700_000_060_000, 500.0)]
    async with mlflow(Mlflow({"abc": run})) as server:
        found = await fetch(server.url, "errors", more="&total=requests")
    curve = found.load("time", every=True)
    assert (len(curve), sum(curve.ys)) == (3000, 5.0)


async def test_a_total_that_is_not_there_lists_the_metrics_that_are() -> None:
    async with mlflow(Mlflow({"abc": errors_of(2, 1)})) as server:
        with pytest.raises(MetricAbsent, match="`request` is not there; there are requests, errors"):
            await fetch(server.url, "errors", more="&total=request")
        async with following(server.url, Clock(NOW), value="errors", total="request") as feed:
            await feed.poll()
    assert "`request` is not there" in str(feed.error)
