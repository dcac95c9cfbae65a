"""Signing from the console: what the cursor is on, or what is typed; never by Enter alone, never by paste."""

from __future__ import annotations

import pytest
from textual import events

from backends.errors import RefusedByRule
from backends.snapshot import PreviewView, SeatView
from console.foot import foot_entries
from console.screens.modal import Dialog, TypedInput
from console.screens.sign_dialog import SignDialog
from console.view import View
from tests.console.console_pilot import ACTOR, SIZES, Pilots, opened, shows, text_of, type_in, until
from tests.console.link import MadeLink
from tests.fixtures.plan_moments import lowered, proving
from tests.fixtures.snapshots import legacy_died, soaking
from widgets.foot import fitting_entries
from widgets.plan_gates import PlanGates


async def cursor_to(pilot: Pilots, key: str) -> None:
    """The plan's screen with the cursor on this line."""
    await pilot.press("7")
    await until(pilot, lambda: bool(pilot.app.screen.query(PlanGates)))
    panel = pilot.app.screen.query_one(PlanGates)
    await until(pilot, lambda: bool(panel.shown()))
    panel.move_to([e.key for e in panel.shown()].index(key))
    await pilot.pause()


async def open_sign(pilot: Pilots) -> SignDialog:
    await pilot.press("S")
    await until(pilot, lambda: isinstance(pilot.app.screen, SignDialog))
    dialog = pilot.app.screen
    assert isinstance(dialog, SignDialog)
    await until(pilot, lambda: dialog.preview is not None)
    return dialog


@pytest.mark.parametrize("size", SIZES)
async def test_what_the_cursor_is_on_is_signed_with_a_typed_reason(size: tuple[int, int]) -> None:
    link = MadeLink(proving())
    link.answers = [{"item": "on-call-told", "signed": True, "state": "preparing"}]
    async with opened(link, size) as pilot:
        await cursor_to(pilot, "checklist on-call-told")
        await open_sign(pilot)
        await shows(pilot, "SIGN on-call-told", "knows of the window and of the way back", "why (goes to the journal), and Enter")
        assert link.asked == [("sign", {"item": "on-call-told", "withdraw": False})]
        await type_in(pilot, "ann and ben know")
        await pilot.press("enter")
        await until(pilot, lambda: bool(link.ordered))
        assert link.ordered == [("sign", {"item": "on-call-told", "reason": "ann and ben know", "withdraw": False})]
        await shows(pilot, "on-call-told is signed")


async def test_neither_enter_nor_the_key_that_opened_it_nor_y_signs() -> None:
    link = MadeLink(proving())
    async with opened(link) as pilot:
        await cursor_to(pilot, "checklist on-call-told")
        await open_sign(pilot)
        await pilot.press("enter")
        await shows(pilot, "Enter alone is never yes")
        await pilot.press("S", "enter")
        await shows(pilot, "not done: say why in a few words")
        pilot.app.screen.query_one(TypedInput).value = ""
        await pilot.press("y", "enter", "escape")
        await until(pilot, lambda: not isinstance(pilot.app.screen, Dialog))
        assert link.ordered == []


async def test_a_pasted_reason_is_refused() -> None:
    link = MadeLink(proving())
    async with opened(link) as pilot:
        await cursor_to(pilot, "checklist on-call-told")
        dialog = await open_sign(pilot)
        dialog.query_one(TypedInput).post_message(events.Paste("all is well"))
        await shows(pilot, "pasted text is refused")
        await pilot.press("enter")
        assert link.ordered == []


async def test_a_signature_is_taken_back_where_the_cursor_is_on_one() -> None:
    link = MadeLink(proving())
    async with opened(link) as pilot:
        await cursor_to(pilot, "checklist rollback-rehearsed")
        await open_sign(pilot)
        await shows(pilot, "WITHDRAW the signature of rollback-rehearsed")
        await type_in(pilot, "the store was another one")
        await pilot.press("enter")
        await until(pilot, lambda: bool(link.ordered))
        assert link.ordered[0][1]["withdraw"] is True


async def test_an_item_of_preflight_is_waived_under_its_name() -> None:
    link = MadeLink(proving())
    async with opened(link) as pilot:
        await cursor_to(pilot, "preflight:capacity")
        await open_sign(pilot)
        await shows(pilot, "SIGN preflight:capacity")
        await type_in(pilot, "asked the vendor")
        await pilot.press("enter")
        await until(pilot, lambda: bool(link.ordered))
        assert link.ordered[0][1]["item"] == "preflight:capacity"


async def test_what_nobody_may_waive_offers_no_line_to_type_in() -> None:
    link = MadeLink(proving())
    link.previews = lambda command, args: PreviewView(
        command="sign",
        allowed=False,
        refused_by="PREFLIGHT",
        reason="legacy is waived by nobody",
        would_allow="a probe that answers",
    )
    async with opened(link) as pilot:
        await cursor_to(pilot, "preflight:legacy")
        await open_sign(pilot)
        await shows(pilot, "refused by PREFLIGHT: legacy is waived by nobody", "what would allow it: a probe that answers")
        assert "why (goes to the journal)" not in text_of(pilot)
        await type_in(pilot, "it will do")
        await pilot.press("enter")
        assert link.ordered == []


async def test_elsewhere_the_item_is_typed_before_the_reason() -> None:
    link = MadeLink(proving())
    async with opened(link) as pilot:
        await open_sign(pilot)
        await shows(pilot, "SIGN: answer for what no machine can check", "one of on-call-told, preflight:capacity", "ITEM why")
        await type_in(pilot, "on-call-told")
        await pilot.press("enter")
        await shows(pilot, "not done: ITEM why, such as: on-call-told ann and ben know of it")
        assert link.ordered == []
        await type_in(pilot, " both know")
        await pilot.press("enter")
        await until(pilot, lambda: bool(link.ordered))
        assert link.ordered[0][1] == {"item": "on-call-told", "reason": "both know", "withdraw": False}


async def test_what_the_engine_refuses_stays_and_says_why() -> None:
    link = MadeLink(proving())
    link.answers = [RefusedByRule("SEAT", "the seat is held by eve", hint="cutover seat --take")]
    async with opened(link) as pilot:
        await cursor_to(pilot, "checklist on-call-told")
        await open_sign(pilot)
        await type_in(pilot, "both know")
        await pilot.press("enter")
        await shows(pilot, "SEAT: the seat is held by eve; cutover seat --take")
        assert isinstance(pilot.app.screen, SignDialog)


async def test_a_signature_needs_the_seat() -> None:
    link = MadeLink(proving().model_copy(update={"seat": SeatView(holder="eve@laptop")}))
    async with opened(link) as pilot:
        await pilot.press("S")
        await shows(pilot, "the seat is held by eve@laptop: T takes it")
        assert not isinstance(pilot.app.screen, Dialog)


@pytest.mark.parametrize("size", SIZES)
async def test_an_observer_is_told_at_the_foot_and_offered_no_act(size: tuple[int, int]) -> None:
    link = MadeLink(lowered())
    async with opened(link, size, observe=True) as pilot:
        for mode in ("1", "7"):
            await pilot.press(mode)
            await shows(pilot, "observing", "R ROLLBACK")
            foot = text_of(pilot).splitlines()[-1]
            assert foot.startswith(" observing")
            assert "P approve" not in text_of(pilot)
            assert "S sign" not in foot
            assert [b.words for b in pilot.app.screen.query("FootButton") if b.can_focus and b.words[0].isupper()] == []  # type: ignore[attr-defined]
        for key in ("S", "P", "O", "E"):
            await pilot.press(key)
            await shows(pilot, "this console only watches")
            assert not isinstance(pilot.app.screen, Dialog)
        assert (link.ordered, link.asked) == ([], [])


def shown(view: View, width: int, **more: bool) -> list[str]:
    return [words for _, words in fitting_entries(foot_entries(view, width=width, in_list=False, **more), width)]


def test_the_foot_offers_an_act_in_the_moment_that_wants_it_and_never_leaves_it_out() -> None:
    waiting = shown(View(snapshot=lowered(), actor=ACTOR), 80)
    assert {"P approve", "R ROLLBACK", "? help", "q leave"} <= set(waiting)
    assert "S sign" in shown(View(snapshot=proving(), actor=ACTOR), 80)
    assert "E evacuate" in shown(View(snapshot=legacy_died(), actor=ACTOR), 80)
    calm = shown(View(snapshot=soaking(), actor=ACTOR), 80)
    assert not {"P approve", "S sign", "E evacuate"} & set(calm)
    assert "1-8 screens" in calm
