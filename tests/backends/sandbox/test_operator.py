"""The demo's operator against a scripted engine on a real socket: when it advances, and what it takes for the end."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from backends.sandbox import operator
from backends.sandbox.operator import EXPECTED, Operator
from backends.sandbox.scenario import load_scenario, scenario_names
from backends.snapshot import HoldView, PlanView, PreviewView, Snapshot, State

AT = datetime(2026, 1, 1, tzinfo=UTC)


class ScriptedEngine:
    """Shows one snapshot again and again; an advance goes to the next state of the script."""

    def __init__(self, *states: Snapshot) -> None:
        self.states = list(states)
        self.advanced: list[dict[str, Any]] = []
        self.refuse = 0

    @asynccontextmanager
    async def up(self, socket: Path) -> AsyncIterator[None]:
        app = web.Application()
        app.router.add_get("/v1/events", self.events)
        app.router.add_post("/v1/commands/advance", self.advance)
        runner = web.AppRunner(app, shutdown_timeout=0.1)
        await runner.setup()
        await web.UnixSite(runner, str(socket)).start()
        try:
            yield
        finally:
            await runner.cleanup()

    async def events(self, request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse()
        await reply.prepare(request)
        try:
            while True:
                await reply.write(self.states[0].model_dump_json().encode() + b"\n")
                await asyncio.sleep(0.02)
        except (ConnectionResetError, asyncio.CancelledError):
            return reply

    async def advance(self, request: web.Request) -> web.Response:
        self.advanced.append(await request.json())
        if self.refuse:
            self.refuse -= 1
            body = {
                "error": {
                    "code": "refused",
                    "message": "GATE: not yet",
                    "where": "",
                    "hint": "",
                    "refused_by": "GATE",
                    "exit_code": 3,
                }
            }
            return web.json_response(body, status=409)
        self.states.pop(0)
        return web.json_response({"ok": True})


def at(state: State, *, may_advance: bool = False, held: bool = False) -> Snapshot:
    return Snapshot(
        name="sandbox",
        at=AT,
        plan=PlanView(path="plan.yaml", hash="0"),
        state=state,
        next=PreviewView(command="advance", allowed=may_advance),
        held=(HoldView(by="gate", reason="because", at=AT),) if held else (),
    )


@pytest.fixture(autouse=True)
def _quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """The waits that a person needs are not what is tested here."""
    monkeypatch.setattr(operator, "AGAIN", 0.05)
    monkeypatch.setattr(operator, "HELD_FOR", 0.2)
    monkeypatch.setattr(operator, "_ENDS", {state: (name, 0.1) for state, (name, _) in operator._ENDS.items()})


async def play(engine: ScriptedEngine, tmp_path: Path, *, limit: float = 30.0) -> str:
    socket = tmp_path / "engine.sock"
    async with engine.up(socket):
        return await Operator(socket, limit=limit).play()


async def test_it_advances_whenever_it_may_until_committed(tmp_path: Path) -> None:
    engine = ScriptedEngine(
        at(State.PLANNED, may_advance=True), at(State.ARMED, may_advance=True), at(State.COMMITTED, may_advance=True)
    )
    assert await play(engine, tmp_path) == "committed"
    assert engine.advanced == [{"reason": "the demo's operator"}] * 2, "committed is the end of the demo"


async def test_a_refusal_is_no_end_and_is_tried_again(tmp_path: Path) -> None:
    engine = ScriptedEngine(at(State.PREPARING, may_advance=True), at(State.ROLLED_BACK))
    engine.refuse = 2
    assert await play(engine, tmp_path) == "rolled_back"
    assert len(engine.advanced) == 3


async def test_it_never_advances_where_the_engine_says_that_it_may_not(tmp_path: Path) -> None:
    engine = ScriptedEngine(at(State.SOAKING, held=True))
    assert await play(engine, tmp_path) == "held"
    assert engine.advanced == []


async def test_what_never_ends_is_unfinished(tmp_path: Path) -> None:
    assert await play(ScriptedEngine(at(State.SOAKING)), tmp_path, limit=0.5) == "unfinished"


async def test_an_engine_that_is_not_there_yet_is_waited_for(tmp_path: Path) -> None:
    socket = tmp_path / "engine.sock"
    task = asyncio.create_task(Operator(socket, limit=30.0).play())
    engine = ScriptedEngine(at(State.ROLLBACK_BLOCKED))
    async with engine.up(socket):
        assert await task == "rollback_blocked"


def test_what_is_expected_of_a_scenario_is_what_the_scenario_says() -> None:
    assert {name: load_scenario(name).expected for name in scenario_names()} == EXPECTED


def test_an_operator_whose_demo_has_gone_ends_at_once(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "backends.sandbox.operator", "--state", str(tmp_path), "--with-parent", "1"]
    assert subprocess.run(argv, timeout=60, check=False).returncode == 1


def test_an_operator_ends_when_the_demo_that_started_it_is_killed(tmp_path: Path) -> None:
    script = (
        "import subprocess, sys, os\n"
        f"argv = [sys.executable, '-m', 'backends.sandbox.operator', '--state', {json.dumps(str(tmp_path))}]\n"
        "child = subprocess.Popen([*argv, '--with-parent', str(os.getpid())])\n"
        "print(child.pid, flush=True)\n"
        "sys.stdin.read()\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        parent.send_signal(signal.SIGKILL)
    until_gone(pid)


def until_gone(pid: int) -> None:
    import time

    deadline = time.monotonic() + 40
    while Path(f"/proc/{pid}/cmdline").exists() and b"operator" in Path(f"/proc/{pid}/cmdline").read_bytes():
        assert time.monotonic() < deadline, "the operator goes on"
        time.sleep(0.05)
