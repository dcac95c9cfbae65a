"""The live check in the planning room: asked by a key, worked down, narrowed, asked again; at the least size and at a large one.

Look at what changed before it is accepted: `pytest tests/console/test_live_view.py --snapshot-update`.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.pilot import Pilot

from backends.errors import CouldNot
from backends.live.found import Found
from backends.live.look import Looked
from backends.live.scope import Scope
from backends.live.worklist import Filter, Worklist
from backends.plan.load import CheckedPlan, parse_plan
from console.live_view import LiveView
from console.planning import PlanningApp
from console.terminal import Terminal
from tests.fixtures.live_findings import FOUND, PLAN, looked, write_plan
from tests.widgets.stage import ASCII_PALETTE, PALETTE, assert_drawable
from widgets.live_findings import findings_head, live_detail, live_row, standing_row

SIZES = ((80, 24), (200, 60))
AT = datetime(2026, 11, 29, 14, 3, 11, tzinfo=UTC)
DARK = Terminal(theme="cutover-dark", mouse=False, ascii_only=False, no_colour=False)


class Made:
    """What is found, as the test says; `asked` are the scopes of each look."""

    def __init__(self) -> None:
        self.found = FOUND
        self.asked: list[Scope | None] = []
        self.let_go = asyncio.Event()
        self.let_go.set()
        self.error: CouldNot | None = None

    async def look(self, checked: CheckedPlan, scope: Scope | None) -> Looked:
        self.asked.append(scope)
        await self.let_go.wait()
        if self.error is not None:
            raise self.error
        return looked(checked, self.found)


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)  # the path is on the screen
    write_plan(Path("plan.yaml"))
    return Path("plan.yaml")


def room(path: Path, made: Made, terminal: Terminal = DARK) -> PlanningApp:
    return PlanningApp(path, terminal=terminal, live=LiveView(made.look, now=lambda: AT))


def text_of(pilot: Pilot[int]) -> str:
    return "\n".join(strip.text for sheet in pilot.app.query("Sheet") for strip in sheet._drawn)  # type: ignore[attr-defined]


async def shows(pilot: Pilot[int], *texts: str, not_: str = "") -> None:
    deadline = time.monotonic() + 20
    while not all(text in text_of(pilot) for text in texts) or (not_ and not_ in text_of(pilot)):
        assert time.monotonic() < deadline, text_of(pilot)
        await pilot.pause(0.01)


def pressed(*keys: str) -> Callable[[Pilot[int]], Any]:
    async def before(pilot: Pilot[int]) -> None:
        await pilot.press("4", "C")
        await shows(pilot, "asked 14:03:11")
        await pilot.press(*keys)

    return before


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("keys", [(), ("space", "down", "space", "down", "down", "o", "s", "s")], ids=["found", "narrowed"])
def test_the_list(snap_compare: Any, plan: Path, keys: tuple[str, ...], size: tuple[int, int]) -> None:
    assert snap_compare(room(plan, Made()), terminal_size=size, run_before=pressed(*keys))


def test_the_list_in_ascii_and_hostile_text_on_it(snap_compare: Any, plan: Path) -> None:
    terminal = Terminal(theme="cutover-16", mouse=False, ascii_only=True, no_colour=False)
    assert snap_compare(room(plan, Made(), terminal), terminal_size=(80, 24), run_before=pressed("t", "down"))


async def test_nobody_is_asked_before_the_operator_says_so(plan: Path) -> None:
    made = Made()
    async with room(plan, made).run_test(size=(80, 24)) as pilot:
        await pilot.press("C", "c", "space", "slash", "4")
        await shows(
            pilot, "neither side was asked", "C asks both sides now", "Nothing is changed but one small object", "space looked at"
        )
        assert made.asked == []
        await pilot.press("C")
        await shows(pilot, "asked 14:03:11", "4 hosts, 2 stores, 1 route in 3.4 s", "3 errors", "gpu_count", not_="neither side")
        assert made.asked == [None]


async def test_a_finding_is_worked_down_until_it_is_gone(plan: Path) -> None:
    made = Made()
    async with room(plan, made).run_test(size=(120, 30)) as pilot:
        await pilot.press("4", "C")
        await shows(pilot, "3 errors", "7 are there", "cure: the plan's count, or the instance")
        await pilot.press("space")
        await shows(pilot, "2 errors", "1 looked at", "cure: rights, keys")  # the cursor went on to the next one
        await pilot.press("up")
        made.found = tuple(f for f in FOUND if f.code != "gpu_count")
        made.let_go.clear()
        await pilot.press("c")
        await shows(pilot, "asking gpu_count again")
        await pilot.press("C")  # one at a time
        made.let_go.set()
        await shows(pilot, "1 gone", not_="asking")
        assert made.asked == [None, Scope(hosts=frozenset({"a1", "a2", "b1"}))]
        made.found = ()
        await pilot.press("C")
        await shows(pilot, "nothing is open", "8 gone")


async def test_the_list_is_narrowed_by_words_severity_and_side_and_esc_shows_all(plan: Path) -> None:
    async with room(plan, Made()).run_test(size=(120, 30)) as pilot:
        await pilot.press("4", "C")
        await shows(pilot, "store_denied", "route_unready")
        await pilot.press("slash", *"b2 q")
        await shows(pilot, 'shown: "b2 q"', "none of them is shown", not_="store_denied")
        await pilot.press("backspace", "backspace", "enter")
        await shows(pilot, 'shown: "b2"', "limits", "container_toolkit", not_="store_denied")
        await pilot.press("s")
        await shows(pilot, "shown: errors", "driver", not_="container_toolkit")
        await pilot.press("escape", "t")
        await shows(pilot, "shown: legacy", "gpu_health", not_="container_toolkit")
        await pilot.press("escape")
        await shows(pilot, "store_denied", "gpu_health", not_="shown:")


async def test_a_look_that_cannot_be_is_told_and_the_list_stays(plan: Path) -> None:
    made = Made()
    async with room(plan, made).run_test(size=(80, 24)) as pilot:
        await pilot.press("4", "C")
        await shows(pilot, "3 errors")
        made.error = CouldNot("no ssh_config there", hint="see ssh.config")
        await pilot.press("C")
        await shows(pilot, "no ssh_config there: see ssh.config", "3 errors")


async def test_a_plan_with_errors_is_not_asked_about(plan: Path) -> None:
    made = Made()
    plan.write_text(PLAN.replace("12 TB", "a lot"))
    async with room(plan, made).run_test(size=(80, 24)) as pilot:
        await pilot.press("4", "C")
        await shows(pilot, "the plan has errors: mend them first")
        assert made.asked == []


async def test_a_real_look_finds_and_a_recheck_sees_it_mended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing made: the very look of `check --live`, of trees and secrets on this machine."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "to").mkdir()
    path = Path("plan.yaml")
    path.write_text(
        "version: 1\nname: move\nlegacy: {provider: old}\ntarget: {provider: new}\n"
        f"stores: {{from: {{url: 'file://{tmp_path}/from/'}}, to: {{url: 'file://{tmp_path}/to/'}}}}\n"
        "datasets: [{name: data, from: from, to: to}]\n"
    )
    async with PlanningApp(path, terminal=DARK).run_test(size=(120, 30)) as pilot:
        await pilot.press("4", "C")
        await shows(pilot, "root_missing", "store from has no such folder", "1 error")
        (tmp_path / "from").mkdir()
        await pilot.press("c")
        await shows(pilot, "nothing is open", "1 gone")
        assert list((tmp_path / "to").iterdir()) == []


TEXT = st.text(max_size=60)


@given(st.integers(20, 220), st.sampled_from([PALETTE, ASCII_PALETTE]), TEXT, TEXT, TEXT)
def test_whatever_a_host_says_is_drawn_in_its_place(width: int, palette: Any, message: str, evidence: str, host: str) -> None:
    checked = parse_plan(PLAN, Path("plan.yaml"))
    assert checked.plan is not None
    one = Found("error", "code", message, evidence, message, ("stores", "new"), "target", host)
    worklist = Worklist().looked(checked.plan, looked(checked, (one,)), AT)
    [item] = worklist.items
    lines = [
        findings_head(palette, width),
        live_row(item, palette, width).strip(width),
        standing_row(worklist, Filter(words=message), palette, width).strip(width),
        *live_detail(item, evidence, palette, width, 8),
    ]
    assert_drawable(lines, width, 11)
