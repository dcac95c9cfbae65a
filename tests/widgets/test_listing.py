from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from textual import on

from tests.fixtures import snapshots as made
from tests.widgets.stage import Stage, texts
from widgets.events_log import EventsLog
from widgets.gpu_grid import GpuGrid
from widgets.hosts_table import HostsTable
from widgets.listing import Entry, ListPanel, chosen_entries, first_shown
from widgets.plan_gates import PlanGates
from widgets.traffic_table import TrafficTable
from widgets.transfer_table import TransferTable
from widgets.validation_plot import ValidationPlot

LISTS = (TransferTable, GpuGrid, ValidationPlot, TrafficTable, HostsTable, PlanGates, EventsLog)


class Hearing(Stage):
    """Remembers what was chosen."""

    @on(ListPanel.Chosen)
    def _chosen(self, message: ListPanel.Chosen) -> None:
        self.heard.append(message.key)


@given(st.integers(0, 500), st.integers(0, 499), st.integers(1, 60), st.integers(1, 500))
def test_the_cursor_is_always_seen_and_no_place_is_wasted(top: int, cursor: int, places: int, count: int) -> None:
    cursor = min(cursor, count - 1)
    first = first_shown(top, cursor, places, count)
    assert first <= cursor < first + places
    assert first == 0 or first + places <= count


def test_every_word_of_a_filter_must_occur_in_any_case() -> None:
    entries = [Entry(key=k, thing=None, search=k, value=k) for k in ("Legacy silent", "legacy live", "target silent")]
    assert [e.key for e in chosen_entries(entries, "SILENT leg", "plan")] == ["Legacy silent"]
    assert [e.key for e in chosen_entries(entries, "", "plan")] == [e.key for e in entries]


async def test_every_list_draws_each_moment_at_every_size() -> None:
    for size in ((80, 24), (200, 60)):
        for kind in LISTS:
            panel = kind()
            app = Stage(panel)
            async with app.run_test(size=size):
                for name in ("nothing", "planned", "breach", "rollback_blocked", "hostile", "fleet"):
                    panel.snapshot = made.MADE[name]()
                    assert all(line.cell_length <= panel.size.width for line in panel.lines())
                    assert 0 < len(panel.lines()) <= panel.size.height


async def test_the_cursor_moves_by_keys_and_enter_chooses() -> None:
    panel = HostsTable()
    panel.snapshot = made.fleet()
    app = Hearing(panel)
    async with app.run_test(size=(80, 24)) as pilot:
        panel.focus()
        await pilot.press("down", "down", "enter")
        await pilot.press("end")
        assert panel.cursor == 31
        assert any(line.startswith("▸ ") for line in texts(panel.lines()))
        await pilot.press("home", "up")
        assert panel.cursor == 0
    assert app.heard == ["legacy/leg-001"]


async def test_the_cursor_stays_on_its_entry_when_the_order_changes() -> None:
    panel = PlanGates()
    panel.snapshot = made.breach()
    async with Stage(panel).run_test(size=(120, 40)) as pilot:
        panel.move_to(3)
        before = panel.current()
        assert panel.cycle_sort() == "verdict"
        await pilot.pause()
        assert panel.current() == before
        first = panel.shown()[0].thing.trigger
        assert first is not None
        assert first.name == "errors"


async def test_a_filter_leaves_what_matches_and_says_so() -> None:
    panel = EventsLog()
    panel.snapshot = made.breach()
    async with Stage(panel).run_test(size=(80, 24)) as pilot:
        panel.filter = "breach errors"
        await pilot.pause()
        assert len(panel.shown()) == 1
        assert panel.value() is not None
        assert "trigger errors BREACH" in str(panel.value())
        assert "1 of 9" in str(panel.border_subtitle)
        panel.filter = "nothing like this"
        await pilot.pause()
        assert panel.value() is None
        assert "nothing matches" in "".join(texts(panel.lines()))


async def test_the_entry_under_the_cursor_tells_what_does_not_fit_in_its_line() -> None:
    panel = TransferTable()
    panel.snapshot = made.soaking()
    async with Stage(panel).run_test(size=(80, 24)):
        shown = "\n".join(texts(panel.lines()))
        assert "gs://corp-corpus/v3/ → s3://corpus/" in shown
        assert "2,792,069 by stored checksums" in shown
        assert "shard-000417" in shown


async def test_a_gate_says_at_which_value_against_which_limit() -> None:
    panel = PlanGates()
    panel.snapshot = made.soaking()
    async with Stage(panel).run_test(size=(120, 40)):
        shown = "\n".join(texts(panel.lines()))
        assert "0.1 % of 0.5 %" in shown
        assert "armed: pinned to this hash" in shown
        assert "▸ cutover" in shown


async def test_every_gpu_of_both_sides_has_a_line_where_there_is_room() -> None:
    panel = GpuGrid()
    panel.snapshot = made.soaking()
    async with Stage(panel).run_test(size=(80, 24)):
        shown = texts(panel.lines())
        assert sum(line.count("°C") == 2 and line.count(" % ") == 2 for line in shown[3:]) == 8
