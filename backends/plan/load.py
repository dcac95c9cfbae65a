"""Loading a plan: every problem at once, in the order of the file.

`check_plan` never raises for bad content; `load_plan` is for commands that need a good plan. Nothing is resolved, contacted
or run. The filesystem is only looked at beside the plan itself (who may write its scripts), and not by `parse_plan`, so
that an engine which reads its plan back from the journal is never stopped by a file's mode.
"""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from backends.escape import plain
from backends.plan.document import MAX_BYTES, Document, Place, plain_values, read_document
from backends.plan.errors import PlanInvalid, PlanUnreadable
from backends.plan.models import Plan
from backends.plan.problems import Findings, Problem, in_order, make_problem
from backends.plan.rules import check_rules
from backends.plan.rules.scripts import check_scripts
from backends.plan.rules.secrets import check_secret_files
from backends.plan.shape import shape_plan


@dataclass(frozen=True, slots=True)
class CheckedPlan:
    """`plan` is None where there is an error. `hash` is the SHA-256 of the text's bytes, in hex."""

    plan: Plan | None
    problems: tuple[Problem, ...]
    text: str
    hash: str
    path: Path

    @property
    def is_good(self) -> bool:
        """No errors; warnings and notes may be there."""
        return not any(p.severity == "error" for p in self.problems)

    @property
    def base(self) -> Path:
        """The folder that relative paths of the plan start from."""
        return self.path.parent


def check_plan(path: Path) -> CheckedPlan:
    """Read and judge a plan file, a missing or unreadable one too."""
    data = _read(path)
    if isinstance(data, Problem):
        return CheckedPlan(None, (data,), "", hashlib.sha256(b"").hexdigest(), path)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        found = f"found the byte 0x{data[error.start]:02x}, which is not UTF-8, expected a plan in UTF-8"
        problem = make_problem("error", "not_utf8", found, Place(line), path, "save the file as UTF-8")
        return CheckedPlan(None, (problem,), "", hashlib.sha256(data).hexdigest(), path)
    return _judge(text, path, with_files=True)


def parse_plan(text: str, path: Path) -> CheckedPlan:
    """Judge a plan's text; `path` is where it came from, for the problems' places and for relative paths."""
    return _judge(text, path, with_files=False)


def load_plan(path: Path) -> CheckedPlan:
    """The plan of a command that needs a good one. Raises `PlanInvalid`, which names every error, or `PlanUnreadable`."""
    return require_good(check_plan(path))


def require_good(checked: CheckedPlan) -> CheckedPlan:
    """`checked` as it is, its `plan` not None. Raises `PlanInvalid` where it has errors, `PlanUnreadable` without a file."""
    require_read(checked)
    if not checked.is_good or checked.plan is None:
        raise PlanInvalid(checked.problems)
    return checked


def require_read(checked: CheckedPlan) -> CheckedPlan:
    """`checked` as it is, good or not. Raises `PlanUnreadable` where its file could not be read at all."""
    for problem in checked.problems:
        if problem.code == PlanUnreadable.code:
            raise PlanUnreadable(problem.message, where=problem.where, hint=problem.hint)
    return checked


def _read(path: Path) -> bytes | Problem:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) else "not a path"
        return _unreadable(path, f"cannot read the plan: {reason}")
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        return _unreadable(path, "found a folder or device, expected a plan file")
    with os.fdopen(fd, "rb") as file:
        try:
            data = file.read(MAX_BYTES + 1)
        except OSError as error:
            return _unreadable(path, f"cannot read the plan: {error.strerror}")
    if len(data) > MAX_BYTES:
        found = f"found more than {MAX_BYTES >> 20} MiB, expected a plan that a person can read"
        return make_problem("error", "too_large", found, Place(), path, "one file for each migration, without what is no plan")
    return data


def _unreadable(path: Path, message: str) -> Problem:
    return make_problem("error", PlanUnreadable.code, message, Place(), path, "give the path of a plan file")


def _judge(text: str, path: Path, *, with_files: bool) -> CheckedPlan:
    digest = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()
    document = read_document(text)
    problems = [
        make_problem("error", t.code, t.message, _trouble_place(document, t.path, t.line), path, t.hint)
        for t in document.troubles
    ]
    plan: Plan | None = None
    if document.root is not None:
        plan, found = _judge_document(document, path, with_files=with_files)
        problems += found
    elif not problems:
        problems.append(_empty(path))
    ordered = in_order(problems)
    if any(p.severity == "error" for p in ordered):
        plan = None
    return CheckedPlan(plan, ordered, text, digest, path)


def _trouble_place(document: Document, path: tuple[str | int, ...], line: int) -> Place:
    if document.root is None or not path:
        return Place(line)
    _, places = plain_values(document.root)
    return Place(line, places.find(path).field)


def _empty(path: Path) -> Problem:
    return make_problem("error", "empty", "found nothing in the file, expected a plan", Place(), path, "see docs/plan.md")


def _judge_document(document: Document, path: Path, *, with_files: bool) -> tuple[Plan | None, list[Problem]]:
    assert document.root is not None
    values, places = plain_values(document.root)
    if values is None:
        return None, [_empty(path)]
    if not isinstance(values, dict):
        found = "found a list" if isinstance(values, tuple) else f"found `{plain(str(values), 60)}`"
        message = f"{found}, expected a mapping that begins with `version: 1`"
        return None, [make_problem("error", "value", message, Place(1), path, "see docs/plan.md")]
    findings = Findings(path, places)
    plan, kept = shape_plan(document, findings)
    if plan is not None:
        findings.places = kept
        check_rules(plan, values, findings)
        if with_files:
            check_scripts(plan, path.parent, findings)
            check_secret_files(plan, path.parent, findings)
    return plan, findings.problems
