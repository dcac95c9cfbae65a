"""The demo's operator: advances whenever the engine says that it may, and tells when the scenario has ended.

It is a client like any other: it knows only snapshots and commands, and nothing of the scenario that is played.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Literal

from backends.engine.client import EngineClient
from backends.engine.errors import EngineGone
from backends.engine.paths import socket_of
from backends.errors import CutoverError, RefusedByRule
from backends.sandbox.parent import die_with_parent
from backends.sandbox.scenario import load_scenario, scenario_names
from backends.snapshot import Snapshot
from backends.vocabulary import State

Ending = Literal["committed", "rolled_back", "reconciling", "rollback_blocked", "held", "unfinished"]

EXPECTED: dict[str, Ending] = {name: load_scenario(name).expected for name in scenario_names()}
_ENDS: dict[State, tuple[Ending, float]] = {
    # How long a state has to last before it is taken for the end: something may still follow.
    State.COMMITTED: ("committed", 1.0),
    State.ROLLED_BACK: ("rolled_back", 1.0),
    State.RECONCILING: ("reconciling", 15.0),
    State.ROLLBACK_BLOCKED: ("rollback_blocked", 12.0),
}
HELD_FOR = 12.0
AGAIN = 1.0  # seconds between two tries of an advance


class Operator:
    """Plays one migration to its end."""

    def __init__(self, socket: Path, *, limit: float, tell: Callable[[Snapshot], None] | None = None) -> None:
        self._socket = socket
        self._limit = limit
        self._tell = tell
        self._since: tuple[str, float] = ("", 0.0)
        self._tried = 0.0

    async def play(self) -> Ending:
        """Until the end, or until `limit` seconds are over. An engine that goes is waited for."""
        deadline = time.monotonic() + self._limit
        async with EngineClient(self._socket) as client:
            while time.monotonic() < deadline:
                try:
                    async with asyncio.timeout(deadline - time.monotonic()):
                        ending = await self._follow(client)
                except (EngineGone, TimeoutError):
                    await asyncio.sleep(0.3)
                    continue
                if ending is not None:
                    return ending
        return "unfinished"

    async def _follow(self, client: EngineClient) -> Ending | None:
        advance: asyncio.Task[None] | None = None
        try:
            async for now in client.events():
                if self._tell is not None:
                    self._tell(now)
                ending = self._ending(now)
                if ending is not None:
                    return ending
                if self._may_advance(now) and (advance is None or advance.done()):
                    advance = asyncio.create_task(self._advance(client))
        finally:
            if advance is not None:
                advance.cancel()
                await asyncio.gather(advance, return_exceptions=True)
        return None

    def _ending(self, now: Snapshot) -> Ending | None:
        key = "held" if now.held and now.state not in _ENDS else now.state.value
        moving = now.run is not None and now.run.ended_at is None
        if self._since[0] != key or moving:
            self._since = (key, time.monotonic())
        lasted = time.monotonic() - self._since[1]
        if now.state in _ENDS:
            ending, needed = _ENDS[now.state]
            return ending if lasted >= needed else None
        return "held" if now.held and lasted >= HELD_FOR else None

    def _may_advance(self, now: Snapshot) -> bool:
        if now.next is None or not now.next.allowed or now.state is State.COMMITTED:
            return False
        return time.monotonic() - self._tried >= AGAIN

    async def _advance(self, client: EngineClient) -> None:
        self._tried = time.monotonic()
        with contextlib.suppress(RefusedByRule, EngineGone):
            try:
                await client.command("advance", {"reason": "the demo's operator"})
            except CutoverError as error:
                # What kept it from happening is in the journal, and held.
                self._tried = time.monotonic() + AGAIN
                if error.exit_code == 2:
                    raise


def main() -> None:
    """`python -m backends.sandbox.operator --state DIR`: the operator of an interactive demo."""
    parser = argparse.ArgumentParser(prog="cutover-demo-operator")
    parser.add_argument("--state", required=True)
    parser.add_argument("--limit", type=float, default=3600.0)
    parser.add_argument("--with-parent", type=int, metavar="PID", help="end when this process, which started it, does")
    given = parser.parse_args()
    if given.with_parent is not None:
        die_with_parent(given.with_parent, signal.SIGTERM)
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(Operator(socket_of(Path(given.state)), limit=given.limit).play())


if __name__ == "__main__":
    main()
