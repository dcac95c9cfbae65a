"""Every key that looks, at 80x24 and 200x60, on a made engine."""

from __future__ import annotations

import pytest
from textual import events
from textual.command import CommandPalette
from textual.widgets import Input

from console.keymap import SCREENS
from console.screens.detail import DetailDialog
from console.screens.help import HelpDialog, help_text
from tests.console.console_pilot import SIZES, app_of, opened, shows, text_of, type_in, until
from tests.console.link import MadeLink
from tests.fixtures.snapshots import EVIL, MADE, soaking
from widgets.listing import ListPanel

TITLES = {
    "transfer": "gs://corp-corpus/v3/",
    "gpus": "8 × A100-SXM4-40GB",
    "validation": "chat-latency",
    "traffic": "legacy / target",
    "hosts": "550.90.07",
    "plan": "/home/ops/chat-2026.yaml",
    "events": "engine started, pid 4711",
}


@pytest.mark.parametrize("size", SIZES)
async def test_each_number_shows_its_screen_and_esc_leads_back(size: tuple[int, int]) -> None:
    async with opened(MadeLink(soaking()), size) as pilot:
        for screen in SCREENS[1:]:
            await pilot.press(str(screen.number))
            assert app_of(pilot).current_mode == screen.mode
            await shows(pilot, "chat-2026", "ROLLBACK READY", "R ROLLBACK", TITLES[screen.mode])
        await pilot.press("escape")
        assert app_of(pilot).current_mode == "plan"
        for _ in SCREENS:
            await pilot.press("escape")
        assert app_of(pilot).current_mode == "overview"


@pytest.mark.parametrize("size", SIZES)
async def test_the_main_screen_shows_all_that_matters_without_a_key(size: tuple[int, int]) -> None:
    async with opened(MadeLink(soaking()), size) as pilot:
        await shows(pilot, "chat-2026", "soaking 25 %", "ROLLBACK READY", "42 s", "gap 3 objects", "legacy ok")
        await shows(pilot, "traffic", "triggers", "transfer", "93.1 %", "GPUs: 8 legacy, 8 target", "validation: loss")
        await shows(pilot, "chat 10 → 25 % confirmed", "A advance", "H hold", "R ROLLBACK", "? help", "^P", "q leave")
        assert "waiting for the engine" not in text_of(pilot)


async def test_enter_opens_the_screen_of_the_focused_panel() -> None:
    async with opened(MadeLink(soaking())) as pilot:
        pilot.app.screen.query_one("#transfer").focus()
        await pilot.press("enter")
        assert app_of(pilot).current_mode == "transfer"


async def test_enter_in_a_list_opens_what_is_under_the_cursor() -> None:
    async with opened(MadeLink(soaking())) as pilot:
        await pilot.press("2")
        await shows(pilot, "gs://corp-corpus/v3/")
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, DetailDialog))
        await shows(pilot, "transfer: checkpoints", "ssh://gcp-a1/mnt/ckpt/", "310 GiB")
        await pilot.press("y", "escape")
        assert "target: ssh://lam-b1/mnt/ckpt/" in pilot.app.clipboard
        assert app_of(pilot).current_mode == "transfer"


async def test_a_filter_is_typed_kept_and_cleared() -> None:
    async with opened(MadeLink(soaking())) as pilot:
        await pilot.press("8", "slash")
        await type_in(pilot, "gate")
        table = pilot.app.screen.query_one(ListPanel)
        await until(pilot, lambda: table.filter == "gate")
        await shows(pilot, "gate staging passed", "1 of 7")
        await pilot.press("enter")
        assert pilot.app.focused is table
        await pilot.press("escape")
        assert table.filter == ""
        assert app_of(pilot).current_mode == "events", "the first Esc only clears the filter"
        await pilot.press("escape")
        assert app_of(pilot).current_mode == "overview"


async def test_s_sorts_by_the_next_column_and_y_says_what_it_copied() -> None:
    async with opened(MadeLink(soaking())) as pilot:
        await pilot.press("6", "s")
        await shows(pilot, "sorted by name")
        await pilot.press("y")
        await shows(pilot, "copied: 10.0.0.11")
        assert pilot.app.clipboard == "10.0.0.11"


async def test_y_on_the_main_screen_copies_how_ready_rollback_is() -> None:
    async with opened(MadeLink(soaking())) as pilot:
        await pilot.press("y")
        assert pilot.app.clipboard.startswith("✓ ROLLBACK READY  42 s to safe")


async def test_list_keys_on_a_screen_without_a_list_say_so() -> None:
    async with opened(MadeLink(soaking())) as pilot:
        await pilot.press("slash")
        await shows(pilot, "no list to filter on this screen")
        await pilot.press("s")
        await shows(pilot, "no list to sort on this screen")


async def test_help_shows_the_keys_and_the_palette_every_action_with_its_key() -> None:
    async with opened(MadeLink(soaking()), (100, 60)) as pilot:
        await pilot.press("question_mark")
        await until(pilot, lambda: isinstance(pilot.app.screen, HelpDialog))
        await shows(pilot, "capital letters act", "typing the migration's name does it", "the engine goes on")
        await pilot.press("escape", "ctrl+p")
        await until(pilot, lambda: isinstance(pilot.app.screen, CommandPalette))
        await shows(pilot, "ROLLBACK  [R]", "advance  [A]")
        pilot.app.screen.query_one(Input).value = "theme light"
        await shows(pilot, "theme cutover-light")
        await pilot.press("down", "enter")
        await until(pilot, lambda: pilot.app.theme == "cutover-light")


async def test_help_breaks_its_words_under_themselves_and_says_that_there_is_more() -> None:
    async with opened(MadeLink(soaking())) as pilot:
        await pilot.press("question_mark")
        await shows(pilot, "acts", "PgDn more · Esc back")
        seen = text_of(pilot)
        await pilot.press("pagedown", "pagedown")
        await shows(pilot, "Esc", "back to where you came from")
        assert "PgDn more" in seen
    for width in (50, 70, 104):
        lines = help_text(in_list=True, width=width).splitlines()
        assert all(len(line) <= width for line in lines)
        assert "acts" in lines
        assert not [line for line in lines if line and line[0].islower() and line not in ("acts", "screens", "here", "hands")]


async def test_q_leaves_with_a_good_exit_code() -> None:
    link = MadeLink(soaking())
    async with opened(link) as pilot:
        await pilot.press("q")
        await until(pilot, lambda: not pilot.app.is_running)
    assert app_of(pilot).return_value == 0
    assert link.closed
    assert link.ordered == []


async def test_a_resize_keeps_everything_in_its_place() -> None:
    async with opened(MadeLink(soaking()), (200, 60)) as pilot:
        for size in (*SIZES, (120, 40), (40, 12), (80, 24)):
            await pilot.resize_terminal(*size)
            await until(pilot, lambda size=size: pilot.app.screen.size == size)
        lines = text_of(pilot).splitlines()
        assert "ROLLBACK READY" in lines[1]
        assert "R ROLLBACK" in lines[23]


async def test_strings_from_outside_show_as_text_on_every_screen() -> None:
    async with opened(MadeLink(MADE["hostile"]()), (200, 60)) as pilot:
        for key in "2345678r1":
            await pilot.press(key)
            await until(pilot, lambda: "\\x1b[31mb[red]c[/]\\n\\u202edd" in text_of(pilot))
            assert not set(text_of(pilot)) & set("\x1b\x07\u202e\u200b")
        await pilot.press("2", "enter")
        await shows(pilot, "\\x1b[31mb[red]c[/]")
    assert "\x1b" in EVIL


async def test_every_moment_of_a_migration_can_be_drawn_on_every_screen() -> None:
    link = MadeLink(soaking())
    async with opened(link) as pilot:
        for name, make in MADE.items():
            made = make()
            link.tell(made)
            await until(pilot, lambda made=made: app_of(pilot).view.snapshot is made)
            await pilot.press("7", "r", "1")
            assert "R ROLLBACK" in text_of(pilot), name


@pytest.mark.parametrize(("keys", "wanted"), [("6jj", 1), ("1626j", 1), ("3l", 1), ("6jk", 0)])
async def test_keys_typed_right_after_the_key_of_a_screen_are_not_lost(keys: str, wanted: int) -> None:
    async with opened(MadeLink(soaking())) as pilot:
        for key in keys:  # all at once, as a paste or a slow link brings them
            pilot.app.post_message(events.Key(key, key))
        await until(pilot, lambda: app_of(pilot).current_mode == ("gpus" if "3" in keys else "hosts"))
        await until(
            pilot, lambda: bool(pilot.app.screen.query(ListPanel)) and pilot.app.screen.query_one(ListPanel).cursor == wanted
        )


async def test_keys_typed_early_keep_their_order_and_leaving_waits_for_no_screen() -> None:
    async with opened(MadeLink(soaking())) as pilot:
        for key in "6/lam":
            pilot.app.post_message(events.Key("slash" if key == "/" else key, key))
        await until(pilot, lambda: bool(pilot.app.screen.query(Input)) and pilot.app.screen.query_one(Input).value == "lam")
    async with opened(MadeLink(soaking())) as pilot:
        for key in ("7", "ctrl+q"):
            pilot.app.post_message(events.Key(key, None))
        await until(pilot, lambda: pilot.app.return_value is not None)
        assert pilot.app.return_value == 0
