"""The main screen as it is seen. Look at a picture before it is accepted."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from textual.app import App

from tests.fixtures.snapshots import MADE
from tests.widgets.stage import main_screen

Compare = Callable[..., bool]
MOMENTS = (
    "nothing",
    "planned",
    "preparing",
    "shifting",
    "soaking",
    "breach",
    "rolling_back",
    "rolled_back",
    "rollback_blocked",
    "silent_hosts",
    "hostile",
)


def seen(moment: str, theme: str = "cutover-dark", *, ascii_only: bool = False) -> App[None]:
    """The main screen at this moment."""
    return main_screen(MADE[moment](), theme, ascii_only=ascii_only)


@pytest.mark.parametrize("moment", MOMENTS)
def test_the_main_screen_at_the_least_size(moment: str, snap_compare: Compare) -> None:
    assert snap_compare(seen(moment), terminal_size=(80, 24))


@pytest.mark.parametrize("moment", ["soaking", "breach", "fleet"])
def test_the_main_screen_on_a_large_terminal(moment: str, snap_compare: Compare) -> None:
    assert snap_compare(seen(moment), terminal_size=(200, 60))


def test_the_main_screen_between(snap_compare: Compare) -> None:
    assert snap_compare(seen("soaking"), terminal_size=(120, 40))


@pytest.mark.parametrize("theme", ["cutover-light", "cutover-16", "cutover-colourblind"])
def test_the_main_screen_in_every_theme(theme: str, snap_compare: Compare) -> None:
    assert snap_compare(seen("breach", theme), terminal_size=(80, 24))


def test_the_main_screen_in_ascii(snap_compare: Compare) -> None:
    assert snap_compare(seen("breach", "cutover-16", ascii_only=True), terminal_size=(80, 24))
