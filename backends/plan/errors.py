"""Errors of a plan.

CutoverError
├── UsageError
│   └── PlanInvalid     a command that needs a good plan was given another one (exit 2)
└── CouldNot
    ├── PlanUnreadable  there is no such file, or it cannot be read (exit 4)
    └── ResolveError    a secret reference leads to nothing (exit 4); never shows a value
"""

from __future__ import annotations

from typing import Any

from backends.errors import CouldNot, UsageError
from backends.plan.problems import Problem

_SHOWN = 20


class PlanInvalid(UsageError):
    """The plan has errors; all of them are in `problems`."""

    code = "plan_invalid"

    def __init__(self, problems: tuple[Problem, ...]) -> None:
        errors = [p for p in problems if p.severity == "error"]
        first = errors[0]
        if len(errors) == 1:
            message, where = first.message, first.where
        else:
            lines = [f"{p.where}: {p.message}" for p in errors[:_SHOWN]]
            rest = [f"and {len(errors) - _SHOWN} more"] if len(errors) > _SHOWN else []
            message, where = f"the plan has {len(errors)} errors: " + "; ".join(lines + rest), first.where
        super().__init__(message, where=where, hint=first.hint if len(errors) == 1 else "see all: cutover check PLAN")
        self.problems = problems

    def as_json(self) -> dict[str, Any]:
        out = super().as_json()
        out["error"]["problems"] = [p.as_json() for p in self.problems]
        return out


class PlanUnreadable(CouldNot):
    """The plan's file is missing, is none, or may not be read."""

    code = "unreadable"


class ResolveError(CouldNot):
    """A reference leads to nothing. Names the reference, never what stands behind it."""

    code = "secret_unresolved"
