"""Notifications against a real small HTTP server that fails, delays and hangs."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from backends.cutover.events import Event, Kind
from backends.engine import notify
from backends.engine.notify import QUEUE, Notifier, mrkdwn, topic_of
from backends.plan.models import Plan
from tests.backends.cutover.model_world import plan_of
from tests.peers.scripted_http import Asked, answer, scripted_http

SECRET = "T0123/B4567/xyzzy-hunter2"


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only time is made short."""
    monkeypatch.setattr(notify, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(notify, "LONGEST_PAUSE", 0.05)
    monkeypatch.setattr(notify, "REFILL", 0.05)


def held(seq: int, reason: str = "a look") -> Event:
    return Event(seq, datetime(2026, 3, 14, tzinfo=UTC), "ann", Kind.HELD, {"by": "ann", "reason": reason})


def plan(endpoint: str, **more: Any) -> Plan:
    return plan_of(notify=[{"webhook": f"{endpoint}/services/${{env:HOOK}}", "kind": "json"} | more])


@contextlib.asynccontextmanager
async def running(notifier: Notifier) -> AsyncIterator[Notifier]:
    task = asyncio.get_running_loop().create_task(notifier.run())
    try:
        yield notifier
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not holds():  # noqa: ASYNC110 - nothing else tells
            await asyncio.sleep(0.01)


@pytest.fixture
def hook(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("HOOK", SECRET)
    return SECRET


async def test_what_matters_is_posted_and_the_rest_is_not(tmp_path: Path, hook: str) -> None:
    async with scripted_http(lambda asked: answer(200)) as server:
        async with running(Notifier(plan(server.endpoint), tmp_path, tmp_path)) as notifier:
            notifier.note(Event(1, datetime.now(UTC), "engine", Kind.TICK, {}))
            notifier.note(held(2))
            await until(lambda: notifier.hooks[0].delivered == 2)
        [asked] = server.asked
        assert asked.target == f"/services/{SECRET}"
        body = json.loads(asked.body)
        assert (body["id"], body["migration"]) == ("model-2", "model")
        assert [(e["seq"], e["topic"], e["text"]) for e in body["events"]] == [(2, "hold", "held by ann: a look")]


async def test_a_receiver_that_fails_is_asked_again_until_it_takes_it(tmp_path: Path, hook: str) -> None:
    answers = iter([answer(500), answer(429, retry_after="0.02"), answer(302, location="http://127.0.0.1:1/"), answer(200)])
    async with scripted_http(lambda asked: next(answers)) as server:
        async with running(Notifier(plan(server.endpoint), tmp_path, tmp_path)) as notifier:
            notifier.note(held(1))
            await until(lambda: notifier.hooks[0].delivered == 1)
            assert (notifier.failed, notifier.errors()) == (3, ())
        assert len({asked.body for asked in server.asked}) == 1, "the same message"


async def test_a_receiver_that_hangs_keeps_nobody_waiting(tmp_path: Path, hook: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(notify, "ANSWER", 0.1)
    async with (
        scripted_http(lambda asked: None) as server,
        running(Notifier(plan(server.endpoint), tmp_path, tmp_path)) as notifier,
    ):
        for seq in range(1, 3 * QUEUE):
            notifier.note(held(seq))  # returns at once, whatever the receiver does
        await until(lambda: notifier.failed >= 1)
        assert len(notifier.hooks[0].waiting) == QUEUE
        assert notifier.hooks[0].dropped == 2 * QUEUE - 1


async def test_no_error_tells_the_address(tmp_path: Path, hook: str) -> None:
    dead = plan("http://127.0.0.1:1")
    async with running(Notifier(dead, tmp_path, tmp_path)) as notifier:
        notifier.note(held(1))
        await until(lambda: bool(notifier.errors()))
        assert "hunter2" not in str(notifier.errors())
        assert notifier.errors()[0].startswith("notify[0]: Client")


async def test_an_unset_secret_is_told_by_its_reference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOOK", raising=False)
    async with running(Notifier(plan("http://127.0.0.1:1"), tmp_path, tmp_path)) as notifier:
        notifier.note(held(1))
        await until(lambda: bool(notifier.errors()))
        assert "${env:HOOK}" in notifier.errors()[0]


async def test_a_restart_repeats_nothing_that_was_taken_and_loses_nothing(tmp_path: Path, hook: str) -> None:
    take = [True]

    def script(asked: Asked) -> bytes:
        return answer(200 if take[0] else 503)

    async with scripted_http(script) as server:
        made = plan(server.endpoint)
        async with running(Notifier(made, tmp_path, tmp_path)) as notifier:
            notifier.note(held(1))
            await until(lambda: notifier.hooks[0].delivered == 1)
            take[0] = False
            notifier.note(held(2))
            await until(lambda: notifier.failed > 0)
        take[0] = True
        server.asked.clear()
        async with running(Notifier(made, tmp_path, tmp_path, [held(1), held(2)], head=2)) as again:
            await until(lambda: again.hooks[0].delivered == 2)
        assert [e["seq"] for asked in server.asked for e in json.loads(asked.body)["events"]] == [2]
        async with running(Notifier(made, tmp_path, tmp_path, [held(1), held(2)], head=2)) as third:
            assert not third.hooks[0].waiting


async def test_a_new_webhook_hears_of_what_happens_from_now_on(tmp_path: Path, hook: str) -> None:
    notifier = Notifier(plan("http://127.0.0.1:1"), tmp_path, tmp_path, [held(1), held(2)], head=2)
    assert not notifier.hooks[0].waiting
    assert "hunter2" not in (tmp_path / "notified.json").read_text()


async def test_many_at_once_become_few_messages(tmp_path: Path, hook: str) -> None:
    async with scripted_http(lambda asked: answer(200)) as server:
        async with running(Notifier(plan(server.endpoint), tmp_path, tmp_path)) as notifier:
            for seq in range(1, 101):
                notifier.note(held(seq, f"reason {seq}"))
            await until(lambda: notifier.hooks[0].delivered == 100)
        assert len(server.asked) <= notify.BURST
        bodies = [json.loads(asked.body) for asked in server.asked]
        assert sum(len(b["events"]) + b["left_out"] for b in bodies) == 100
        assert all(len(b["events"]) <= notify.LINES for b in bodies)


async def test_secrets_are_taken_out_by_their_value(tmp_path: Path, hook: str) -> None:
    async with scripted_http(lambda asked: answer(200)) as server:
        async with running(Notifier(plan(server.endpoint), tmp_path, tmp_path)) as notifier:
            notifier.note(held(1, f"POST /services/{SECRET} failed, token xyzzy-hunter2"))
            await until(lambda: notifier.hooks[0].delivered == 1)
        assert b"hunter2" not in server.asked[0].body
        assert b"[redacted]" in server.asked[0].body


async def test_what_slack_takes_for_markup_is_escaped_and_hostile_text_is_plain(tmp_path: Path, hook: str) -> None:
    async with scripted_http(lambda asked: answer(200)) as server:
        made = plan(server.endpoint, kind="slack")
        async with running(Notifier(made, tmp_path, tmp_path)) as notifier:
            notifier.note(held(1, '<!channel> & <http://evil|good>\n"}\x1b[31m'))
            await until(lambda: notifier.hooks[0].delivered == 1)
        text = json.loads(server.asked[0].body)["text"]
        assert text == 'model: held by ann: &lt;!channel&gt; &amp; &lt;http://evil|good&gt;\\n"}\\x1b[31m'
        assert mrkdwn("a<b>&c") == "a&lt;b&gt;&amp;c"


def test_a_webhook_hears_only_of_what_it_asked_for(tmp_path: Path) -> None:
    notifier = Notifier(plan("http://127.0.0.1:1", on=["rollback"]), tmp_path, tmp_path)
    notifier.note(held(1))
    assert not notifier.hooks[0].waiting


@pytest.mark.parametrize(
    ("kind", "data", "topic"),
    [
        (Kind.RUN_STARTED, {"kind": "rollback"}, "rollback"),
        (Kind.RUN_STARTED, {"kind": "advance"}, None),
        (Kind.STATE, {"state": "rollback_blocked"}, "rollback"),
        (Kind.TRIGGER, {"verdict": "BREACH"}, "breach"),
        (Kind.TRIGGER, {"verdict": "PASS"}, None),
        (Kind.SEAT, {"holder": "ben", "from": "ann"}, "seat"),
        (Kind.SEAT, {"holder": "ann", "from": None}, None),
        (Kind.CLOCK_JUMP, {"seconds": 3600}, "clock"),
        (Kind.WINDOW_OVER, {"window": "dual"}, "window"),
        (Kind.ROUND, {}, None),
    ],
)
def test_holds_breaches_rollbacks_seats_clocks_and_windows_matter(kind: Kind, data: dict[str, Any], topic: str | None) -> None:
    assert topic_of(Event(1, datetime.now(UTC), "engine", kind, data)) == topic
