"""The rollback preview and its confirmation, by keys, with only the engine made."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest
from textual import events

from backends.errors import CouldNot, RefusedByRule
from backends.snapshot import Health, PreviewView, RunView, Snapshot, State, StepView
from console.screens.modal import TypedInput
from console.screens.rollback_dialog import RollbackDialog
from tests.console.console_pilot import SIZES, Pilots, app_of, opened, shows, text_of, type_in, until
from tests.console.link import STEPS, MadeLink, blocked_preview, evacuate_preview, rollback_preview
from tests.fixtures.snapshots import AT, legacy_died, rollback_blocked, rolled_back, soaking


def dialog_of(pilot: Pilots) -> RollbackDialog:
    assert isinstance(pilot.app.screen, RollbackDialog)
    return pilot.app.screen


async def open_dialog(pilot: Pilots) -> RollbackDialog:
    await pilot.press("R")
    await until(pilot, lambda: isinstance(pilot.app.screen, RollbackDialog) and dialog_of(pilot).preview is not None)
    dialog = dialog_of(pilot)
    await until(pilot, lambda: dialog.guard.admits(time.monotonic()))
    return dialog


def short() -> Snapshot:
    """The made moment under a name that is quick to type."""
    return soaking().model_copy(update={"name": "c1"})


class PreviewChanged(RefusedByRule):
    code = "preview_changed"

    def __init__(self) -> None:
        super().__init__("PREVIEW", "the world is not what was previewed")


@pytest.mark.parametrize("size", SIZES)
async def test_the_preview_shows_the_executors_own_steps_the_gap_and_the_seconds(size: tuple[int, int]) -> None:
    async with opened(MadeLink(soaking()), size) as pilot:
        await open_dialog(pilot)
        await shows(pilot, "ROLLBACK chat-2026", "42 s expected", "gap 3 objects 1.20 MiB", STEPS[0].text, STEPS[3].text)
        assert "Enter alone is never yes" in text_of(pilot)


async def test_r_opens_the_preview_from_every_screen() -> None:
    async with opened(MadeLink(soaking())) as pilot:
        for key in ("1", "2", "3", "4", "5", "6", "7", "8", "r", "question_mark"):
            await pilot.press(key, "R")
            assert isinstance(pilot.app.screen, RollbackDialog), key
            await pilot.press("escape")


async def test_the_name_typed_by_hand_orders_exactly_what_was_previewed() -> None:
    link = MadeLink(soaking())
    async with opened(link) as pilot:
        await open_dialog(pilot)
        await type_in(pilot, "chat-2026")
        await pilot.press("enter")
        await until(pilot, lambda: bool(link.ordered))
        name, args = link.ordered[0]
        assert name == "rollback"
        assert {k: args[k] for k in ("mode", "confirm", "preview_hash", "accept_unknown")} == {
            "mode": "graceful",
            "confirm": "chat-2026",
            "preview_hash": "h1",
            "accept_unknown": False,
        }
        await until(pilot, lambda: app_of(pilot).current_mode == "run")


async def test_enter_alone_is_never_yes() -> None:
    link = MadeLink(short())
    async with opened(link) as pilot:
        await open_dialog(pilot)
        await pilot.press("enter", "enter", "space", "enter")
        await shows(pilot, "Enter alone is never yes")
        assert link.ordered == []
        assert isinstance(pilot.app.screen, RollbackDialog)


async def test_another_text_than_the_name_is_not_a_yes() -> None:
    link = MadeLink(short())
    async with opened(link) as pilot:
        dialog = await open_dialog(pilot)
        for text in ("c", "c2", "C1", "yes", "c1 accept-unknown"):
            dialog.query_one(TypedInput).value = text
            await pilot.press("enter")
            await shows(pilot, "not done: that is not c1")
        assert link.ordered == []


async def test_pasted_text_is_refused_and_the_dialog_says_so() -> None:
    link = MadeLink(short())
    async with opened(link) as pilot:
        dialog = await open_dialog(pilot)
        app_of(pilot).copy_to_clipboard("chat-2026")
        pilot.app.post_message(events.Paste("chat-2026"))
        await shows(pilot, "pasted text is refused")
        await pilot.press("ctrl+v", "enter")
        await shows(pilot, "Enter alone is never yes")
        assert dialog.query_one(TypedInput).value == ""
        assert link.ordered == []


async def test_keys_typed_before_the_dialog_was_painted_are_dropped() -> None:
    link = MadeLink(short())
    async with opened(link, clock=lambda: time.monotonic() + 3600) as pilot:
        await pilot.press("R")
        await until(pilot, lambda: isinstance(pilot.app.screen, RollbackDialog) and dialog_of(pilot).preview is not None)
        await type_in(pilot, "c1")
        await pilot.press("enter")
        assert dialog_of(pilot).query_one(TypedInput).value == ""
        assert link.ordered == []
        await pilot.press("escape")
        assert not isinstance(pilot.app.screen, RollbackDialog), "Esc always leaves"


async def test_keys_typed_together_with_r_do_nothing_on_the_screen_below() -> None:
    link = MadeLink(short())
    async with opened(link, clock=lambda: time.monotonic() + 3600) as pilot:
        await pilot.press("R", "q", "2", "A")
        assert isinstance(pilot.app.screen, RollbackDialog)
        assert app_of(pilot).current_mode == "overview"


async def test_a_changed_world_shows_the_new_preview_and_asks_again() -> None:
    link = MadeLink(short())
    link.answers = [PreviewChanged()]
    async with opened(link) as pilot:
        await open_dialog(pilot)
        link.previews = lambda command, args: rollback_preview(hash="h2", steps=(*STEPS, StepView(text="hand jobs back")))
        await type_in(pilot, "c1")
        await pilot.press("enter")
        await shows(pilot, "the world changed, look again: now: hand jobs back", "type c1 and Enter")
        assert len(link.ordered) == 1
        await pilot.press("enter")
        await shows(pilot, "Enter alone is never yes")
        await type_in(pilot, "c1")
        await pilot.press("enter")
        await until(pilot, lambda: len(link.ordered) == 2)
        assert link.ordered[1][1]["preview_hash"] == "h2"


async def test_a_snapshot_of_another_world_asks_again_before_anything_is_confirmed() -> None:
    link = MadeLink(short())
    async with opened(link) as pilot:
        dialog = await open_dialog(pilot)
        await type_in(pilot, "c")
        link.previews = lambda command, args: rollback_preview(hash="h2", steps=STEPS[1:])
        routes = tuple(r.model_copy(update={"desired": 50}) for r in soaking().routes)
        link.tell(short().model_copy(update={"routes": routes}))
        await shows(pilot, "the world changed, look again: no longer: legacy alive")
        assert dialog.query_one(TypedInput).value == ""


async def test_figures_that_move_do_not_disturb_the_hand() -> None:
    link = MadeLink(short())
    async with opened(link) as pilot:
        dialog = await open_dialog(pilot)
        await type_in(pilot, "c")
        link.tell(short().model_copy(update={"at": AT + timedelta(seconds=1), "seq": 900}))
        await until(pilot, lambda: app_of(pilot).view.snapshot is not None and app_of(pilot).view.snapshot.seq == 900)
        assert dialog.query_one(TypedInput).value == "c"
        assert len(link.asked) == 1


async def test_the_mode_is_switched_by_key_and_by_button_and_previewed_anew() -> None:
    link = MadeLink(short())
    async with opened(link) as pilot:
        dialog = await open_dialog(pilot)
        await pilot.press("ctrl+e")
        await shows(pilot, "emergency · 42 s expected")
        assert link.asked[-1][1]["mode"] == "emergency"
        await pilot.click("#graceful")
        await shows(pilot, "graceful · 42 s expected")
        await pilot.press("ctrl+e")
        await shows(pilot, "emergency · 42 s expected")
        await until(pilot, lambda: dialog.guard.admits(time.monotonic()))
        await type_in(pilot, "c1")
        await pilot.press("enter")
        await until(pilot, lambda: bool(link.ordered))
        assert link.ordered[0][1]["mode"] == "emergency"


async def test_a_legacy_that_cannot_be_seen_is_accepted_only_by_typing_it() -> None:
    blind = soaking().rollback.model_copy(update={"legacy": Health.UNKNOWN, "ready": False})
    link = MadeLink(short().model_copy(update={"rollback": blind}))
    link.previews = lambda command, args: rollback_preview(
        allowed=bool(args["accept_unknown"]), refused_by="SR3", reason="legacy was last seen 71 s ago"
    )
    async with opened(link) as pilot:
        dialog = await open_dialog(pilot)
        await shows(pilot, "refused by SR3: legacy was last seen 71 s ago", "^U accepts that")
        await pilot.press("ctrl+u")
        await shows(pilot, "type c1 accept-unknown and Enter")
        await until(pilot, lambda: dialog.guard.admits(time.monotonic()))
        await type_in(pilot, "c1")
        await pilot.press("enter")
        await shows(pilot, "not done")
        assert link.ordered == []
        await type_in(pilot, " accept-unknown")
        await pilot.press("enter")
        await until(pilot, lambda: bool(link.ordered))
        assert link.ordered[0][1]["accept_unknown"] is True


async def test_a_refused_rollback_says_the_rule_what_is_seen_and_what_would_allow_it() -> None:
    link = MadeLink(rollback_blocked().model_copy(update={"name": "c1"}))
    link.previews = lambda command, args: PreviewView(
        command="rollback",
        allowed=False,
        refused_by="SR1",
        reason="legacy dead 41 s: connection refused",
        would_allow="legacy answers its probe",
    )
    async with opened(link) as pilot:
        await open_dialog(pilot)
        await shows(pilot, "refused by SR1: legacy dead 41 s", "what would allow it: legacy answers its probe")
        await type_in(pilot, "c1")
        await pilot.press("enter")
        assert link.ordered == []


async def test_a_refusal_at_the_last_moment_stays_on_the_screen() -> None:
    link = MadeLink(short())
    link.answers = [RefusedByRule("SR1", "no side would serve", hint="wait for legacy")]
    async with opened(link) as pilot:
        await open_dialog(pilot)
        await type_in(pilot, "c1")
        await pilot.press("enter")
        await shows(pilot, "SR1: no side would serve; wait for legacy")
        assert isinstance(pilot.app.screen, RollbackDialog)


async def test_a_preview_that_cannot_be_had_confirms_nothing() -> None:
    link = MadeLink(short())

    def no_preview(command: str, args: dict[str, object]) -> PreviewView:
        raise CouldNot("the engine does not answer")

    link.previews = no_preview
    async with opened(link) as pilot:
        await pilot.press("R")
        await shows(pilot, "no preview: the engine does not answer")
        await type_in(pilot, "c1")
        await pilot.press("enter")
        assert link.ordered == []


async def test_while_it_runs_the_steps_show_live_and_the_result_is_said_in_words() -> None:
    link = MadeLink(short())
    link.hold_answer = asyncio.Event()
    async with opened(link) as pilot:
        await open_dialog(pilot)
        await type_in(pilot, "c1")
        await pilot.press("enter")
        await until(pilot, lambda: bool(link.ordered))
        running = (STEPS[0].model_copy(update={"status": "confirmed"}), *STEPS[1:])
        run = RunView(kind="rollback", mode="graceful", actor="ops@bastion1", started_at=AT, steps=running)
        link.tell(short().model_copy(update={"run": run, "state": State.ROLLING_BACK}))
        await until(pilot, lambda: app_of(pilot).current_mode == "run")
        await shows(pilot, "rollback graceful by ops@bastion1", "step 2 of 4")
        link.tell(rolled_back().model_copy(update={"name": "c1"}))
        link.hold_answer.set()
        await shows(pilot, "rolled back: production is home on legacy, after 42 s", "chat 0 % on target (observed 0 %)")


async def test_tab_and_enter_on_the_button_open_the_preview_and_no_more() -> None:
    link = MadeLink(short())
    async with opened(link) as pilot:
        button = next(b for b in pilot.app.screen.query("FootButton") if b.has_class("-danger"))
        while pilot.app.focused is not button:
            await pilot.press("tab")
        await pilot.press("enter")
        await until(pilot, lambda: isinstance(pilot.app.screen, RollbackDialog))
        await pilot.press("enter", "enter")
        assert link.ordered == []


async def test_the_mouse_opens_the_preview_and_no_more() -> None:
    link = MadeLink(short())
    async with opened(link) as pilot:
        button = next(b for b in pilot.app.screen.query("FootButton") if b.has_class("-danger"))
        await pilot.click(button)
        await until(pilot, lambda: isinstance(pilot.app.screen, RollbackDialog))
        assert link.ordered == []


async def test_an_evacuation_is_confirmed_by_the_name_and_bound_to_its_preview() -> None:
    link = MadeLink(legacy_died())
    link.previews = lambda command, args: evacuate_preview() if command == "evacuate" else blocked_preview()
    async with opened(link) as pilot:
        await pilot.press("R")
        await shows(pilot, "legacy is dead: connection refused", "^T previews the evacuation")
        await pilot.press("ctrl+t")
        await shows(pilot, "EVACUATE chat-2026", "legacy alone holds stay there", "gap 2 objects 9.00 GiB")
        await pilot.press("enter")
        await shows(pilot, "Enter alone is never yes")
        await type_in(pilot, "chat-2026")
        await pilot.press("enter")
        await until(pilot, lambda: bool(link.ordered))
        name, args = link.ordered[0]
        assert (name, args["confirm"], args["preview_hash"]) == ("evacuate", "chat-2026", "e1")


async def test_while_legacy_lives_no_evacuation_is_offered() -> None:
    link = MadeLink(soaking())
    async with opened(link) as pilot:
        await pilot.press("E")
        await shows(pilot, "an evacuation is for a dead legacy and a living target")
        await pilot.press("R")
        await shows(pilot, "ROLLBACK chat-2026 to legacy")
        await pilot.press("ctrl+t")
        await pilot.pause()
        assert "^T previews" not in text_of(pilot)
        assert link.ordered == []


async def test_more_steps_are_told_of_only_where_there_are_more() -> None:
    link = MadeLink(soaking())
    async with opened(link, (200, 60)) as pilot:
        await open_dialog(pilot)
        await shows(pilot, "pasted text is refused · Esc back")
    many = rollback_preview("graceful").model_copy(update={"steps": rollback_preview("graceful").steps * 4})
    link.previews = lambda command, args: many
    async with opened(link) as pilot:
        await open_dialog(pilot)
        await shows(pilot, "pasted text is refused · PgDn more · Esc back")
