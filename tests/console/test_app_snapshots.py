"""The main screen and the rollback preview, as pictures, at the least size and at a large one.

Look at what changed before it is accepted: `pytest tests/console/test_app_snapshots.py --snapshot-update`.
"""

from __future__ import annotations

from typing import Any

import pytest
from textual.pilot import Pilot

from console.app import CutoverApp
from console.screens.rollback_dialog import EvacuateDialog, RollbackDialog
from console.screens.sign_dialog import SignDialog
from console.terminal import Terminal
from tests.console.console_pilot import ACTOR, SIZES, early, until
from tests.console.link import MadeLink, blocked_preview, evacuate_preview
from tests.fixtures.plan_moments import lowered, proving, retiring
from tests.fixtures.snapshots import legacy_died, soaking, two_persons
from widgets.plan_gates import PlanGates

DARK = Terminal(theme="cutover-dark", mouse=False, ascii_only=False, no_colour=False)


def made_app(terminal: Terminal = DARK, link: MadeLink | None = None) -> CutoverApp:
    return CutoverApp(link or MadeLink(soaking()), actor=ACTOR, terminal=terminal, clock=early)


async def drawn(pilot: Pilot[Any]) -> None:
    app = pilot.app
    assert isinstance(app, CutoverApp)
    await until(pilot, lambda: app.view.snapshot is not None)


async def rollback_open(pilot: Pilot[Any]) -> None:
    await drawn(pilot)
    await pilot.press("R")
    screen = pilot.app.screen
    assert isinstance(screen, RollbackDialog)
    await until(pilot, lambda: screen.preview is not None)


@pytest.mark.parametrize("size", SIZES)
def test_main_screen(snap_compare: Any, size: tuple[int, int]) -> None:
    assert snap_compare(made_app(), terminal_size=size, run_before=drawn)


@pytest.mark.parametrize("size", SIZES)
def test_rollback_preview(snap_compare: Any, size: tuple[int, int]) -> None:
    assert snap_compare(made_app(), terminal_size=size, run_before=rollback_open)


def legacy_gone() -> MadeLink:
    link = MadeLink(legacy_died())
    link.previews = lambda command, args: evacuate_preview() if command == "evacuate" else blocked_preview()
    return link


async def evacuation_open(pilot: Pilot[Any]) -> None:
    await rollback_open(pilot)
    await pilot.press("ctrl+t")
    await until(pilot, lambda: isinstance(pilot.app.screen, EvacuateDialog))
    screen = pilot.app.screen
    assert isinstance(screen, EvacuateDialog)
    await until(pilot, lambda: screen.preview is not None)


@pytest.mark.parametrize("size", SIZES)
def test_a_blocked_rollback_offers_the_evacuation(snap_compare: Any, size: tuple[int, int]) -> None:
    assert snap_compare(made_app(link=legacy_gone()), terminal_size=size, run_before=rollback_open)


@pytest.mark.parametrize("size", SIZES)
def test_evacuation_preview(snap_compare: Any, size: tuple[int, int]) -> None:
    assert snap_compare(made_app(link=legacy_gone()), terminal_size=size, run_before=evacuation_open)


@pytest.mark.parametrize("size", SIZES)
def test_an_approval_and_an_override_are_seen_on_the_main_screen(snap_compare: Any, size: tuple[int, int]) -> None:
    assert snap_compare(made_app(link=MadeLink(two_persons())), terminal_size=size, run_before=drawn)


async def plan_open(pilot: Pilot[Any]) -> None:
    await drawn(pilot)
    await pilot.press("7")
    await until(pilot, lambda: bool(pilot.app.screen.query(PlanGates)))
    await pilot.pause()


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("moment", [proving, lowered, retiring])
def test_the_plan_with_what_is_proven_signed_lifted_and_left(snap_compare: Any, moment: Any, size: tuple[int, int]) -> None:
    assert snap_compare(made_app(link=MadeLink(moment())), terminal_size=size, run_before=plan_open)


@pytest.mark.parametrize("size", SIZES)
def test_what_lowers_the_way_back_is_seen_on_the_main_screen(snap_compare: Any, size: tuple[int, int]) -> None:
    assert snap_compare(made_app(link=MadeLink(lowered())), terminal_size=size, run_before=drawn)


async def sign_open(pilot: Pilot[Any]) -> None:
    await plan_open(pilot)
    panel = pilot.app.screen.query_one(PlanGates)
    panel.move_to([e.key for e in panel.shown()].index("checklist on-call-told"))
    await pilot.press("S")
    screen = pilot.app.screen
    assert isinstance(screen, SignDialog)
    await until(pilot, lambda: screen.preview is not None)


@pytest.mark.parametrize("size", SIZES)
def test_sign_dialog(snap_compare: Any, size: tuple[int, int]) -> None:
    assert snap_compare(made_app(link=MadeLink(proving())), terminal_size=size, run_before=sign_open)
