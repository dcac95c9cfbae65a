"""The main screen and the rollback preview, as pictures, at the least size and at a large one.

Look at what changed before it is accepted: `pytest tests/console/test_app_snapshots.py --snapshot-update`.
"""

from __future__ import annotations

from typing import Any

import pytest
from textual.pilot import Pilot

from console.app import CutoverApp
from console.screens.rollback_dialog import EvacuateDialog, RollbackDialog
from console.terminal import Terminal
from tests.console.console_pilot import ACTOR, SIZES, early, until
from tests.console.link import MadeLink, blocked_preview, evacuate_preview
from tests.fixtures.snapshots import legacy_died, soaking, two_persons

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
