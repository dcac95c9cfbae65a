"""Every key that acts: previewed, confirmed, sent once, refused in words."""

from __future__ import annotations

import os

import pytest

from backends.errors import CouldNot, RefusedByRule
from backends.snapshot import PreviewView, SeatView, StepView
from console.screens.act_dialog import ActDialog
from console.screens.modal import Dialog
from tests.console.console_pilot import SIZES, Pilots, app_of, opened, shows, text_of, type_in, until
from tests.console.link import MadeLink
from tests.fixtures.snapshots import breach, rolled_back, soaking, two_persons
from widgets.foot import FootButton


async def open_act(pilot: Pilots, key: str) -> ActDialog:
    await pilot.press(key)
    await until(pilot, lambda: isinstance(pilot.app.screen, ActDialog))
    dialog = pilot.app.screen
    assert isinstance(dialog, ActDialog)
    await until(pilot, lambda: dialog.spec.act == "seat" or dialog.preview is not None)
    return dialog


async def test_advance_shows_its_steps_and_wants_the_word() -> None:
    link = MadeLink(soaking())
    async with opened(link) as pilot:
        await open_act(pilot, "A")
        await shows(pilot, "ADVANCE: one step forward", "advance it", "type advance and Enter")
        await pilot.press("A", "enter")
        await shows(pilot, "not done: type advance")
        pilot.app.screen.query_one("TypedInput").value = ""  # type: ignore[attr-defined]
        await pilot.press("enter")
        await shows(pilot, "Enter alone is never yes")
        assert link.ordered == []
        await type_in(pilot, "advance")
        await pilot.press("enter")
        await until(pilot, lambda: bool(link.ordered))
        assert link.ordered == [("advance", {"reason": "by hand, from the console", "preview_hash": "a1"})]
        await shows(pilot, "advance: soaking")


async def test_a_refused_advance_says_the_rule_what_is_seen_and_what_would_allow_it() -> None:
    link = MadeLink(soaking())
    link.previews = lambda command, args: PreviewView(
        command="advance",
        allowed=False,
        refused_by="SOAK",
        reason="soak of chat 6:10 of 15 min",
        would_allow="8 min 50 s more",
    )
    async with opened(link) as pilot:
        await open_act(pilot, "A")
        await shows(pilot, "refused by SOAK: soak of chat 6:10 of 15 min", "what would allow it: 8 min 50 s more")
        assert "type advance" not in text_of(pilot)
        await type_in(pilot, "advance")
        await pilot.press("enter", "escape")
        assert link.ordered == []


async def test_an_advance_that_the_engine_refuses_stays_and_says_why() -> None:
    link = MadeLink(soaking())
    link.answers = [RefusedByRule("SR5", "the last change was 12 s ago", hint="wait 18 s")]
    async with opened(link) as pilot:
        await open_act(pilot, "A")
        await type_in(pilot, "advance")
        await pilot.press("enter")
        await shows(pilot, "SR5: the last change was 12 s ago; wait 18 s")


async def test_an_advance_whose_preview_changed_asks_again() -> None:
    link = MadeLink(soaking())
    changed = RefusedByRule("preview_changed", "not what was previewed")
    link.answers = [changed]
    async with opened(link) as pilot:
        await open_act(pilot, "A")
        link.previews = lambda command, args: PreviewView(command=command, hash="a2", steps=(StepView(text="chat to 50 %"),))
        await type_in(pilot, "advance")
        await pilot.press("enter")
        await shows(pilot, "the world changed, look again", "now: chat to 50 %")
        assert len(link.ordered) == 1


async def test_hold_is_one_key_after_its_dialog_and_never_the_key_that_opened_it() -> None:
    link = MadeLink(soaking())
    async with opened(link) as pilot:
        await open_act(pilot, "H")
        await pilot.press("H", "enter", "space")
        assert link.ordered == []
        await pilot.press("y")
        await until(pilot, lambda: bool(link.ordered))
        assert link.ordered[0][0] == "hold"
        await until(pilot, lambda: not isinstance(pilot.app.screen, Dialog))


async def test_resume_wants_a_reason_and_sends_it() -> None:
    link = MadeLink(rolled_back())
    async with opened(link) as pilot:
        await shows(pilot, "U resume")
        await open_act(pilot, "U")
        await pilot.press("enter")
        await shows(pilot, "not done: say why")
        await type_in(pilot, "new disk")
        await pilot.press("enter")
        await until(pilot, lambda: bool(link.ordered))
        assert link.ordered[0] == ("resume", {"reason": "new disk", "preview_hash": "a1"})


async def test_the_seat_is_taken_with_the_holder_named_first() -> None:
    link = MadeLink(soaking().model_copy(update={"seat": SeatView(holder="eve@laptop")}))
    async with opened(link) as pilot:
        await pilot.press("A")
        await shows(pilot, "the seat is held by eve@laptop: T takes it")
        assert not isinstance(pilot.app.screen, Dialog)
        await open_act(pilot, "T")
        await shows(pilot, "TAKE THE SEAT", "held by eve@laptop", "y  takes the seat")
        assert "no steps" not in text_of(pilot)
        await pilot.press("y")
        await until(pilot, lambda: bool(link.ordered))
        assert link.ordered == [("seat", {"take": True})]


async def test_rollback_needs_no_seat() -> None:
    link = MadeLink(soaking().model_copy(update={"seat": SeatView(holder="eve@laptop")}))
    async with opened(link) as pilot:
        await pilot.press("R")
        await shows(pilot, "ROLLBACK chat-2026 to legacy")


async def test_an_observer_sees_the_same_and_cannot_act() -> None:
    link = MadeLink(soaking())
    async with opened(link, observe=True) as pilot:
        await shows(pilot, "observing", "R ROLLBACK", "A advance")
        for key in ("A", "H", "U", "R", "T", "ctrl+r"):
            await pilot.press(key)
            await shows(pilot, "this console only watches: the seat is held by ops@bastion1")
            assert not isinstance(pilot.app.screen, Dialog)
        assert not any(button.can_focus for button in pilot.app.screen.query("FootButton") if "-danger" in button.classes)
        assert link.ordered == []
        assert link.asked == []


async def test_what_is_held_offers_resume_in_the_place_of_hold() -> None:
    async with opened(MadeLink(breach())) as pilot:
        await shows(pilot, "U resume")
        assert "H hold" not in text_of(pilot)


async def test_a_command_that_fails_after_it_was_taken_up_is_told() -> None:
    link = MadeLink(soaking())
    link.answers = [CouldNot("chat: the authority does not answer")]
    async with opened(link) as pilot:
        await open_act(pilot, "A")
        await type_in(pilot, "advance")
        await pilot.press("enter")
        await shows(pilot, "chat: the authority does not answer")
        assert app_of(pilot).is_running


async def test_a_refused_advance_tells_what_it_waits_for_now_and_opens_when_it_may() -> None:
    link = MadeLink(soaking())

    def coming() -> PreviewView:
        assert link.now is not None
        assert link.now.next is not None
        return link.now.next

    link.previews = lambda command, args: coming()
    async with opened(link) as pilot:
        await open_act(pilot, "A")
        await shows(pilot, "refused by soak: soak of chat 6:10 of 15 min")
        later = coming().model_copy(update={"reason": "soak of chat 14:59 of 15 min"})
        link.tell(soaking().model_copy(update={"next": later}))
        await shows(pilot, "refused by soak: soak of chat 14:59 of 15 min")
        allowed = PreviewView(command="advance", hash="a9", steps=(StepView(text="chat: weight 50 % on target"),))
        link.tell(soaking().model_copy(update={"next": allowed}))
        await shows(pilot, "chat: weight 50 % on target", "type advance and Enter")


async def test_a_notice_goes_with_the_operator_to_the_next_screen() -> None:
    async with opened(MadeLink(soaking())) as pilot:
        await pilot.press("y", "2")
        await shows(pilot, "copied: ✓ ROLLBACK READY", "gs://corp-corpus/v3/")


async def test_rollback_opens_over_the_palette_and_over_another_dialog() -> None:
    async with opened(MadeLink(soaking())) as pilot:
        await pilot.press("ctrl+p", "ctrl+r")
        await shows(pilot, "ROLLBACK chat-2026 to legacy")
        await pilot.press("escape", "A", "ctrl+r")
        await shows(pilot, "ROLLBACK chat-2026 to legacy")
        await pilot.press("escape")
        assert not isinstance(pilot.app.screen, Dialog)


async def test_a_seat_that_is_taken_over_is_told_to_both() -> None:
    ours, theirs = SeatView(holder="ops", uid=os.getuid()), SeatView(holder="eve", uid=os.getuid() + 1)
    link = MadeLink(soaking().model_copy(update={"seat": ours}))
    async with opened(link) as pilot:
        link.tell(soaking().model_copy(update={"seat": theirs}))
        await shows(pilot, "the seat was taken over by eve: T takes it back")
        await pilot.press("A")
        await shows(pilot, "the seat is held by eve: T takes it")
        link.tell(soaking().model_copy(update={"seat": ours}))
        await shows(pilot, "you hold the seat now; eve has been told")


async def test_an_override_is_typed_with_rule_time_and_reason() -> None:
    link = MadeLink(soaking())
    async with opened(link) as pilot:
        await open_act(pilot, "O")
        await type_in(pilot, "soak")
        await pilot.press("enter")
        await shows(pilot, "not done: RULE TIME why")
        await type_in(pilot, " 2h seen in staging")
        await pilot.press("enter")
        await until(pilot, lambda: bool(link.ordered))
        name, args = link.ordered[0]
        assert (name, args["rule"], args["for"], args["reason"]) == ("override", "SOAK", "2h", "seen in staging")


async def test_an_approval_wants_the_word_and_is_bound_to_what_was_shown() -> None:
    link = MadeLink(two_persons())
    async with opened(link) as pilot:
        await shows(pilot, "waits for a second person", "OVERRIDE SOAK")
        await open_act(pilot, "P")
        await type_in(pilot, "approve")
        await pilot.press("enter")
        await until(pilot, lambda: bool(link.ordered))
        assert link.ordered == [("approve", {"reason": "by hand, from the console", "preview_hash": "a1"})]


async def test_whoever_holds_the_seat_is_told_so_instead_of_asked_to_take_it() -> None:
    async with opened(MadeLink(soaking())) as pilot:
        await pilot.press("T")
        await shows(pilot, "you hold the seat")
        assert not isinstance(pilot.app.screen, Dialog)


@pytest.mark.parametrize("size", SIZES)
async def test_the_foot_tells_who_does_not_hold_the_seat_how_to_take_it(size: tuple[int, int]) -> None:
    link = MadeLink(soaking().model_copy(update={"seat": SeatView(holder="eve@laptop")}))
    async with opened(link, size) as pilot:
        for screen in "127":
            await pilot.press(screen)
            await shows(pilot, "T take the seat" if screen == "1" or size[0] > 80 else "T seat", "R ROLLBACK", "q leave")
            buttons = {b.words: b.can_focus for b in pilot.app.screen.query(FootButton)}
            assert not buttons["A advance"], "what needs the seat is dimmed"
            assert buttons["H hold"]
            assert buttons["R ROLLBACK"]


async def test_what_is_refused_offers_only_the_way_back() -> None:
    link = MadeLink(soaking())
    link.previews = lambda command, args: PreviewView(
        command=command, allowed=False, refused_by="STATE", reason="nothing is held"
    )
    async with opened(link) as pilot:
        await open_act(pilot, "U")
        await shows(pilot, "refused by STATE: nothing is held", "Esc back")
        await until(pilot, lambda: "Enter alone" not in text_of(pilot))


async def test_a_reason_that_is_the_step_is_said_once() -> None:
    link = MadeLink(soaking())
    steps = (StepView(text="retire legacy"),)
    link.previews = lambda command, args: PreviewView(command=command, hash="a1", reason="retire legacy", steps=steps, seconds=0)
    async with opened(link) as pilot:
        await open_act(pilot, "A")
        await shows(pilot, "· 1 retire legacy", "1 step")
        assert text_of(pilot).count("retire legacy") == 1
        assert "0 s expected" not in text_of(pilot)
