"""What is wrong with a plan: one problem each, all of them at once, each with a place that an editor can go to and with its cure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, Literal

from backends.plan.document import Path, Place, Places

Severity = Literal["error", "warning", "note"]
# Fields whose value is shown nowhere unless it is a reference.
SECRET_FIELDS = frozenset({"access_key", "secret_key", "session_token", "tsig", "webhook", "key"})

_RANK = {"error": 0, "warning": 1, "note": 2}
_USERINFO = re.compile(r"(://)[^/@\s]+@")


@dataclass(frozen=True, slots=True)
class Problem:
    """`where` is `file:line:field`; line and field are empty where the whole file is meant."""

    severity: Severity
    code: str
    message: str
    where: str
    hint: str  # its cure: what to do about it
    line: int = 0  # from 1; 0: the whole file
    field: str = ""

    def as_json(self) -> dict[str, Any]:
        return {
            "severity": self.severity,
            "code": self.code,
            "message": self.message,
            "where": self.where,
            "hint": self.hint,
        }


def without_userinfo(text: str) -> str:
    """`text` with the `user:password@` of every URL in it taken away."""
    return _USERINFO.sub(r"\1…@", text)


def make_problem(severity: Severity, code: str, message: str, place: Place, file: FilePath | str, hint: str) -> Problem:
    """A problem at a place; credentials in URLs are left out of its words."""
    where = f"{file}:{place.line}:{place.field}" if place.line else str(file)
    return Problem(severity, code, without_userinfo(message), where, without_userinfo(hint), place.line, place.field)


@dataclass(slots=True)
class Findings:
    """Collects problems; each is told the path in the plan that it is about."""

    file: FilePath
    places: Places
    problems: list[Problem] = field(default_factory=list)

    def add(self, severity: Severity, path: Path, code: str, message: str, hint: str) -> None:
        place = self.places.find(path)
        self.problems.append(make_problem(severity, code, message, place, self.file, hint))

    def error(self, path: Path, code: str, message: str, hint: str) -> None:
        self.add("error", path, code, message, hint)

    def warning(self, path: Path, code: str, message: str, hint: str) -> None:
        self.add("warning", path, code, message, hint)

    def note(self, path: Path, code: str, message: str, hint: str) -> None:
        self.add("note", path, code, message, hint)


def in_order(problems: list[Problem]) -> tuple[Problem, ...]:
    """By line, then by weight; what is said twice of one place is said once."""
    return tuple(sorted(dict.fromkeys(problems), key=lambda p: (p.line, _RANK[p.severity], p.field, p.code)))
