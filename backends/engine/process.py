"""The engine as a process: serving until told to end, and being started by a command that then goes its own way."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import AsyncIterator, Callable, Coroutine
from functools import partial
from pathlib import Path
from typing import Any

from backends.allocator import keep_freed
from backends.cutover.events import Kind
from backends.cutover.rollback import Mode
from backends.engine.api import Api
from backends.engine.client import error_of
from backends.engine.companion import has_ended
from backends.engine.core import Engine
from backends.engine.journal import Journal
from backends.engine.leasing import leased, watch_lease
from backends.engine.lock import StateLock
from backends.engine.metrics import keep_metrics
from backends.engine.moves import hold
from backends.engine.notify import Notifier
from backends.engine.paths import log_of, make_socket_path
from backends.engine.recovery import recover
from backends.errors import CouldNot, CutoverError, RefusedByRule
from backends.plan.load import CheckedPlan, load_plan, parse_plan, require_good
from backends.statedir import make_state_dir
from backends.vocabulary import SIDES, State

START_LIMIT = 150.0  # with the longest lease of an engine elsewhere waited out
FAULT_PAUSE = 2.0
LOG_KEPT = 5 << 20


async def serve(
    state: Path, plan_path: Path | None, ready_fd: int | None, companion: int | None = None, take_over: bool = False
) -> None:
    """Run one migration's engine until `down`, SIGTERM or SIGINT, until the process `companion` ends, or until an engine elsewhere has
    taken the lease. `take_over`: an operator has typed the migration's name to take it from there."""
    make_state_dir(state)
    lock = StateLock(state)
    lock.take("the engine")
    journal = Journal(state)
    try:
        events = await journal.open()
        engine = Engine(state, journal, events)
        checked = _adopt_plan(engine, plan_path)
        engine.notifier = Notifier(engine.plan, engine.base, state, events, head=len(events))
        async with engine.world, leased(engine, take_over=take_over):
            await _note_plan(engine, checked)
            await _serve(engine, ready_fd, companion)
    finally:
        await journal.close()
        lock.release()


@contextlib.asynccontextmanager
async def alone(state: Path, plan_path: Path, who: str) -> AsyncIterator[Engine]:
    """The migration's engine without serving, under its lock: for a command that reads the world and writes the journal where no engine runs."""
    make_state_dir(state)
    lock = StateLock(state)
    lock.take(who)
    journal = Journal(state)
    try:
        engine = Engine(state, journal, await journal.open())
        checked = _adopt_plan(engine, plan_path)
        async with engine.world, leased(engine, take_over=False):
            await _note_plan(engine, checked)
            yield engine
    finally:
        await journal.close()
        lock.release()


def _adopt_plan(engine: Engine, plan_path: Path | None) -> CheckedPlan:
    """The plan of the journal, or the one given: another one only before arming."""
    m = engine.migration
    checked = load_plan(plan_path) if plan_path is not None else _plan_of_journal(engine)
    assert checked.plan is not None
    if m.plan_hash and checked.hash != m.plan_hash and m.state not in (State.PLANNED, State.PREPARING, State.ROLLED_BACK):
        raise RefusedByRule(
            "STATE", f"{m.state}: the plan is pinned and this one differs", where=str(checked.path), hint="use the armed plan"
        )
    if m.name and m.name != checked.plan.name:
        raise RefusedByRule(
            "STATE", f"this folder holds the migration {m.name}", where=str(engine.state_dir), hint="another --state"
        )
    engine.adopt_plan(checked.plan, checked.base, checked.hash)
    return checked


async def _note_plan(engine: Engine, checked: CheckedPlan) -> None:
    """Into the journal, where it is another than before."""
    m = engine.migration
    assert checked.plan is not None
    if not m.name:
        await engine.record(Kind.CREATED, {"name": checked.plan.name})
    if checked.hash != m.plan_hash or str(checked.path) != m.plan_path:
        names = {"routes": [r.name for r in checked.plan.routes], "datasets": [d.name for d in checked.plan.datasets]}
        data = {"path": str(checked.path.absolute()), "hash": checked.hash, "text": checked.text}
        await engine.record(Kind.PLAN_LOADED, data | names)


def _plan_of_journal(engine: Engine) -> CheckedPlan:
    m = engine.migration
    if not m.plan_text:
        raise CouldNot("this folder holds no migration", where=str(engine.state_dir), hint="cutover up PLAN")
    return require_good(parse_plan(m.plan_text, Path(m.plan_path)))


async def _serve(engine: Engine, ready_fd: int | None, companion: int | None) -> None:
    path = make_socket_path(engine.state_dir)
    engine.socket = str(path)
    api = Api(engine)
    loop = asyncio.get_running_loop()
    for sig in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(sig, engine.stopping.set)
    loop.add_signal_handler(signal.SIGHUP, lambda: None)
    await engine.record(Kind.ENGINE_STARTED, {"pid": engine.pid})
    await api.start(path)
    try:
        if ready_fd is not None:
            _tell_ready(ready_fd, {"ready": True})
        await _work(engine, companion)
    finally:
        await api.stop()
        path.unlink(missing_ok=True)


async def _work(engine: Engine, companion: int | None) -> None:
    """Everything that runs beside each other; ends when `stopping` is set."""
    lasting: dict[str, Callable[[], Coroutine[Any, Any, None]]] = {
        "gpus": engine.world.fleet.run,
        "judge": engine.judge.run,
        "guard": engine.guard.run,
        "preflight": engine.preflight.run,
    }
    if engine.plan.backups:
        lasting["backups"] = engine.backups.run
    if engine.notifier is not None:
        lasting["notify"] = engine.notifier.run
    if engine.plan.metrics_file:
        lasting["metrics"] = partial(keep_metrics, engine)
    lasting |= {f"side {s}": engine.world.sides[s].run for s in SIDES}
    lasting |= {f"route {n}": partial(engine.guard.watch_route, n) for n in engine.world.routes}
    lasting |= {f"dataset {n}": partial(engine.followers.run, n) for n in engine.followers.all}
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_kept_up(engine, name, body), name=name) for name, body in lasting.items()]
        tasks.append(group.create_task(_recovered(engine), name="recovery"))
        if engine.lease is not None:
            tasks.append(group.create_task(watch_lease(engine, engine.lease), name="lease"))
        if companion is not None:
            tasks.append(group.create_task(_end_with(engine, companion), name="companion"))
        await engine.stopping.wait()
        for task in [*tasks, *engine.tasks]:
            task.cancel()


async def _kept_up(engine: Engine, name: str, body: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Run one of the engine's lasting tasks. A fault in one must not end the engine, which alone can roll back: it is logged, told
    in the journal, holds, and the task begins again."""
    while True:
        try:
            await body()
        except Exception as error:  # noqa: BLE001 - the supervisor's boundary: see above
            with contextlib.suppress(OSError):  # the log lies on the same disk
                traceback.print_exc()
            text = f"{name} failed inside: {type(error).__name__}; it begins again (engine.log has the place)"
            with contextlib.suppress(CutoverError):  # the journal may be what failed
                await engine.record(Kind.NOTE, {"text": text})
                await hold(engine, name, text)
        await asyncio.sleep(FAULT_PAUSE)


async def _end_with(engine: Engine, companion: int) -> None:
    """A demo's engine ends with its sandbox: there is nothing left to watch, and nobody would end it."""
    await has_ended(companion)
    await engine.record(Kind.ENGINE_STOPPED, {"reason": f"process {companion}, which it belongs to, has ended"})
    engine.stopping.set()


async def _recovered(engine: Engine) -> None:
    if engine.lease is not None:
        await engine.lease.settled()
    outcome = await recover(engine)
    engine.recovering = False
    engine.recovered.set()
    if outcome == "evacuate":
        going = engine.evacuate(actor="engine", reason="an evacuation goes on after a restart", goes_on=True)
        await engine.by_itself(going, "evacuation after a restart")
    if outcome == "rollback":
        m = engine.migration
        mode: Mode = "emergency" if m.run is not None and m.run.mode == "emergency" else "graceful"
        accepted = m.run is not None and any(s["args"].get("accept_unknown") for s in m.run.steps)
        reason = "a rollback goes on after a restart"
        run = engine.rollback(mode=mode, actor="engine", reason=reason, accept_unknown=accepted)
        await engine.by_itself(run, "rollback after a restart")


def _tell_ready(fd: int, message: dict[str, Any]) -> None:
    with contextlib.suppress(OSError):
        os.write(fd, json.dumps(message).encode() + b"\n")
        os.close(fd)


def main(state: str, plan: str | None, ready_fd: int | None, companion: int | None = None, *, take_over: bool = False) -> int:
    """The process's own main: errors go to who started it, and to the log."""
    import uvloop

    keep_freed()
    try:
        with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
            runner.run(serve(Path(state), Path(plan) if plan else None, ready_fd, companion, take_over))
    except CutoverError as error:
        if ready_fd is not None:
            body = error.as_json()
            body["error"]["exit_code"] = error.exit_code
            _tell_ready(ready_fd, body)
        sys.stderr.write(f"cutover engine: {error.message}\n")
        return error.exit_code
    return 0


def start_engine(state: Path, plan: Path | None, *, companion: int | None = None, take_over: bool = False) -> None:
    """Start the engine as a process of its own and wait until it answers. Raises what kept it from starting. `take_over`: the name of
    the migration was typed to take it from an engine elsewhere."""
    make_state_dir(state)
    log = log_of(state)
    if log.exists() and log.stat().st_size > LOG_KEPT:
        log.replace(log.with_suffix(".log.1"))
    read_fd, write_fd = os.pipe()
    argv = [sys.executable, "-m", "backends.engine", "--state", str(state), "--ready-fd", str(write_fd)]
    argv += ["--plan", str(plan.absolute())] if plan is not None else []
    argv += ["--companion", str(companion)] if companion is not None else []
    argv += ["--take-over"] if take_over else []
    with log.open("ab") as out:
        process = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True, pass_fds=[write_fd], cwd="/"
        )  # fmt: skip
    os.close(write_fd)
    try:
        line = _read_ready(read_fd)
    finally:
        os.close(read_fd)
    if not line:
        code = process.poll()
        raise CouldNot(f"the engine did not start (exit {code})", where=str(log), hint="the log says why")
    message = json.loads(line)
    if "error" in message:
        process.wait(timeout=10)
        raise error_of(message)
    # The engine outlives us: it is not our child to wait for.
    process.returncode = 0


def _read_ready(fd: int) -> bytes:
    import select

    deadline, data = time.monotonic() + START_LIMIT, b""
    while not data.endswith(b"\n"):
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([fd], [], [], left)[0]:
            return b""
        chunk = os.read(fd, 65536)
        if not chunk:
            return data
        data += chunk
    return data
