"""The GPU screen of small and large fleets, and a host's own screen, as they are seen. Look at a picture before it is accepted."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from textual.pilot import Pilot

from backends.errors import CouldNot
from backends.snapshot import HostView, Snapshot
from console.app import CutoverApp
from console.screens.gpus import GpusScreen
from console.screens.host import HostScreen
from console.terminal import Terminal
from tests.console import console_pilot
from tests.console.console_pilot import ACTOR, SIZES, app_of, early, shows, text_of, until
from tests.console.link import MadeLink
from tests.fixtures.fleets import bare_host, fleet_of, whole_host
from tests.fixtures.snapshots import EVIL, soaking
from widgets.host_whole import HostPanel

FLEETS: dict[str, Callable[[], Snapshot]] = {"few": soaking, "some": lambda: fleet_of(20), "many": fleet_of}


def made_app(snapshot: Snapshot, theme: str = "cutover-dark", *, ascii_only: bool = False) -> CutoverApp:
    terminal = Terminal(theme=theme, mouse=False, ascii_only=ascii_only, no_colour=False)
    return CutoverApp(link_to(snapshot), actor=ACTOR, terminal=terminal, clock=early)


def link_to(snapshot: Snapshot) -> MadeLink:
    link = MadeLink(snapshot)
    link.hosts = {host.name: host for host in (whole_host(), bare_host())}
    return link


async def gpus_open(pilot: Pilot[Any]) -> None:
    app = pilot.app
    assert isinstance(app, CutoverApp)
    await until(pilot, lambda: app.view.snapshot is not None)
    await pilot.press("3")
    await until(pilot, lambda: "by plan" in text_of(pilot))
    await pilot.press("down", "right")


def opens(name: str, *keys: str) -> Callable[[Pilot[Any]], Any]:
    """Opens this host's own screen, as an operator would: by filter and Enter."""

    async def open_host(pilot: Pilot[Any]) -> None:
        await gpus_open(pilot)
        screen = pilot.app.screen
        assert isinstance(screen, GpusScreen)
        assert screen.table is not None
        screen.table.filter = name
        await pilot.press("enter")
        await until(
            pilot, lambda: isinstance(pilot.app.screen, HostScreen) and pilot.app.screen.query_one(HostPanel).host is not None
        )
        await until(pilot, lambda: "asking the engine" not in text_of(pilot))
        await pilot.press(*keys)

    return open_host


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("fleet", FLEETS)
def test_the_gpu_screen(fleet: str, size: tuple[int, int], snap_compare: Any) -> None:
    assert snap_compare(made_app(FLEETS[fleet]()), terminal_size=size, run_before=gpus_open)


def test_the_gpu_screen_in_16_colours_and_ascii(snap_compare: Any) -> None:
    assert snap_compare(made_app(fleet_of(), "cutover-16", ascii_only=True), terminal_size=(80, 24), run_before=gpus_open)


@pytest.mark.parametrize("size", SIZES)
def test_the_screen_of_a_host(size: tuple[int, int], snap_compare: Any) -> None:
    assert snap_compare(made_app(fleet_of()), terminal_size=size, run_before=opens("lam-d15"))


def test_the_values_of_each_gpu_at_the_least_size(snap_compare: Any) -> None:
    assert snap_compare(made_app(fleet_of()), terminal_size=(80, 24), run_before=opens("lam-d15", "pagedown", "pagedown"))


def test_the_screen_of_a_host_in_16_colours_and_ascii(snap_compare: Any) -> None:
    assert snap_compare(made_app(fleet_of(), "cutover-16", ascii_only=True), terminal_size=(80, 24), run_before=opens("lam-d15"))


@pytest.mark.parametrize("size", SIZES)
async def test_a_host_that_tells_little_and_means_ill_is_drawn_too(size: tuple[int, int]) -> None:
    async with console_pilot.opened(link_to(fleet_of()), size) as pilot:
        await opens("lam-a00")(pilot)
        await shows(pilot, "late", "nothing heard yet", "nothing tells of the machine")
        await pilot.press("end")
        await shows(pilot, "the source does not tell of processes")
        assert not {"\x1b", "\u202e"} & set(text_of(pilot))
        assert EVIL not in text_of(pilot)


async def test_esc_leads_from_a_host_back_to_the_list_and_the_number_does_too() -> None:
    async with console_pilot.opened(link_to(fleet_of())) as pilot:
        await opens("lam-d15")(pilot)
        await pilot.press("y")
        assert pilot.app.clipboard == "10.1.3.15"
        await pilot.press("escape")
        assert isinstance(pilot.app.screen, GpusScreen)
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, HostScreen))
        await pilot.press("3")
        assert isinstance(pilot.app.screen, GpusScreen)
        assert app_of(pilot).current_mode == "gpus"


async def test_rollback_is_one_key_away_from_a_host_too() -> None:
    async with console_pilot.opened(link_to(fleet_of())) as pilot:
        await opens("lam-d15")(pilot)
        await pilot.press("R")
        await shows(pilot, "drain target's sessions")


async def test_the_hosts_list_opens_a_host_too() -> None:
    async with console_pilot.opened(link_to(soaking())) as pilot:
        await pilot.press("6")
        await shows(pilot, "550.90.07")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, HostScreen))
        await shows(pilot, "legacy: gcp-a1", "the past")


async def test_an_engine_that_does_not_know_the_host_is_quoted_and_what_the_snapshot_has_is_shown() -> None:
    link = link_to(fleet_of())

    async def gone(name: str) -> HostView:
        raise CouldNot(f"the plan has no host {name}")

    link.host = gone  # type: ignore[method-assign]
    async with console_pilot.opened(link) as pilot:
        await gpus_open(pilot)
        await pilot.press("enter")
        await shows(pilot, "the plan has no host", "asking the engine", "legacy: gcp-")
