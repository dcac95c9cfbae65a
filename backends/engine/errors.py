"""Errors of the engine.

EngineError
├── EngineGone      nobody answers on the socket
├── StateLocked     another engine, or another `sync`, holds the migration's folder
├── JournalBroken   the journal's chain does not hold: never guessed around
├── JournalFull     the journal cannot be written (disk full, read-only)
├── NetworkFolder   the state folder lies on a network file system
├── LeaseChanged    the lease is not what it was when it was read: read it again
└── LeaseUnusable   the place of the lease cannot hold one, or holds something else

PreviewChanged is a refusal: the world is not what was confirmed. So are LeaseHeld, another machine's engine has the migration, and
LeaseElsewhere, the journal that knows what is to be undone lies there.
"""

from __future__ import annotations

from datetime import datetime

from backends.errors import CouldNot, RefusedByRule
from backends.escape import plain


class EngineError(CouldNot):
    code = "engine_error"


class EngineGone(EngineError):
    code = "engine_gone"


class StateLocked(RefusedByRule):
    code = "state_locked"

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__("LOCK", message, where=where, hint=hint)


class PreviewChanged(RefusedByRule):
    """The world is not what was previewed: ask again."""

    code = "preview_changed"

    def __init__(self) -> None:
        super().__init__("PREVIEW", "the world has changed since the preview", hint="look at the new preview and confirm again")


class JournalBroken(EngineError):
    code = "journal_broken"


class JournalFull(EngineError):
    code = "journal_full"


class NetworkFolder(EngineError):
    code = "network_folder"


class LeaseChanged(EngineError):
    code = "lease_changed"

    def __init__(self) -> None:
        super().__init__("the lease is not what it was when it was read")


class LeaseUnusable(EngineError):
    code = "lease_unusable"


class LeaseHeld(RefusedByRule):
    code = "lease_held"

    def __init__(self, name: str, who: str, where: str, until: datetime | None = None) -> None:
        """`until`: by the holder's clock, unless it goes on renewing it."""
        hint = f"cutover down there; or, where nobody can reach it, cutover up PLAN --take-over {name}"
        lasts = f", until {until:%H:%M:%S} UTC and for as long as it renews that" if until is not None else ""
        super().__init__("LEASE", f"the engine of {who} has this migration{lasts}", where=where, hint=hint)


class LeaseElsewhere(RefusedByRule):
    code = "lease_elsewhere"

    def __init__(self, name: str, who: str, state: str, seq: int) -> None:
        text = f"the journal of this migration ({plain(state)}, {seq} events) lies at {plain(who, 300)}, and this folder does not have it"
        hint = f"bring that folder here (--state); or begin without it, a rollback then being by hand: cutover up PLAN --take-over {name}"
        super().__init__("LEASE", text, hint=hint)
