"""Notifications: what matters of the journal goes to the plan's webhooks. Never in the engine's way: a bounded queue a webhook, one task
a webhook, failures only counted and told.

What was delivered is kept in `notified.json` in the migration's folder, as the journal's sequence number, so that a restart repeats
nothing that was answered and loses nothing that matters. A kill between the answer and that note sends a message twice: the JSON kind
carries an `id` to tell it by. Many at once become one message; at most `BURST` go at once, then one every `REFILL` seconds.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import time
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp

from backends.cutover.events import Event, Kind
from backends.cutover.story import describe
from backends.engine.redact import Redactor
from backends.errors import CutoverError
from backends.escape import plain
from backends.plan.models import Notify, NotifyOn, Plan
from backends.secrets.resolve import resolve

QUEUE = 500  # messages that wait for one webhook
LINES = 20  # of one message
BURST = 5
REFILL = 10.0  # seconds a further message costs once the burst is spent
ANSWER = 10.0
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 300.0


@dataclass(slots=True)
class Hook:
    """One webhook of the plan and what waits for it. `failed` counts attempts that did."""

    spec: Notify
    index: int
    waiting: deque[Event] = field(default_factory=deque)
    dropped: int = 0
    delivered: int = 0  # sequence number of the last event that was answered with 2xx
    sent: int = 0
    failed: int = 0
    error: str = ""
    tokens: float = BURST
    filled_at: float = 0.0
    wake: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def key(self) -> str:
        """Names it in the file, without what it is: its reference, hashed."""
        return hashlib.sha256(f"{self.spec.kind} {self.spec.webhook}".encode()).hexdigest()[:16]


def topic_of(event: Event) -> NotifyOn | None:
    """What an event is about, for `on`; None where nobody is woken for it."""
    data = event.data
    match event.kind:
        case Kind.HELD | Kind.RELEASED:
            return "hold"
        case Kind.TRIGGER:
            return "breach" if data.get("verdict") in ("BREACH", "ERROR") else None
        case Kind.RUN_STARTED | Kind.RUN_ENDED:
            return "rollback" if data.get("kind") in ("rollback", "evacuate") else None
        case Kind.STATE:
            return "rollback" if data.get("state") in ("rolled_back", "reconciling", "rollback_blocked") else "state"
        case Kind.SEAT:
            return "seat" if data.get("from") else None
        case Kind.CLOCK_JUMP:
            return "clock"
        case Kind.OVERRIDE | Kind.OVERRIDE_ENDED:
            return "override"
        case Kind.ASKED | Kind.APPROVED:
            return "approval"
        case Kind.FOREIGN | Kind.SIDE:
            return "health"
        case Kind.WINDOW_OVER:
            return "window"
    return None


class Notifier:
    """The webhooks of one migration."""

    def __init__(self, plan: Plan, base: Path, state_dir: Path, events: Iterable[Event] = (), *, head: int = 0) -> None:
        self._plan = plan
        self._base = base
        self._file = state_dir / "notified.json"
        self._redactor = Redactor(plan, base)
        self.hooks = [Hook(spec, i) for i, spec in enumerate(plan.notify)]
        told = self._read()
        past = list(events) if self.hooks else []
        for hook in self.hooks:
            # A webhook that is new hears of what happens from now on.
            hook.delivered = told.get(hook.key, head)
            for event in past:
                if event.seq > hook.delivered:
                    self._offer(hook, event)
        if self.hooks and told.keys() != {h.key for h in self.hooks}:
            self._keep()

    @property
    def failed(self) -> int:
        return sum(hook.failed for hook in self.hooks)

    def errors(self) -> tuple[str, ...]:
        """Which webhooks do not take what is sent, in words without their address."""
        return tuple(f"notify[{h.index}]: {h.error} ({len(h.waiting)} waiting)" for h in self.hooks if h.error)

    def note(self, event: Event) -> None:
        """Something has happened. Never waits, never fails."""
        for hook in self.hooks:
            self._offer(hook, event)

    def _offer(self, hook: Hook, event: Event) -> None:
        topic = topic_of(event)
        if topic is None or topic not in hook.spec.on:
            return
        if len(hook.waiting) >= QUEUE:
            hook.waiting.popleft()
            hook.dropped += 1
        hook.waiting.append(event)
        hook.wake.set()

    async def run(self) -> None:
        """Deliver, until cancelled."""
        if not self.hooks:
            await asyncio.Event().wait()
        async with aiohttp.ClientSession(trust_env=True) as session, asyncio.TaskGroup() as group:
            for hook in self.hooks:
                group.create_task(self._serve(hook, session), name=f"notify[{hook.index}]")

    async def _serve(self, hook: Hook, session: aiohttp.ClientSession) -> None:
        pause = FIRST_PAUSE
        while True:
            if not hook.waiting:
                hook.wake.clear()
                await hook.wake.wait()
            await self._allowed(hook)
            batch = list(hook.waiting)
            retry_after = await self._send(hook, session, batch)
            if retry_after is None:
                pause = FIRST_PAUSE
                self._answered(hook, batch)
                continue
            hook.failed += 1
            # Full jitter: many engines that lost one receiver do not come back at once.
            await asyncio.sleep(max(retry_after, random.uniform(pause / 2, pause)))
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _allowed(self, hook: Hook) -> None:
        """At most `BURST` messages at once; what comes meanwhile goes into the next one."""
        now = time.monotonic()
        if hook.filled_at:
            hook.tokens = min(BURST, hook.tokens + (now - hook.filled_at) / REFILL)
        hook.filled_at = now
        if hook.tokens < 1:
            await asyncio.sleep((1 - hook.tokens) * REFILL)
            hook.tokens, hook.filled_at = 1.0, time.monotonic()
        hook.tokens -= 1

    def _answered(self, hook: Hook, batch: list[Event]) -> None:
        hook.delivered, hook.error, hook.dropped = batch[-1].seq, "", 0
        hook.sent += 1
        while hook.waiting and hook.waiting[0].seq <= hook.delivered:
            hook.waiting.popleft()
        self._keep()

    async def _send(self, hook: Hook, session: aiohttp.ClientSession, batch: list[Event]) -> float | None:
        """None when it was taken, else how long the receiver wants us to wait at least."""
        try:
            url = await asyncio.to_thread(resolve, hook.spec.webhook, base=self._base)
            await asyncio.to_thread(self._redactor.learn)
            body = self.message(hook, batch)
            limit = aiohttp.ClientTimeout(total=ANSWER)
            async with session.post(url, data=body, headers=_JSON, timeout=limit, allow_redirects=False) as reply:
                await reply.content.read(4096)
                if 200 <= reply.status < 300:
                    return None
                hook.error = f"HTTP {reply.status}"
                return _seconds(reply.headers.get("Retry-After", ""))
        except CutoverError as error:
            hook.error = self._redactor.clean(plain(error.message, 200))
        except (aiohttp.ClientError, ValueError, OSError, TimeoutError) as error:
            hook.error = type(error).__name__  # its text may hold the address, which is the secret
        return 0.0

    def message(self, hook: Hook, batch: list[Event]) -> bytes:
        """The body of one message: JSON; texts redacted, escaped for where they are shown."""
        lines = [self._line(event) for event in batch[-LINES:]]
        left = len(batch) - len(lines) + hook.dropped
        name = self._plan.name + (" (simulation)" if self._plan.simulation else "")
        more = [f"and {left} before: cutover history {self._plan.name}"] if left else []
        if hook.spec.kind == "slack":
            text = "\n".join(mrkdwn(line) for line in [f"{name}: {lines[0]}", *lines[1:], *more])
            return json.dumps({"text": text}).encode()
        events = [
            {"seq": e.seq, "at": e.at.isoformat(), "kind": e.kind, "topic": topic_of(e), "text": line}
            for e, line in zip(batch[-LINES:], lines, strict=True)
        ]
        body: dict[str, Any] = {"id": f"{self._plan.name}-{batch[-1].seq}", "migration": self._plan.name, "events": events}
        body |= {
            "simulation": self._plan.simulation,
            "left_out": left,
            "text": "\n".join([f"{name}: {lines[0]}", *lines[1:], *more]),
        }
        return json.dumps(body).encode()

    def _line(self, event: Event) -> str:
        return self._redactor.clean(plain(describe(event)[0], 500))

    def _read(self) -> dict[str, int]:
        try:
            told = json.loads(self._file.read_text())
            return {str(k): int(v) for k, v in told.items()}
        except (OSError, ValueError, AttributeError, TypeError):
            return {}

    def _keep(self) -> None:
        """Best effort, as a full disk must stop nothing: then a restart may repeat a message."""
        new = self._file.with_suffix(".new")
        try:
            new.write_text(json.dumps({hook.key: hook.delivered for hook in self.hooks}))
            os.chmod(new, 0o600)
            new.replace(self._file)
        except OSError:
            return


_JSON = {"Content-Type": "application/json"}


def mrkdwn(text: str) -> str:
    """For Slack: the three signs that its markup begins with, escaped (api.slack.com, "Escaping text")."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _seconds(text: str) -> float:
    """`Retry-After` in seconds; a date, or nonsense, is none."""
    try:
        return min(LONGEST_PAUSE, max(0.0, float(text)))
    except ValueError:
        return 0.0
