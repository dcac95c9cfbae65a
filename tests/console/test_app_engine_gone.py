"""The engine goes and comes back: the console says so, keeps the last it heard, and offers to start it."""

from __future__ import annotations

from console.screens.modal import Dialog
from console.screens.rollback_dialog import RollbackDialog
from console.screens.start_dialog import StartDialog
from tests.console.console_pilot import app_of, opened, shows, text_of, until
from tests.console.link import MadeLink
from tests.fixtures.snapshots import soaking
from widgets.headline import HeadLine
from widgets.panel import Panel


async def test_a_lost_engine_is_told_and_the_last_snapshot_stays_dimmed() -> None:
    link = MadeLink(soaking())
    async with opened(link) as pilot:
        link.go()
        await shows(pilot, "ENGINE GONE", "`cutover up` brings it back")
        assert "93.1 %" in text_of(pilot)
        assert pilot.app.screen.query_one("#transfer", Panel).stale is not None
        await pilot.press("2")
        await shows(pilot, "ENGINE GONE", "corpus")
        link.come()
        await shows(pilot, "ROLLBACK READY", "the engine answers")
        assert pilot.app.screen.query_one("#list", Panel).stale is None


async def test_a_console_that_finds_no_engine_waits_for_it() -> None:
    link = MadeLink(soaking())
    link.go()
    async with opened(link) as pilot:
        await until(pilot, lambda: app_of(pilot).view.stale)
        await shows(pilot, "✗ ENGINE GONE  since", "`cutover up` brings it back")
        assert " old " not in text_of(pilot), "nothing was heard that could be old"
        link.come()
        await shows(pilot, "ROLLBACK READY")


async def test_no_act_is_offered_to_an_engine_that_is_gone() -> None:
    link = MadeLink(soaking())
    async with opened(link) as pilot:
        link.go()
        await until(pilot, lambda: app_of(pilot).view.stale)
        await pilot.press("A")
        await shows(pilot, "engine gone since")
        assert not isinstance(pilot.app.screen, Dialog)


async def test_r_starts_a_gone_engine_and_goes_on_to_the_preview() -> None:
    link = MadeLink(soaking())

    async def start() -> None:
        link.come()

    async with opened(link, start_engine=start) as pilot:
        link.go()
        await until(pilot, lambda: app_of(pilot).view.stale)
        await pilot.press("R")
        await until(pilot, lambda: isinstance(pilot.app.screen, StartDialog))
        await shows(pilot, "ROLLBACK needs the engine, and it is gone", "y starts it")
        await pilot.press("enter")
        assert not link.alive, "Enter alone starts nothing"
        await pilot.press("y")
        await until(pilot, lambda: isinstance(pilot.app.screen, RollbackDialog))
        await shows(pilot, "42 s expected")
        assert link.ordered == []


async def test_without_a_way_to_start_it_the_command_is_named() -> None:
    link = MadeLink(soaking())
    async with opened(link) as pilot:
        link.go()
        await until(pilot, lambda: app_of(pilot).view.stale)
        await pilot.press("R")
        await shows(pilot, "in a shell: cutover rollback chat-2026")
        await pilot.press("y", "escape")
        assert not isinstance(pilot.app.screen, Dialog)


async def test_an_engine_that_cannot_be_started_says_why() -> None:
    link = MadeLink(soaking())

    async def start() -> None:
        raise OSError("no space left on device")

    async with opened(link, start_engine=start) as pilot:
        link.go()
        await until(pilot, lambda: app_of(pilot).view.stale)
        await pilot.press("R", "y")
        await shows(pilot, "could not start it: no space left on device")


async def test_a_screen_that_is_taken_down_is_told_nothing() -> None:
    link = MadeLink(soaking())
    async with opened(link) as pilot:
        link.go()
        await until(pilot, lambda: app_of(pilot).view.stale)
        await pilot.app.screen.query_one(HeadLine).remove()
        app_of(pilot)._tick()
        assert app_of(pilot).view.stale
