"""A made engine for tests of the console: tells the snapshots it is given, records what it is ordered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import Any

from backends.errors import CouldNot, CutoverError
from backends.snapshot import HostView, Lag, PreviewView, Snapshot, StepView

STEPS = (
    StepView(text="legacy alive, able to carry 100 %", seconds=1),
    StepView(text="chat: weight 25 -> 0 on target: authority, resolvers, data plane", seconds=12),
    StepView(text="drain target's sessions", seconds=25),
    StepView(text="compare, report", seconds=4),
)


def rollback_preview(mode: str = "graceful", hash: str = "h1", **more: Any) -> PreviewView:
    """What the made engine says of a rollback."""
    fields: dict[str, Any] = {
        "command": "rollback",
        "mode": mode,
        "hash": hash,
        "steps": STEPS,
        "seconds": 42,
        "gap": Lag(objects=3, bytes=1_258_291, seconds=4),
    }
    return PreviewView(**(fields | more))


def blocked_preview() -> PreviewView:
    """What it says of a rollback to a dead legacy."""
    refused = {"allowed": False, "refused_by": "SR1", "reason": "legacy is dead: connection refused"}
    return rollback_preview(**refused, would_allow="legacy alive and seen")


def evacuate_preview() -> PreviewView:
    """What it says of an evacuation."""
    return PreviewView(
        command="evacuate",
        hash="e1",
        steps=(
            StepView(text="see that target is alive and can take the load", seconds=0.5),
            StepView(text="route chat: weight 100 % on target", seconds=1),
            StepView(text="fence legacy: stop pretrain there", seconds=2),
            StepView(text="dataset checkpoints: writer none, epoch 0", seconds=0.1),
            StepView(text="dataset checkpoints: writer target, epoch 1", seconds=0.1),
            StepView(text="start pretrain on target", seconds=2),
            StepView(text="route jobs: weight 100 % on target", seconds=1),
        ),
        seconds=6.7,
        gap=Lag(objects=2, bytes=9 << 30, seconds=41),
        warnings=(
            "checkpoints: the writer is handed to target by force; 2 objects that legacy alone holds stay there, by the last look",
            "when legacy comes back, only an emergency rollback leads home: it overwrites nothing there",
        ),
    )


class MadeLink:
    """Satisfies `EngineLink`. `tell` sends a snapshot, `go` ends the engine, `come` brings it back."""

    def __init__(self, first: Snapshot | None = None) -> None:
        self.now = first
        self.alive = True
        self.closed = False
        self.ordered: list[tuple[str, dict[str, Any]]] = []
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.previews: Callable[[str, dict[str, Any]], PreviewView] = self._preview
        self.answers: list[CutoverError | dict[str, Any]] = []
        self.hosts: dict[str, HostView] = {}  # told whole; others as the snapshot has them
        self.hold_answer: asyncio.Event | None = None
        self._streams: set[asyncio.Queue[Snapshot | None]] = set()

    # What a test does

    def tell(self, snapshot: Snapshot) -> None:
        self.now = snapshot
        for stream in self._streams:
            stream.put_nowait(snapshot)

    def go(self) -> None:
        self.alive = False
        for stream in self._streams:
            stream.put_nowait(None)

    def come(self) -> None:
        self.alive = True

    # What the console calls

    def _check(self) -> None:
        if not self.alive:
            raise CouldNot("the engine does not answer")

    async def snapshot(self) -> Snapshot:
        self._check()
        assert self.now is not None
        return self.now

    async def events(self) -> AsyncIterator[Snapshot]:
        self._check()
        stream: asyncio.Queue[Snapshot | None] = asyncio.Queue()
        self._streams.add(stream)
        try:
            if self.now is not None:
                yield self.now
            while (snapshot := await stream.get()) is not None:
                yield snapshot
        finally:
            self._streams.discard(stream)
        self._check()

    async def host(self, name: str) -> HostView:
        self._check()
        assert self.now is not None
        found = self.hosts.get(name) or next((h for h in self.now.hosts if h.name == name), None)
        if found is None:
            raise CouldNot(f"the plan has no host {name}")
        return found

    async def command(self, name: str, args: dict[str, Any] | None = None) -> dict[str, Any]:
        self._check()
        self.ordered.append((name, args or {}))
        if self.hold_answer is not None:
            await self.hold_answer.wait()
        answer = self.answers.pop(0) if self.answers else {"state": "soaking"}
        if isinstance(answer, CutoverError):
            raise answer
        return answer

    async def preview(self, command: str, args: dict[str, Any] | None = None) -> PreviewView:
        self._check()
        self.asked.append((command, args or {}))
        return self.previews(command, args or {})

    async def close(self) -> None:
        self.closed = True

    def _preview(self, command: str, args: dict[str, Any]) -> PreviewView:
        if command == "rollback":
            return rollback_preview(args.get("mode", "graceful"))
        if command == "sign":
            return PreviewView(command="sign", reason=self._asked(args["item"]))
        return PreviewView(command=command, hash="a1", steps=(StepView(text=f"{command} it"),), seconds=3)

    def _asked(self, name: str) -> str:
        item = next((i for i in self.now.checklist if i.name == name), None) if self.now is not None else None
        if item is not None:
            return f"{item.text} (a gate of {item.phase})"
        return f"{name}: asked" if name else "one of on-call-told, preflight:capacity"
