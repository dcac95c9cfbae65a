"""Plans for these tests: the documented one, changed in one place, and what is said of it."""

from __future__ import annotations

from pathlib import Path

from backends.plan.load import CheckedPlan, parse_plan
from backends.plan.problems import Problem

ROOT = Path(__file__).resolve().parents[3]
FULL = Path(__file__).with_name("full.yaml")


def documented_plan() -> str:
    """The whole plan of docs/plan.md."""
    text = (ROOT / "docs" / "plan.md").read_text()
    return text.split("```yaml\n", 1)[1].split("```", 1)[0]


def changed(old: str, new: str) -> str:
    """The documented plan with one text replaced."""
    text = documented_plan()
    assert text.count(old) == 1, f"{text.count(old)} times in the plan: {old}"
    return text.replace(old, new)


def judged(text: str) -> CheckedPlan:
    """As the plan is judged; whatever is found has its cure."""
    checked = parse_plan(text, Path("plan.yaml"))
    assert all(p.hint for p in checked.problems), [p for p in checked.problems if not p.hint]
    return checked


def errors(checked: CheckedPlan) -> list[Problem]:
    return [p for p in checked.problems if p.severity == "error"]


def the(checked: CheckedPlan, code: str) -> Problem:
    """The one problem with this code."""
    found = [p for p in checked.problems if p.code == code]
    assert len(found) == 1, [(p.code, p.where, p.message) for p in checked.problems]
    return found[0]
