"""A list that is worked down: what stays open, what was looked at, what a new look no longer finds."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from backends.live.found import Found
from backends.live.look import Looked
from backends.live.scope import Scope, scope_of
from backends.live.worklist import Filter, Worklist
from backends.plan.load import CheckedPlan, parse_plan
from backends.plan.models import Plan
from tests.fixtures.live_findings import FOUND, PLAN, looked

AT = datetime(2026, 11, 29, 14, 3, 11, tzinfo=UTC)
LATER = AT + timedelta(minutes=5)


@pytest.fixture
def checked() -> CheckedPlan:
    return parse_plan(PLAN, Path("plan.yaml"))


@pytest.fixture
def plan(checked: CheckedPlan) -> Plan:
    assert checked.plan is not None
    return checked.plan


def key_of(worklist: Worklist, code: str) -> str:
    [key] = [i.found.key for i in worklist.items if i.found.problem.code == code]
    return key


def standings(worklist: Worklist) -> dict[str, str]:
    return {i.found.problem.code: i.standing for i in worklist.items}


def without(*codes: str) -> tuple[Found, ...]:
    return tuple(f for f in FOUND if f.code not in codes)


def test_a_mark_stays_while_the_same_is_seen_and_goes_when_it_has_changed(checked: CheckedPlan, plan: Plan) -> None:
    first = Worklist().looked(plan, looked(checked), AT)
    assert set(standings(first).values()) == {"open"}
    marked = first.marked(key_of(first, "gpu_count")).marked(key_of(first, "limits"))
    assert standings(marked.looked(plan, looked(checked), LATER))["gpu_count"] == "looked at"
    worse = tuple(replace(f, evidence="6 are there") if f.code == "gpu_count" else f for f in FOUND)
    again = marked.looked(plan, looked(checked, worse), LATER)
    assert (standings(again)["gpu_count"], standings(again)["limits"]) == ("open", "looked at")
    assert standings(marked.marked(key_of(first, "limits")))["limits"] == "open"


def test_what_a_new_look_does_not_find_is_gone_and_open_again_when_it_is_back(checked: CheckedPlan, plan: Plan) -> None:
    first = Worklist().looked(plan, looked(checked), AT)
    second = first.looked(plan, looked(checked, without("gpu_count")), LATER)
    assert standings(second)["gpu_count"] == "gone"
    assert second.items[-1].found.problem.code == "gpu_count"
    assert second.marked(key_of(second, "gpu_count")) == second
    third = second.looked(plan, looked(checked), LATER)
    assert standings(third)["gpu_count"] == "open"


def test_who_does_not_answer_has_not_been_mended(checked: CheckedPlan, plan: Plan) -> None:
    first = Worklist().looked(plan, looked(checked), AT)
    silent = looked(checked, without("gpu_count", "limits", "store_denied"), silent=frozenset({"b1"}))
    again = first.looked(plan, silent, LATER)
    found = {i.found.problem.code: i for i in again.items}
    assert (found["gpu_count"].standing, found["gpu_count"].unanswered, found["gpu_count"].asked_at) == ("open", True, AT)
    assert (found["limits"].standing, found["store_denied"].standing) == ("gone", "gone")


def test_a_recheck_tells_of_all_that_comes_from_what_was_asked_and_of_nothing_else(checked: CheckedPlan, plan: Plan) -> None:
    first = Worklist().looked(plan, looked(checked), AT)
    [count] = [i.found for i in first.items if i.found.problem.code == "gpu_count"]
    new = Found("error", "clock", "has a clock that is ahead of ours", "+9 s", "chrony", ("target", "hosts", 0), "target", "b1")
    other = Found("error", "store_silent", "store old does not answer", "", "network", ("stores", "old"), "legacy")
    seen = looked(checked, (new, other, *(f for f in FOUND if f.host == "b1" and f.code == "driver")))
    again = first.looked(plan, seen, LATER, scope_of(plan, count))
    now = standings(again)
    assert {c for c, s in now.items() if s == "gone"} == {
        "gpu_count",
        "os",
        "gpu_health",
    }  # of b1, and of legacy's host beside it
    assert now["clock"] == "open"
    assert "store_silent" not in now
    assert {c: s for c, s in now.items() if c in ("limits", "store_denied", "route_unready")} == dict.fromkeys(
        ("limits", "store_denied", "route_unready"), "open"
    )
    driver = {i.found.hosts for i in again.items if i.found.problem.code == "driver"}
    assert driver == {("b1", "b2")}  # b2 was not asked
    both = next(i.found for i in again.items if i.found.problem.code == "driver")
    half = looked(checked, tuple(f for f in FOUND if f.code == "driver" and f.host == "b2"))
    [item] = [i for i in again.looked(plan, half, LATER, scope_of(plan, both)).items if i.found.problem.code == "driver"]
    assert (item.standing, item.found.hosts, item.asked_at) == ("open", ("b2",), LATER)


def test_a_filter_is_of_severity_side_host_and_any_word(checked: CheckedPlan, plan: Plan) -> None:
    all_ = Worklist().looked(plan, looked(checked), AT)

    def shown(by: Filter) -> set[str]:
        return {i.found.problem.code for i in all_.shown(by)}

    assert shown(Filter(severity="note")) == {"os"}
    assert shown(Filter(side="legacy")) == {"gpu_health"}
    assert shown(Filter(side="neither")) == {"route_unready"}
    assert shown(Filter(words="b2 warning")) == {"limits", "container_toolkit"}
    assert shown(Filter(words="B2", severity="error")) == {"driver"}
    assert {i.found.problem.code for i in all_.marked(key_of(all_, "os")).shown(Filter(severity="note", only_open=True))} == set()


def test_a_recheck_asks_what_the_finding_came_from(checked: CheckedPlan, plan: Plan) -> None:
    def asked(code: str) -> Scope:
        [found] = [p for p in looked(checked).problems if p.problem.code == code]
        return scope_of(plan, found)

    assert asked("gpu_count") == Scope(hosts=frozenset({"b1", "a1", "a2"}))
    assert asked("gpu_health") == Scope(hosts=frozenset({"a2"}))
    assert asked("store_denied") == Scope(stores=frozenset({"new"}))
    assert asked("route_unready") == Scope(routes=frozenset({0}))
    quota = Found("error", "quota", "quota gpus grants too little", "16, 32 are needed", "ask for more", ("quotas", 1), "target")
    assert scope_of(plan, looked(checked, (quota,)).problems[0]) == Scope(quotas=frozenset({1}))


def test_a_tree_over_ssh_is_asked_of_its_host() -> None:
    checked = parse_plan(PLAN.replace('"s3://new/"', '"ssh://b1/data/"'), Path("plan.yaml"))
    assert checked.plan is not None
    [found] = [p for p in looked(checked).problems if p.problem.code == "store_denied"]
    assert scope_of(checked.plan, found) == Scope(stores=frozenset({"new"}), hosts=frozenset({"b1"}))


CHECKED = parse_plan(PLAN, Path("plan.yaml"))


@cache
def seen(without_code: str) -> Looked:
    """Read once: a look goes through the whole plan for its places."""
    return looked(CHECKED, without(without_code))


@given(st.lists(st.tuples(st.sampled_from(FOUND), st.sampled_from(["mark", "look", "recheck"]), st.booleans()), max_size=12))
def test_whatever_is_done_nothing_is_lost_and_only_a_look_makes_a_finding_go(steps: list[tuple[Found, str, bool]]) -> None:
    assert CHECKED.plan is not None
    worklist = Worklist().looked(CHECKED.plan, seen(""), AT)
    keys = {i.found.key for i in worklist.items}
    for found, what, is_there in steps:
        key = key_of(worklist, found.code)
        result = seen("" if is_there else found.code)
        before = standings(worklist)
        if what == "mark":
            worklist = worklist.marked(key)
            assert (standings(worklist)[found.code] == "gone") == (before[found.code] == "gone")
        else:
            one = next(i.found for i in worklist.items if i.found.key == key)
            worklist = worklist.looked(CHECKED.plan, result, LATER, None if what == "look" else scope_of(CHECKED.plan, one))
            assert (standings(worklist)[found.code] == "gone") is not is_there
        assert {i.found.key for i in worklist.items} == keys
