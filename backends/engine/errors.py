"""Errors of the engine.

EngineError
├── EngineGone      nobody answers on the socket
├── StateLocked     another engine, or another `sync`, holds the migration's folder
├── JournalBroken   the journal's chain does not hold: never guessed around
├── JournalFull     the journal cannot be written (disk full, read-only)
└── NetworkFolder   the state folder lies on a network file system

PreviewChanged is a refusal: the world is not what was confirmed.
"""

from __future__ import annotations

from backends.errors import CouldNot, RefusedByRule


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
