"""The one base of all errors that Cutover raises on purpose.

    CutoverError            code, where, hint, exit code
    ├── UsageError          the command line is wrong (exit 2)
    │   └── NotYetSupported a plan asks for what comes later
    ├── NotGood             looked, and it is not good (exit 1)
    ├── RefusedByRule       a safety rule or the state forbids it (exit 3)
    └── CouldNot            the world did not let us (exit 4)

Each package keeps its own subclasses in its own `errors.py`, the tree drawn on top. A subclass exists because
somebody handles it differently. Messages name the thing and its value; the hint says what to do next. Never a secret.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, ClassVar


class CutoverError(Exception):
    """Something an operator must be told in words.

    `where` is `file:line:field` or another place a person can go to; empty where there is none.
    """

    code: ClassVar[str] = "error"
    exit_code: ClassVar[int] = 4

    def __init__(self, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.where = where
        self.hint = hint

    def as_json(self) -> dict[str, Any]:
        """The contract's error object: `{"error": {"code", "message", "where", "hint"}}`."""
        return {"error": {"code": self.code, "message": self.message, "where": self.where, "hint": self.hint}}


class UsageError(CutoverError):
    """The command line, or a plan given to a command that needs a good one, is wrong."""

    code = "usage"
    exit_code = 2


class NotYetSupported(UsageError):
    """A plan names something that Cutover knows by name and does not do yet: refused, never ignored."""

    code = "not_yet_supported"


class NotGood(CutoverError):
    """Looked, and it is not good."""

    code = "not_good"
    exit_code = 1


class RefusedByRule(CutoverError):
    """A safety rule or the state forbids it. `rule` is the rule's id, such as `SR2`, `HELD` or `STATE`."""

    code = "refused"
    exit_code = 3

    def __init__(self, rule: str, message: str, *, where: str = "", hint: str = "") -> None:
        super().__init__(f"{rule}: {message}", where=where, hint=hint)
        self.rule = rule

    def as_json(self) -> dict[str, Any]:
        out = super().as_json()
        out["refused_by"] = self.rule
        out["error"]["refused_by"] = self.rule
        return out


class CouldNot(CutoverError):
    """The world did not let us: network, rights, an unreadable file, an engine that is gone."""

    code = "could_not"
    exit_code = 4


@contextlib.contextmanager
def unwrapped() -> Iterator[None]:
    """Where tasks ask at once, what they could not do comes out as the first of it. A group that holds anything else stays as it is."""
    try:
        yield
    except ExceptionGroup as group:
        ours, others = group.split(CutoverError)
        if ours is None or others is not None:
            raise
        error: Exception = ours
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        raise error from group
