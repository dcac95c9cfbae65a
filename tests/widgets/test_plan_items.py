"""What an operator reads of preflight, checklist, inventory, and of how it all stands."""

from __future__ import annotations

import pytest

from backends.cutover.migration import WAIVE
from backends.snapshot import ChecklistView, InventoryView, Level, OverrideView, Phase, PreflightView, Snapshot
from tests.fixtures import plan_moments as made
from tests.fixtures.items import inventory, preflight
from tests.fixtures.parts import AT
from tests.fixtures.snapshots import nothing, planned, preparing, soaking
from tests.widgets.stage import ASCII_PALETTE, PALETTE, Stage, texts
from widgets import plan_items
from widgets.headline import head_line, next_line
from widgets.plan_gates import PlanGates, plan_entries, plan_facts
from widgets.plan_items import (
    checklist_row,
    preflight_detail,
    preflight_level,
    preflight_row,
    remains_words,
    to_sign,
)
from widgets.readiness import readiness_line
from widgets.standing import standing_line, standings

MOMENTS = tuple(made.PLAN_MADE)
INNER = 76  # width of the panel at 80 columns


def item(name: str) -> PreflightView:
    return next(p for p in preflight() if p.name == name)


def facts(snapshot: Snapshot, width: int = 200, height: int = 20) -> str:
    return "\n".join(texts(plan_facts(snapshot, PALETTE, width, height)))


def test_the_name_under_which_preflight_is_signed_is_the_engines() -> None:
    assert plan_items.WAIVE == WAIVE


def test_an_item_of_preflight_says_what_was_seen_and_what_would_mend_it() -> None:
    broken = item("reverse:checkpoints")
    row = preflight_row(broken, PALETTE, 180).text()
    assert row.startswith("✗ preflight")
    assert "BREACH" in row
    assert "403, storage.objects.create denied" in row
    assert row.endswith("12 s ago")
    said = " ".join(" ".join(texts(preflight_detail(broken, PALETTE, INNER, 20))).split())
    assert "cure give the engine's service account roles/storage.objectUser on the bucket of legacy" in said


def test_what_a_person_stands_for_is_held_and_names_the_person() -> None:
    row = preflight_row(item("clocks"), PALETTE, 120).text()
    assert row.startswith("! preflight")
    assert "waived" in row
    assert "ops@bastion1: checked by hand" in row


def test_what_a_rollback_does_not_need_is_never_a_breach() -> None:
    assert preflight_level(item("login")) is Level.HELD
    assert preflight_level(item("reverse:checkpoints")) is Level.BREACH
    assert preflight_level(item("capacity")) is Level.WAITING
    assert preflight_level(item("legacy")) is Level.GOOD


def test_a_checklist_says_who_signed_what_and_when() -> None:
    snapshot = made.proving()
    rows = {c.name: checklist_row(c, snapshot, PALETTE, 140).text() for c in snapshot.checklist}
    assert "signed        by ops@bastion1: on Monday, 38 s, report in the wiki" in rows["rollback-rehearsed"]
    assert rows["rollback-rehearsed"].endswith("3 h 00 min ago")
    assert rows["on-call-told"].startswith("? staging")
    assert "not signed" in rows["on-call-told"]
    assert rows["outputs-looked-at"].startswith("· staging")
    assert "optional" in rows["outputs-looked-at"]


def test_what_must_hold_now_stands_before_what_held_or_will() -> None:
    keys = [e.key for e in plan_entries(made.proving())]
    assert keys.index("checklist on-call-told") < keys.index("preflight:capacity") < keys.index("trigger 0 errors")
    assert keys.index("trigger 0 errors") < keys.index("checklist people-trained")
    assert "checklist account-closed" in keys
    assert "checklist transfer-tried" not in keys, "a usual item of another phase says nothing now"


def test_what_remains_is_summed_only_as_far_as_it_is_known() -> None:
    assert remains_words(inventory()) == "2 hosts, 16 GPUs, at least 29.36 USD an hour, 2 stores with at least 12.0 TiB"
    assert remains_words(inventory()[:1]) == "1 host, 8 GPUs, 29.36 USD an hour"
    assert remains_words((InventoryView(kind="host", name="a"),)) == "1 host"


def test_decommission_says_what_is_left_and_what_it_costs_at_80_columns() -> None:
    assert "· 40 % left of 2 hosts, 16 GPUs, at least 29.36 USD an hour" in facts(made.retiring(), INNER, 8)


def test_a_no_change_period_and_an_override_say_when_they_end() -> None:
    said = facts(made.lowered(), INNER, 8)
    assert "calendar   ! no changes until 2026-03-16 07:00 UTC" in said
    assert "override   ! NO_CHANGES is lifted for 1 h 45 min more by ops@bastion1" in said
    assert "! OVERRIDE NO_CHANGES 1h45" in head_line(made.lowered(), PALETTE, 80).text


def test_an_approval_says_how_long_it_stands_and_who_asked() -> None:
    assert "approval   ? stands 12 min more: chat 25 -> 50 %, asked by ops" in facts(made.lowered(), INNER, 8)


def test_readiness_names_each_item_that_lowers_or_blocks_it() -> None:
    assert "rollback   ! lowered by capacity: not tried yet" in facts(made.lowered())
    assert "rollback   ✗ blocked by capacity: what is left of legacy carries 40 %" in facts(made.retiring())
    assert "rollback" not in facts(made.proving()), "before arming there is nothing to take back"


@pytest.mark.parametrize(("width", "counted"), [(80, True), (240, False)])
def test_readiness_counts_what_lowers_it_where_the_words_do_not_fit(width: int, counted: bool) -> None:
    line = readiness_line(made.lowered(), PALETTE, width).text
    assert ("to safe !2" in line) is counted
    assert ("! capacity: not tried yet" in line) is not counted
    assert line.index("gap ") == 36
    assert "legacy ok" in line


def test_where_not_all_facts_fit_those_of_the_moment_stay() -> None:
    said = facts(made.lowered(), INNER, 7)
    assert "approval" in said
    assert "preflight" in said
    assert "chat-2026.yaml" not in said
    crowded = facts(made.lowered(), INNER, 4).splitlines()
    assert len(crowded) == 4
    assert crowded[0].startswith("approval")
    assert "more" in crowded[-1]


def test_what_is_not_tried_yet_is_no_alarm_before_staging() -> None:
    early = made.proving().model_copy(update={"phase": Phase.DEVELOPMENT})
    (told,) = [s for s in standings(early) if s.label == "preflight"]
    assert told.level is None
    assert "tried in staging" in told.long


def test_one_line_tells_it_all_and_counts_what_does_not_fit() -> None:
    assert standing_line(made.proving(), PALETTE, 120).text == (
        " ✗ preflight 4 of 8 proven, 1 waived   ? checklist 1 of 3 signed"
    )
    assert standing_line(made.lowered(), PALETTE, 60).text.endswith("more")
    assert standing_line(nothing(), PALETTE, 120).text.strip() == ""


def test_the_signatures_that_are_waited_for() -> None:
    assert to_sign(made.proving()) == [
        "on-call-told", "outputs-looked-at", "preflight:reverse:checkpoints", "preflight:capacity",
    ]  # fmt: skip
    assert to_sign(made.proving(), must=True) == ["on-call-told", "preflight:reverse:checkpoints"], (
        "capacity is tried in a moment"
    )
    never = item("reverse:checkpoints").model_copy(update={"name": "route:chat", "waivable": False})
    assert to_sign(made.proving().model_copy(update={"checklist": (), "preflight": (never,)})) == [], "nobody may waive it"
    assert to_sign(soaking()) == []
    first = planned().model_copy(update={"checklist": (ChecklistView(phase=Phase.DEVELOPMENT, name="a", text="b"),)})
    assert to_sign(first) == ["a"], "of a plan that nobody has begun the first phase counts"


def test_an_observer_is_not_told_to_approve() -> None:
    assert "P approve" in next_line(made.lowered(), PALETTE, 80).text
    assert "P approve" not in next_line(made.lowered(), PALETTE, 80, observe=True).text


def test_each_state_of_an_item_differs_without_colour() -> None:
    seen = [preflight_row(i, ASCII_PALETTE, 120).text()[0] for i in preflight()]
    words = [preflight_row(i, ASCII_PALETTE, 120).text()[48:60].strip() for i in preflight()]
    assert seen == ["+", "+", "+", "+", "x", "!", "?", "!"]
    assert words[4:] == ["BREACH", "waived", "INCONCLUSIVE", "BREACH"]


async def looks(panel: PlanGates, snapshot: Snapshot | None, size: tuple[int, int] = (80, 24)) -> str:
    async with Stage(panel).run_test(size=size) as pilot:
        panel.snapshot = snapshot
        await pilot.pause()
        return panel.render().plain  # type: ignore[union-attr]


async def test_the_five_looks_of_the_list() -> None:
    normal = await looks(PlanGates(), made.proving())
    assert "on-call-told" in normal
    assert "waiting for the engine" in await looks(PlanGates(), None)
    assert "no gates and no triggers" in await looks(PlanGates(), nothing())
    narrow = await looks(PlanGates(), made.proving(), (40, 16))
    assert "preflight" in narrow
    assert all(len(line) <= 36 for line in narrow.splitlines())
    failed = PlanGates()
    failed.failed = "the snapshot cannot be read"
    assert "✗ the snapshot cannot be read" in await looks(failed, made.proving())


async def test_what_has_grown_old_says_its_age() -> None:
    panel = PlanGates()
    async with Stage(panel).run_test(size=(80, 24)) as pilot:
        panel.snapshot = made.proving()
        panel.stale = 41.0
        await pilot.pause()
        assert "41 s old" in str(panel.border_subtitle)
        assert all(s.style == panel.palette.stale for line in panel.lines() for s in line if s.text.strip())


@pytest.mark.parametrize("moment", MOMENTS)
async def test_the_list_draws_each_moment_at_every_size(moment: str) -> None:
    for size in ((80, 24), (200, 60)):
        async with Stage(panel := PlanGates()).run_test(size=size):
            panel.snapshot = made.PLAN_MADE[moment]()
            assert 0 < len(panel.lines()) <= panel.size.height
            assert len(panel.lines()) - len(texts(panel.head(panel.snapshot, PALETTE, 76, panel.size.height))) >= 4


def test_an_override_without_an_end_in_sight_is_still_drawn() -> None:
    held = OverrideView(rule="SOAK", reason="x", by="ops", at=AT, seconds_left=0.0)
    assert "SOAK is lifted for 0 s more" in facts(preparing().model_copy(update={"overrides": (held,)}))


def test_what_is_only_told_is_named_where_all_that_is_needed_is_proven() -> None:
    items = tuple(i for i in preflight() if i.verdict.value == "PASS" or not i.needed)
    told = facts(made.retiring().model_copy(update={"preflight": items}))
    assert "preflight  ✓ 4 of 5 proven; not needed: login" in told
