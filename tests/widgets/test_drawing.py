"""What holds of every drawing function, whatever it is given."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from textual.strip import Strip

from backends.snapshot import SIDES, Snapshot
from tests.fixtures.fleets import bare_host, fleet_of, whole_host
from tests.fixtures.plan_moments import PLAN_MADE
from tests.fixtures.snapshots import MADE
from tests.widgets.stage import ASCII_PALETTE, PALETTE, assert_drawable
from themes.palette import Palette
from widgets.checkpoint_list import checkpoint_lines
from widgets.columns import laid_out
from widgets.events import event_rows
from widgets.fleet_map import HOST_COLUMNS, block_rows, gpu_row, host_gpus_row, layout_of, trouble_rows
from widgets.gpu_grid import cursor_rows, side_rows
from widgets.gpus import gpu_rows
from widgets.headline import head_line, next_line
from widgets.host_whole import host_lines
from widgets.hosts_table import host_detail, host_row
from widgets.plan_gates import gate_detail, gate_row, plan_facts, trigger_facts, trigger_row
from widgets.plan_items import (
    checklist_detail,
    checklist_row,
    inventory_detail,
    inventory_row,
    preflight_detail,
    preflight_row,
)
from widgets.readiness import readiness_line
from widgets.row import Row
from widgets.standing import standing_line, standing_row, standings
from widgets.steps import step_rows
from widgets.traffic import traffic_rows
from widgets.traffic_table import route_detail, route_row
from widgets.transfer import transfer_rows
from widgets.transfer_table import dataset_detail, dataset_row
from widgets.triggers import trigger_rows
from widgets.validation import validation_rows
from widgets.validation_plot import view_lines

MOMENTS = MADE | PLAN_MADE | {"many": fleet_of, "some": lambda: fleet_of(20)}
SNAPSHOTS = {name: make() for name, make in MOMENTS.items()}
WHOLE = (whole_host(), bare_host())
Drawing = Callable[[Snapshot, Palette, int, int], list[Strip]]


def blocks(snapshot: Snapshot, palette: Palette, width: int, height: int) -> list[Row]:
    """Both sides' hosts in the form that fits, legacy's above target's."""
    sides = [[host for host in snapshot.hosts if host.side == side] for side in SIDES]
    layout = layout_of(sides, width, height)
    return [row for hosts in sides for row in block_rows(hosts, layout, palette, width, range(height), 1)]


DRAWINGS: dict[str, Drawing] = {
    "head": lambda s, p, w, h: [head_line(s, p, w)][:h],
    "head, old": lambda s, p, w, h: [head_line(s, p, w, observe=True, old=41)][:h],
    "next": lambda s, p, w, h: [next_line(s, p, w)][:h],
    "readiness": lambda s, p, w, h: [readiness_line(s, p, w)][:h],
    "readiness, gone": lambda s, p, w, h: [readiness_line(s, p, w, gone="no answer for 9 s")][:h],
    "traffic": lambda s, p, w, h: traffic_rows(s.routes, p, w, h),
    "triggers": lambda s, p, w, h: trigger_rows(s.triggers, p, w, h),
    "transfer": lambda s, p, w, h: transfer_rows(s.datasets, p, w, h),
    "gpus": lambda s, p, w, h: gpu_rows(s.hosts, p, w, h),
    "validation": lambda s, p, w, h: validation_rows(s.validation, p, w, h),
    "events": lambda s, p, w, h: event_rows(s.events, s.at, p, w, h),
    "steps": lambda s, p, w, h: step_rows(s.run.steps if s.run else (), p, w, h),
    "plan facts": lambda s, p, w, h: plan_facts(s, p, w, h),
    "standing": lambda s, p, w, h: [standing_line(s, p, w), *(standing_row(x, p).strip(w) for x in standings(s))][:h],
    "rows": lambda s, p, w, h: [
        row.strip(w)
        for row in (
            *(dataset_row(d, p, w) for d in s.datasets),
            *(route_row(r, p, w) for r in s.routes),
            *(host_row(x, p, w) for x in s.hosts),
            *(host_gpus_row(x, p, w) for x in s.hosts),
            *(gpu_row(g, x, p, w) for x in s.hosts[:2] for g in x.gpus),
            *(gate_row(g, s.at, p, w) for g in s.gates),
            *(trigger_row(t, p, w) for t in s.triggers),
            *(checklist_row(c, s, p, w) for c in s.checklist),
            *(inventory_row(i, p, w) for i in s.inventory),
            *(preflight_row(i, p, w) for i in s.preflight),
            *(row for t in s.triggers for row in trigger_facts(t, p)),
        )
    ][:h],
    "sides": lambda s, p, w, h: [
        row.strip(w) for side in SIDES for row in side_rows(s.hosts, s.sides.get(side), side, p, w, has_history=True)
    ][:h],
    "hosts": lambda s, p, w, h: [row.strip(w) for row in blocks(s, p, w, h)][:h],
    "cursor": lambda s, p, w, h: [row.strip(w) for x in s.hosts[:3] for row in cursor_rows(x, p, w, 4)][:h],
    "trouble": lambda s, p, w, h: [row.strip(w) for row in trouble_rows(s.hosts, p, w, h)],
    "whole": lambda s, p, w, h: [line for host in (*WHOLE, *s.hosts[:1]) for line in host_lines(host, s.at, p, w)][:h],
    "details": lambda s, p, w, h: [
        line
        for lines in (
            *(dataset_detail(d, p, w, h) for d in s.datasets),
            *(route_detail(r, p, w, h) for r in s.routes),
            *(host_detail(x, p, w, h) for x in s.hosts),
            *(gate_detail(g, p, w, h) for g in s.gates),
            *(checklist_detail(c, p, w, h) for c in s.checklist),
            *(inventory_detail(i, p, w, h) for i in s.inventory),
            *(preflight_detail(i, p, w, h) for i in s.preflight),
            *(view_lines(v, p, w, h) for v in s.validation),
            *(checkpoint_lines(c, p, w, h, s.at) for c in s.checkpoints),
        )
        for line in lines
    ][:h],
}


@pytest.mark.parametrize("name", DRAWINGS)
@settings(max_examples=40, deadline=None)
@given(
    moment=st.sampled_from(sorted(SNAPSHOTS)),
    width=st.integers(10, 210),
    height=st.integers(1, 60),
    palette=st.sampled_from((PALETTE, ASCII_PALETTE)),
)
def test_nothing_is_drawn_outside_its_place(name: str, moment: str, width: int, height: int, palette: Palette) -> None:
    assert_drawable(DRAWINGS[name](SNAPSHOTS[moment], palette, width, height), width, height, palette)


@pytest.mark.parametrize("name", DRAWINGS)
def test_drawing_the_same_moment_twice_gives_the_same_lines(name: str) -> None:
    first, again = SNAPSHOTS["breach"], MOMENTS["breach"]()
    assert DRAWINGS[name](first, PALETTE, 90, 20) == DRAWINGS[name](again, PALETTE, 90, 20)


@given(st.integers(1, 240))
def test_columns_that_do_not_fit_are_left_out_but_never_the_first(width: int) -> None:
    widths = laid_out(HOST_COLUMNS, width)
    assert "host" in widths
    kept = [c for c in HOST_COLUMNS if c.title in widths]
    assert all(widths[c.title] >= c.width for c in kept)
    if any(c.rank for c in kept):
        assert sum(widths.values()) + 2 * (len(widths) - 1) <= width
