"""All hosts: can we see them, what runs on them."""

from __future__ import annotations

from textual.strip import Strip

from backends.snapshot import HostView, Snapshot, mean_of
from themes.meaning import level_of_host
from themes.palette import Palette
from widgets.columns import Cell, Column, cells_row, fact, head_row
from widgets.figures import age, duration, is_late
from widgets.fitting import WEIGHT
from widgets.fleet_map import level_of
from widgets.listing import ORDER_OF_PLAN, Entry, ListPanel
from widgets.row import Row

COLUMNS = (
    Column("host", 12, grow=2),
    Column("side", 6),
    Column("health", 13),
    Column("seen", 10, "right"),
    Column("GPUs", 18, rank=1, grow=2),
    Column("driver", 11, rank=2),
    Column("CUDA", 5, rank=3),
    Column("address", 16, rank=4, grow=1),
    Column("error", 16, rank=5, grow=3),
)


def gpu_words(host: HostView) -> str:
    """`8 x H100-SXM5-80GB`."""
    sums = host.together()
    return f"{sums.count} × {sums.name or 'unnamed'}" if sums.count else "-"


def host_row(host: HostView, palette: Palette, width: int) -> Row:
    """A host as one line of the table."""
    level = level_of_host(host.health)
    late = is_late(host.age, host.period)
    cells = {
        "host": Cell(host.name, palette.strong),
        "side": Cell(host.side, palette.side(host.side)),
        "health": Cell(f"{palette.glyphs.of(level)} {host.health}", palette.of(level)),
        "seen": Cell(age(host.age), palette.held if late else palette.muted),
        "GPUs": Cell(gpu_words(host), palette.stale if late else palette.text),
        "driver": Cell(host.driver or "-"),
        "CUDA": Cell(host.cuda or "-"),
        "address": Cell(host.address or "-", palette.muted),
        "error": Cell(host.error or "", palette.of(level)),
    }
    return cells_row(COLUMNS, cells, palette, width)


def host_detail(host: HostView, palette: Palette, width: int, height: int) -> list[Strip]:
    """What does not fit in the line."""
    level = level_of_host(host.health)
    rows = [
        fact(palette, "address", host.address or "-"),
        fact(palette, "GPUs", gpu_words(host)),
        fact(palette, "driver", f"{host.driver or '-'}, CUDA {host.cuda or '-'}, asked every {duration(host.period)}"),
    ]
    if host.error:
        rows.insert(0, fact(palette, "error", host.error, palette.of(level)))
    rows += [fact(palette, "alarm", alarm, palette.breach) for alarm in host.alarms]
    rows += [fact(palette, "alarm", f"GPU {index}: {alarm}", palette.breach) for index, alarm in host.together().alarms]
    return [row.strip(width) for row in rows[:height]]


class HostsTable(ListPanel[HostView]):
    """Hosts of both sides."""

    TITLE = "hosts"
    NONE = "no hosts in this plan"
    COUNTS = "host"
    SORTS = (ORDER_OF_PLAN, "name", "side", "health")

    def entries(self, snapshot: Snapshot) -> list[Entry[HostView]]:
        return host_entries(snapshot)

    def head(self, snapshot: Snapshot, palette: Palette, width: int, height: int) -> list[Strip]:
        return [head_row(COLUMNS, palette, width)]

    def entry_row(self, entry: Entry[HostView], palette: Palette, width: int) -> Row:
        return host_row(entry.thing, palette, width)

    def detail(self, entry: Entry[HostView], palette: Palette, width: int, height: int) -> list[Strip]:
        return host_detail(entry.thing, palette, width, height)


def host_entries(snapshot: Snapshot, *, is_found: bool = True) -> list[Entry[HostView]]:
    """Hosts as entries of a list; the worst, the busiest, the hottest come first in those orders, what is not known last. Without
    `is_found` there is nothing to filter or to order them by: of a fleet that is drawn every second."""
    if not is_found:
        return [Entry(f"{host.side}/{host.name}", host, "", host.address or host.name) for host in snapshot.hosts]
    return [_entry(host) for host in snapshot.hosts]


def _entry(host: HostView) -> Entry[HostView]:
    sums = host.together()
    busy = mean_of(sums.utilizations)
    memory = sums.memory_used / sums.memory_total if sums.memory_used is not None and sums.memory_total else None
    alarms = " ".join([*host.alarms, *(alarm for _, alarm in sums.alarms)])
    return Entry(
        key=f"{host.side}/{host.name}",
        thing=host,
        search=f"{host.name} {host.side} {host.health} {host.address} {host.driver} {gpu_words(host)} {host.error or ''} {alarms}",
        value=host.address or host.name,
        sorts={
            "name": host.name,
            "side": host.side,
            "health": -WEIGHT[level_of(host)],
            "busy": -(busy if busy is not None else -1.0),
            "idle": busy if busy is not None else 2.0,
            "hottest": -(sums.temperature_c if sums.temperature_c is not None else -300.0),
            "memory": -(memory if memory is not None else -1.0),
        },
    )
