"""What was found wrong, and the same of many hosts told once."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from backends.plan.document import Path, plain_values, read_document
from backends.plan.load import CheckedPlan
from backends.plan.problems import Problem, Severity, make_problem
from backends.vocabulary import SideName

SHOWN = 3  # hosts whose evidence is told where many have the same


@dataclass(frozen=True, slots=True)
class Found:
    """One thing that is not as it should be. `message` goes on after the host's name where there is one; `evidence` is what was seen, `path`
    the place in the plan that it is about."""

    severity: Severity
    code: str
    message: str
    evidence: str
    cure: str
    path: Path
    side: SideName | None = None
    host: str = ""


@dataclass(frozen=True, slots=True)
class LiveProblem:
    """A problem of the plan's, with what was seen and on which hosts. `message` is the problem's without the hosts, `path` its place."""

    problem: Problem
    evidence: str
    side: SideName | None
    hosts: tuple[str, ...]
    message: str = ""
    path: Path = ()

    @property
    def key(self) -> str:
        """The same for the same difference in another look, whichever hosts have it then."""
        place = () if self.hosts else self.path
        return "\0".join((self.problem.severity, self.problem.code, str(self.side), repr(place), self.message))

    def as_json(self) -> dict[str, Any]:
        return self.problem.as_json() | {"evidence": self.evidence, "side": self.side, "hosts": list(self.hosts)}


def gathered(found: Iterable[Found], checked: CheckedPlan) -> tuple[LiveProblem, ...]:
    """One problem a difference, in the plan's order, whichever number of hosts have it."""
    document = read_document(checked.text)
    assert document.root is not None
    _, places = plain_values(document.root)
    groups: dict[tuple[Severity, str, str, str, SideName | None, Path], list[Found]] = {}
    for one in found:
        path: Path = () if one.host else one.path
        groups.setdefault((one.severity, one.code, one.message, one.cure, one.side, path), []).append(one)
    out = []
    for (severity, code, message, cure, side, _), members in groups.items():
        hosts = tuple(dict.fromkeys(m.host for m in members if m.host))
        text = f"{_names(hosts)}: {message}" if hosts else message
        problem = make_problem(severity, code, text, places.find(members[0].path), checked.path, cure)
        out.append(LiveProblem(problem, _evidence(members), side, hosts, message, members[0].path))
    return tuple(sorted(out, key=lambda p: (p.problem.line, p.problem.code, p.problem.message)))


def _names(hosts: tuple[str, ...]) -> str:
    more = len(hosts) - SHOWN
    return ", ".join(hosts[:SHOWN]) + (f" and {more} more" if more > 0 else "")


def _evidence(members: list[Found]) -> str:
    texts = list(dict.fromkeys(m.evidence for m in members if m.evidence))
    if len(texts) <= 1:
        return texts[0] if texts else ""
    told = "; ".join(f"{m.host}: {m.evidence}" if m.host else m.evidence for m in members[:SHOWN])
    more = len(members) - SHOWN
    return told + (f"; and {more} more" if more > 0 else "")
