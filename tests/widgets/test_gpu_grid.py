"""The GPU screen's list: both sides in columns, in the form that fits, with a cursor that goes over hosts."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from backends.snapshot import SIDES, HostView, Snapshot
from tests.fixtures import snapshots as made
from tests.fixtures.fleets import fleet_of
from tests.widgets.stage import PALETTE, Stage, texts
from widgets.fleet_map import Form, Layout, block_rows, gpu_lines, layout_of, trouble_words
from widgets.gpu_grid import AT_ONCE, GpuGrid

FLEET = fleet_of().hosts


def sides_of(hosts: tuple[HostView, ...]) -> list[list[HostView]]:
    return [[host for host in hosts if host.side == side] for side in SIDES]


@pytest.mark.parametrize(
    ("hosts", "width", "height", "form"),
    [
        (2, 36, 11, Form.GPUS),
        (2, 36, 8, Form.HOSTS),
        (20, 57, 24, Form.HOSTS),
        (256, 96, 44, Form.TILES),
        (256, 36, 11, Form.CELLS),
        (2000, 96, 44, Form.CELLS),
    ],
)
def test_the_form_is_the_roomiest_in_which_all_fit(hosts: int, width: int, height: int, form: Form) -> None:
    assert layout_of(sides_of(fleet_of(hosts).hosts), width, height).form is form


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 256), st.integers(30, 100), st.integers(4, 50))
def test_in_every_form_but_the_last_all_hosts_are_seen(count: int, width: int, height: int) -> None:
    hosts = list(FLEET[:count])
    layout = layout_of([hosts, []], width, height)
    rows = block_rows(hosts, layout, PALETTE, width, range(height))
    assert all(row.used <= width for row in rows)
    if layout.form in (Form.HOSTS, Form.TILES):
        assert layout.rows(count) <= height
    if layout.form is Form.GPUS:
        assert sum(gpu_lines(host) for host in hosts) <= height


def test_a_host_that_is_not_seen_shows_its_sign_and_its_age_and_no_old_figure() -> None:
    silent = next(host for host in FLEET if host.health == "silent")
    [row] = block_rows([silent], Layout(Form.TILES, 1, 8, 30, True), PALETTE, 40, range(1))
    assert row.text().split() == ["✗", silent.name, "✗✗✗✗✗✗✗✗", "41s"]


def test_an_alarm_is_told_by_a_sign_and_not_by_colour_alone() -> None:
    broken = next(host for host in FLEET if host.together().alarms)
    [row] = block_rows([broken], Layout(Form.TILES, 1, 8, 30, True), PALETTE, 40, range(1))
    sign, _, cells, _, _ = row.text().split()
    assert sign == "✗"
    assert cells[3] == "✗"
    assert trouble_words(broken).startswith("GPU 3: lost after Xid 79")
    [cell] = block_rows([broken], Layout(Form.CELLS, 8), PALETTE, 40, range(1))
    assert cell.text().endswith("✗")


async def test_of_a_fleet_in_cells_those_in_trouble_are_named() -> None:
    panel = GpuGrid()
    panel.snapshot = fleet_of()
    async with Stage(panel).run_test(size=(80, 24)):
        shown = "\n".join(texts(panel.lines()))
        for host in ("gcp-c08 silent 41s", "gcp-b01 late 7s", "GPU 3: lost"):
            assert host in shown


async def test_the_cursor_goes_over_both_sides() -> None:
    panel = GpuGrid()
    panel.snapshot = fleet_of(20)
    async with Stage(panel).run_test(size=(120, 40)) as pilot:
        panel.focus()
        await pilot.press("down", "down", "right")
        assert panel.value() == "10.1.0.2", "the same line of the other side"
        await pilot.press("down", "left")
        assert panel.value() == "10.0.0.3"
        await pilot.press("end", "right", "down")
        assert panel.value() == "10.1.0.9", "there is nothing below the last"
        await pilot.press("home", "up", "left")
        assert panel.value() == "10.0.0.0"


async def test_in_a_map_of_tiles_the_cursor_goes_in_both_directions() -> None:
    panel = GpuGrid()
    panel.snapshot = fleet_of()
    async with Stage(panel).run_test(size=(200, 56)) as pilot:
        panel.focus()
        await pilot.press("right", "down")
        assert panel.value() == "10.0.0.4", "three on a line: the second of the second line"
        await pilot.press("right", "right")
        assert panel.value() == "10.1.0.3", "over the end of the line to the other side's"
        await pilot.press("end", "pageup", "pagedown")
        assert panel.value() == "10.1.7.15"


@pytest.mark.parametrize(("order", "first"), [("health", "gcp-c08"), ("idle", "gcp-c10"), ("hottest", "gcp-a08")])
async def test_each_side_is_sorted_by_itself(order: str, first: str) -> None:
    panel = GpuGrid()
    panel.snapshot = fleet_of()
    async with Stage(panel).run_test(size=(200, 56)):
        panel.sort = order
        shown = [entry.thing for entry in panel.shown()]
        assert [host.side for host in shown] == ["legacy"] * 128 + ["target"] * 128
        assert shown[0].name == first
        assert shown[128].name == first.replace("gcp", "lam")


async def test_a_filter_finds_hosts_by_what_is_wrong_with_them() -> None:
    panel = GpuGrid()
    panel.snapshot = fleet_of()
    async with Stage(panel).run_test(size=(80, 24)) as pilot:
        panel.filter = "xid lost"
        await pilot.pause()
        assert [entry.thing.name for entry in panel.shown()] == ["gcp-d15", "lam-d15"]
        assert "drain the host and reboot it" in "\n".join(texts(panel.lines())), "the cure, where there is room"
        panel.filter = "no such host"
        await pilot.pause()
        assert "nothing matches" in "\n".join(texts(panel.lines()))


async def test_it_draws_a_plan_whose_hosts_are_all_on_one_side() -> None:
    panel = GpuGrid()
    panel.snapshot = made.soaking().model_copy(update={"hosts": made.soaking().hosts[1:]})
    async with Stage(panel).run_test(size=(80, 24)) as pilot:
        panel.focus()
        await pilot.press("left", "right", "down", "up")
        assert panel.value() == "10.1.0.21"


def _busier(snapshot: Snapshot) -> Snapshot:
    """Every GPU idle: each tile of the map is another."""
    hosts = tuple(
        host.model_copy(update={"sums": host.together().model_copy(update={"utilizations": (0.0,) * 8})})
        for host in snapshot.hosts
    )
    return snapshot.model_copy(update={"hosts": hosts})


async def test_a_large_map_is_drawn_some_lines_at_a_time_and_whole_in_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = GpuGrid()
    panel.snapshot = fleet_of()
    later: list[Callable[[], None]] = []
    monkeypatch.setattr(panel, "set_timer", lambda delay, callback, name="": later.append(callback))
    async with Stage(panel).run_test(size=(200, 56)) as pilot:
        panel.focus()
        await pilot.pause()
        before = texts(panel.lines())
        panel.snapshot = _busier(fleet_of())
        first = texts(panel.lines())
        changed = [y for y, line in enumerate(first) if line != before[y]]
        rest = len(panel._map) % AT_ONCE or AT_ONCE
        assert rest <= len(changed) < rest + 8, "the sums of both sides, and the first lines of the map"
        await pilot.press("end")
        under = texts(panel.lines())
        assert panel.value() == "10.1.7.15"
        assert [y for y, line in enumerate(under) if line != first[y]], "the cursor's line waits for no turn"
        turns = 0
        while later:
            later.pop()()
            turns += 1
        assert turns >= 2
        shown = texts(panel.lines())
        panel._map.clear()
        panel.redraw()
        assert texts(panel.lines()) == shown, "nothing of the snapshot before is left"


async def test_hosts_in_another_order_are_drawn_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    panel = GpuGrid()
    panel.snapshot = fleet_of()
    later: list[object] = []
    monkeypatch.setattr(panel, "set_timer", lambda delay, callback, name="": later.append(callback))
    async with Stage(panel).run_test(size=(200, 56)):
        turned = fleet_of()
        panel.snapshot = turned.model_copy(update={"hosts": tuple(reversed(turned.hosts))})
        shown = texts(panel.lines())
        panel._map.clear()
        panel.redraw()
        assert texts(panel.lines()) == shown
