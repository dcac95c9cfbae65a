"""How commands reach the engine: find the migration's folder, talk to its engine, start one where none runs."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, TypeVar

from backends.engine.client import EngineClient, answers
from backends.engine.errors import EngineGone
from backends.engine.paths import journal_of, socket_of
from backends.errors import CouldNot
from backends.escape import plain
from backends.snapshot import Snapshot
from backends.statedir import state_dir
from console.output import tell

T = TypeVar("T")


class NoSuchMigration(CouldNot):
    """The folder holds no migration, or another one than was named."""

    code = "no_such_migration"


def folder(state: str | None, name: str | None) -> Path:
    """The folder of an existing migration. Raises `NoSuchMigration` where there is none, or where it holds another than NAME."""
    path = state_dir(state, name)
    if not journal_of(path).is_file():
        raise NoSuchMigration("there is no such migration", where=str(path), hint="start one: cutover up PLAN")
    if state and name:
        from backends.engine.journal import migration_name

        held = migration_name(path)
        if held != name:
            hint = f"leave the name out, or give {plain(held)}; another folder with --state"
            raise NoSuchMigration(f"this folder holds the migration {plain(held)}, not {plain(name)}", where=str(path), hint=hint)
    return path


def talk(path: Path, body: Callable[[EngineClient], Awaitable[T]]) -> T:
    """Run `body` with a client of the folder's engine. Raises `EngineGone`."""

    async def run() -> T:
        if not socket_of(path).exists():
            raise EngineGone("no engine runs", where=str(path), hint="cutover up PLAN starts it")
        async with EngineClient(socket_of(path)) as client:
            return await body(client)

    return asyncio.run(run())


def command(path: Path, name: str, args: dict[str, Any] | None = None, *, key: str = "") -> dict[str, Any]:
    """Give the engine a command and wait for its end. Who is interrupted while waiting is told that the engine goes on."""
    given = (args or {}) | ({"idempotency_key": key} if key else {})
    try:
        return talk(path, lambda client: client.command(name, given))
    except KeyboardInterrupt:
        tell(f"interrupted here; the engine goes on with {name}: cutover status")
        raise


def snapshot(path: Path) -> Snapshot:
    """The engine's state; with no engine the journal's last word."""
    try:
        return talk(path, lambda client: client.snapshot())
    except EngineGone:
        return journal_snapshot(path)


def journal_snapshot(path: Path) -> Snapshot:
    """What the journal alone says."""
    from backends.cutover.fold import fold
    from backends.engine.journal import read_events
    from backends.engine.snapshots import snapshot_from_journal

    events = read_events(path)
    return snapshot_from_journal(fold(events), events, path)


def is_answering(path: Path) -> bool:
    """Does an engine answer in this folder?"""
    return asyncio.run(answers(path))


def wait_for_engine(path: Path, limit: float = 60.0) -> None:
    """Until the engine that a service manager starts answers, or `limit` seconds."""

    async def answered() -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(limit):
                while not await answers(path):  # noqa: ASYNC110 - a process of its own: nothing else tells
                    await asyncio.sleep(0.1)

    asyncio.run(answered())


def ensure_engine(path: Path, plan: Path | None = None, *, take_over: bool = False) -> bool:
    """Start the folder's engine where none answers; True where it was started. `take_over`: from an engine elsewhere."""
    if asyncio.run(answers(path)):
        return False
    from backends.engine.process import start_engine  # all of the engine: only where one has to be started

    start_engine(path, plan, take_over=take_over)
    return True
