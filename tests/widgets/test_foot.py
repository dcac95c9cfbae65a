from __future__ import annotations

from dataclasses import replace

import pytest
from textual import on

from tests.widgets.stage import ENTRIES, Stage
from widgets.foot import FootBar, FootButton, fitting_entries


class Hearing(Stage):
    """Remembers what was pressed."""

    @on(FootBar.Pressed)
    def _pressed(self, message: FootBar.Pressed) -> None:
        self.heard.append(message.action)


def foot() -> FootBar:
    bar = FootBar()
    bar.entries = ENTRIES
    return bar


def test_all_entries_fit_in_eighty_columns() -> None:
    assert [entry for entry, _ in fitting_entries(ENTRIES, 80)] == list(ENTRIES)


@pytest.mark.parametrize("width", [10, 30, 40, 60])
def test_rollback_is_never_left_out(width: int) -> None:
    shown = fitting_entries(ENTRIES, width)
    assert any(words == "R ROLLBACK" for _, words in shown)
    assert {"help", "quit"} <= {entry.action for entry, _ in shown}


async def test_rollback_is_reached_by_tab_and_pressed_by_enter() -> None:
    app = Hearing(foot())
    async with app.run_test(size=(80, 4)) as pilot:
        for _ in range(3):
            await pilot.press("tab")
        focused = app.focused
        assert isinstance(focused, FootButton)
        assert focused.entry.action == "rollback"
        await pilot.press("enter")
    assert app.heard == ["rollback"]


async def test_buttons_are_pressed_by_the_mouse_but_not_where_they_do_not_apply() -> None:
    app = Hearing(foot())
    async with app.run_test(size=(80, 4)) as pilot:
        buttons = {button.entry.action: button for button in app.query(FootButton)}
        await pilot.click(buttons["hold"])
        await pilot.click(buttons["filter"])
    assert app.heard == ["hold"]


async def test_the_focus_stays_when_an_entry_changes() -> None:
    bar = foot()
    app = Hearing(bar)
    async with app.run_test(size=(80, 4)) as pilot:
        await pilot.press("tab", "tab", "tab")
        bar.entries = (replace(ENTRIES[0], enabled=False), *ENTRIES[1:])
        await pilot.pause()
        focused = app.focused
        assert isinstance(focused, FootButton)
        assert focused.entry.action == "rollback"
        bar.entries = ENTRIES[1:]
        await pilot.pause()
        assert isinstance(app.focused, FootButton)
        assert app.focused.entry.action == "rollback"
