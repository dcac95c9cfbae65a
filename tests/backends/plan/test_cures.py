"""Every finding has its cure, of the plan's rules and of the live check: each place in the code that makes one, and each rule as it speaks."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from backends.plan.problems import make_problem
from tests.backends.plan.plans import ROOT

# Which argument is the cure, by what is called.
_CURE = {
    "make_problem": 5,
    "Trouble": 4,
    "Found": 4,
    "UnitError": 1,
    "RecordForm": 1,
    "ReferenceForm": 1,
    "findings.error": 3,
    "findings.warning": 3,
    "findings.note": 3,
    "findings.add": 4,
    "self.stop": 3,
    "self.trouble": 4,
}
FOLDERS = ("backends/plan", "backends/live")
FILES = sorted(path for folder in FOLDERS for path in (ROOT / folder).rglob("*.py"))


def cures(text: str) -> Iterator[tuple[int, ast.expr | None]]:
    """The line of each call that makes a finding, and what it gives for the cure; None where it gives nothing."""
    for call in (node for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Call)):
        index = _CURE.get(ast.unparse(call.func))
        if index is not None:
            named = next((k.value for k in call.keywords if k.arg in ("hint", "cure")), None)
            yield call.lineno, named or (call.args[index] if len(call.args) > index else None)


def may_be_empty(cure: ast.expr | None, *, is_live: bool) -> bool:
    """Nothing, an empty text in one of its branches, or the hint of an error, which need not have one where it is not of the plan."""
    if cure is None or (isinstance(cure, ast.Constant) and cure.value == ""):
        return True
    if isinstance(cure, ast.IfExp):
        return may_be_empty(cure.body, is_live=is_live) or may_be_empty(cure.orelse, is_live=is_live)
    if isinstance(cure, ast.BoolOp):
        return may_be_empty(cure.values[-1], is_live=is_live)
    return is_live and isinstance(cure, ast.Attribute) and cure.attr == "hint"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_what_makes_a_finding_gives_its_cure(path: Path) -> None:
    is_live = "live" in path.parts
    assert [line for line, cure in cures(path.read_text()) if may_be_empty(cure, is_live=is_live)] == []


def test_places_without_one_are_found() -> None:
    assert sum(1 for path in FILES for _ in cures(path.read_text())) > 250
    wrong = 'findings.error(p, "a", "b")\nfindings.note(p, "a", "b", "c" if near else "")\nFound("error", "a", "b", "c", "", p)\n'
    assert [line for line, cure in cures(wrong) if may_be_empty(cure, is_live=False)] == [1, 2, 3]
    right = 'findings.error(p, "a", "b", near or "c")\nFound("error", "a", "b", "c", error.hint or "d", p)\n'
    assert [line for line, cure in cures(right) if may_be_empty(cure, is_live=True)] == []


def test_a_problem_cannot_be_made_without_one() -> None:
    with pytest.raises(TypeError, match="hint"):
        make_problem("error", "code", "message", None, "plan.yaml")  # type: ignore[call-arg, arg-type]
