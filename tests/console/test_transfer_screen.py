"""The transfer screen as it is seen, at the least size and at a large one. Look at a picture before it is accepted."""

from __future__ import annotations

from typing import Any

import pytest
from textual.pilot import Pilot

from console.app import CutoverApp
from console.terminal import Terminal
from tests.console.console_pilot import ACTOR, SIZES, early, until
from tests.console.link import MadeLink
from tests.fixtures.transfers import transferring


def made_app(theme: str = "cutover-dark", *, ascii_only: bool = False) -> CutoverApp:
    terminal = Terminal(theme=theme, mouse=False, ascii_only=ascii_only, no_colour=False)
    return CutoverApp(MadeLink(transferring()), actor=ACTOR, terminal=terminal, clock=early)


async def opened(pilot: Pilot[Any]) -> None:
    app = pilot.app
    assert isinstance(app, CutoverApp)
    await until(pilot, lambda: app.view.snapshot is not None)
    await pilot.press("2")


@pytest.mark.parametrize("size", SIZES)
def test_the_transfer_screen(size: tuple[int, int], snap_compare: Any) -> None:
    assert snap_compare(made_app(), terminal_size=size, run_before=opened)


def test_the_transfer_screen_in_16_colours_and_ascii(snap_compare: Any) -> None:
    assert snap_compare(made_app("cutover-16", ascii_only=True), terminal_size=(80, 24), run_before=opened)
