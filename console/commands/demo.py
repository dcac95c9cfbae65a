"""`cutover demo`: the whole main job on the embedded sandbox."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import click

from backends.errors import CutoverError, UsageError
from console.output import command_body, emit_json, json_option, say, state_option, tell

LIMIT = 240.0  # seconds that a scenario may take


def _scenarios(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[str]:
    """Shell completion of `--scenario`."""
    from backends.sandbox.operator import EXPECTED

    return [name for name in EXPECTED if name.startswith(incomplete)]


@click.command("demo")
@click.option(
    "--scenario", default="clean", show_default=True, shell_complete=_scenarios, help="What goes wrong: see docs/sandbox.md."
)
@click.option("--headless", is_flag=True, help="Play to the end without a console, and say what happened.")
@click.option("--seed", default=0, show_default=True, type=int, help="The same seed plays the same way.")
@state_option
@json_option
@command_body
def command(scenario: str, headless: bool, seed: int, state_dir: str | None, as_json: bool) -> int:
    """Two small providers on this machine, an engine, a migration from one to the other. No account, nothing leaves the machine.

    Example: cutover demo --scenario error-burst
    """
    from backends.sandbox.operator import EXPECTED

    if scenario not in EXPECTED:
        raise UsageError(f"there is no scenario {scenario}", hint=f"one of {', '.join(EXPECTED)}")
    with _folders(state_dir) as (world, state):
        if headless or as_json or not sys.stdout.isatty():
            result = asyncio.run(_headless(scenario, seed, world, state, tell if as_json else say))
            return _told(result, as_json)
        return _with_console(scenario, seed, world, state)


@contextlib.contextmanager
def _folders(state_dir: str | None) -> Iterator[tuple[Path, Path]]:
    """The sandbox's folder and the migration's; temporary ones unless a state folder was given."""
    world = Path(tempfile.mkdtemp(prefix="cutover-demo-"))
    state = Path(state_dir).expanduser().absolute() if state_dir else world / "state"
    try:
        yield world, state
    finally:
        shutil.rmtree(world, ignore_errors=True)


async def _headless(scenario: str, seed: int, world: Path, state: Path, told: Callable[[str], None]) -> dict[str, Any]:
    """Play to the end; the story goes to `told` as it happens, an event a line."""
    from backends.engine.paths import socket_of
    from backends.sandbox.ending import ending
    from backends.sandbox.operator import EXPECTED, Operator
    from backends.snapshot import Snapshot

    seen = [0]

    def story(now: Snapshot) -> None:
        for event in reversed(now.events):
            if event.seq > seen[0]:
                seen[0] = event.seq
                told(f"{event.at:%H:%M:%S}  {event.text}")

    async with _running(scenario, seed, world, state) as ready:
        operator = Operator(socket_of(state), limit=LIMIT, tell=story)
        ended_as = await operator.play()
        return await ending(scenario, seed, EXPECTED[scenario], ended_as, state, admin_of(ready))


def admin_of(ready: dict[str, Any]) -> str:
    """The front door's admin API, as the sandbox's own plan names it."""
    from backends.plan.load import load_plan

    plan = load_plan(Path(ready["plan"])).plan
    assert plan is not None
    return next(r.sandbox.admin for r in plan.routes if r.sandbox is not None)


@contextlib.asynccontextmanager
async def _running(scenario: str, seed: int, world: Path, state: Path) -> AsyncIterator[dict[str, Any]]:
    """Sandbox and engine, each a process of its own, ended together."""
    from backends.engine.process import start_engine
    from backends.sandbox.process import start_sandbox

    tell(f"starting two providers and an engine ({scenario}); this is a simulation")
    sandbox = await start_sandbox(world / "sandbox", scenario, seed)
    try:
        await asyncio.to_thread(partial(start_engine, state, sandbox.plan_path, companion=sandbox.pid))
        try:
            yield sandbox.ready
        finally:
            await _end_engine(state)
    finally:
        await sandbox.stop()


async def _end_engine(state: Path) -> None:
    from backends.engine.client import EngineClient
    from backends.engine.lock import is_locked
    from backends.engine.paths import socket_of

    with contextlib.suppress(CutoverError):
        async with EngineClient(socket_of(state)) as client:
            await client.command("down", {"anyway": True}, timeout=30)
    for _ in range(100):
        if not is_locked(state):
            return
        await asyncio.sleep(0.1)


def _told(result: dict[str, Any], as_json: bool) -> int:
    if as_json:
        emit_json(result)
    else:
        say(f"{result['scenario']}: ended as {result['ended_as']}, expected {result['expected']}")
        for check in result["checks"]:
            say(f"  {'✓' if check['ok'] else '✗'} {check['name']}: {check['seen']}")
        door = result["front_door"]
        say(f"  front door: {door['requests']} requests, {door['errors']} errors, {door['target_share']} on target")
    return 0 if result["ok"] else 1


def _with_console(scenario: str, seed: int, world: Path, state: Path) -> int:
    """The console in this process; the demo's operator in one of its own, so that the story goes on by itself."""
    from console.attach import run_console
    from console.starter import starter

    # The console wants the main thread and a loop of its own, so this one only runs before and after it.
    with asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        sandbox_pid = runner.run(_enter(stack, scenario, seed, world, state))
        argv = [sys.executable, "-m", "backends.sandbox.operator", "--state", str(state), "--with-parent", str(os.getpid())]
        operator = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            return run_console(state, "sandbox", start_engine=starter(state, sandbox_pid), farewell=False)
        finally:
            _tell_end(state)
            operator.terminate()
            operator.wait()
            runner.run(stack.aclose())


def _tell_end(state: Path) -> None:
    """Where the demo was left, and that nothing of it goes on; a terminal that was hung up on takes no words."""
    from console.attach import say_last
    from console.engine import journal_snapshot

    with contextlib.suppress(CutoverError):
        now = journal_snapshot(state)
        weights = ", ".join(f"{r.name} {r.desired} % on target" for r in now.routes)
        say_last(f"the demo ends in state {now.state} ({weights}): its engine and its two providers end with it\n")


async def _enter(stack: contextlib.AsyncExitStack, scenario: str, seed: int, world: Path, state: Path) -> int:
    ready = await stack.enter_async_context(_running(scenario, seed, world, state))
    pid: int = ready["pid"]
    return pid
