"""Which workloads move after which: names that exist, an order that can be kept, circles told once and where they can be broken."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.plan.load import parse_plan
from backends.plan.models import Workload
from backends.plan.order import order_of
from backends.plan.problems import Problem


def told(**after: list[str]) -> list[Problem]:
    works = "".join(f"  - {{name: {name}, class: batch, after: [{', '.join(before)}]}}\n" for name, before in after.items())
    text = f"version: 1\nname: m\nlegacy: {{provider: a}}\ntarget: {{provider: b}}\nworkloads:\n{works}"
    return [p for p in parse_plan(text, Path("plan.yaml")).problems if ".after" in p.field]


@pytest.mark.parametrize(
    ("after", "code", "field", "line", "message", "hint"),
    [
        (
            {"chat": ["featurs"], "features": []},
            "unknown_workload",
            "workloads[0].after[0]",
            6,
            "`featurs`",
            "did you mean features?",
        ),
        ({"chat": ["chat"]}, "order", "workloads[0].after[0]", 6, "`chat` after itself", "leave it out"),
        (
            {"z": [], "a": ["z", "b"], "b": ["c"], "c": ["a"]},
            "order",
            "workloads[1].after[1]",
            7,
            "a after b after c after a",
            "out of its `after`",
        ),
    ],
)
def test_what_cannot_be_kept_is_told_with_its_line_and_cure(
    after: dict[str, list[str]], code: str, field: str, line: int, message: str, hint: str
) -> None:
    [problem] = told(**after)
    assert (problem.severity, problem.code, problem.field, problem.line) == ("error", code, field, line)
    assert message in problem.message
    assert hint in problem.hint


def test_two_circles_are_two_and_who_waits_for_one_is_in_none() -> None:
    problems = told(a=["b"], b=["a"], c=["d"], d=["c"], e=["a", "d"])
    assert [p.field for p in problems] == ["workloads[0].after[0]", "workloads[2].after[0]"]
    assert told(a=[], b=["a", "a"], c=["a", "b"]) == []


@given(st.lists(st.lists(st.integers(0, 9), max_size=4), max_size=10))
def test_everybody_has_a_rank_behind_those_it_waits_for_or_is_held_up_by_a_circle(waits: list[list[int]]) -> None:
    works = [
        Workload.model_validate({"name": f"w{i}", "class": "batch", "after": [f"w{j}" for j in before]})
        for i, before in enumerate(waits)
    ]
    order, by_name = order_of(works), {w.name: w for w in works}
    for name, rank in order.ranks.items():
        before = [one for one in by_name[name].after if one in by_name]
        assert rank == max((order.ranks[one] + 1 for one in before), default=0)
    for circle in order.circles:
        assert all(follower in by_name[name].after for name, follower in zip(circle, (*circle[1:], circle[0]), strict=True))
    held_up = {w.name for w in works} - set(order.ranks)
    assert bool(held_up) == bool(order.circles)
    assert all(any(one in held_up for one in by_name[name].after) for name in held_up)


def test_a_long_row_is_ordered_as_well() -> None:
    works = [
        Workload.model_validate({"name": f"w{i}", "class": "batch", "after": [f"w{i - 1}"] if i else []}) for i in range(3000)
    ]
    assert order_of(list(reversed(works))).ranks["w2999"] == 2999
