"""What a plan holds, and from what it is known: a line each for hosts, workloads, stores and datasets, and the whole of the one under the
cursor. Pure: lines from facts."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual.strip import Strip

from backends.plan.standing import NOT_KNOWN, Item, is_open, told_once
from themes.palette import Palette
from widgets.columns import Cell, Column, cells_row, head_row
from widgets.figures import NOTHING, counted
from widgets.row import Row, wrapped

_COLUMNS = (
    Column("what", 8),
    Column("name", 18, grow=1),
    Column("is", 24, grow=3),
    Column("seen", 5, "right", rank=2),
    Column("to find out", 11, "right"),
)
_FIELD = 20
_LINES = 4  # of one remark


def inventory_head(palette: Palette, width: int) -> Strip:
    return head_row(_COLUMNS, palette, width)


def inventory_counts(items: Sequence[Item], palette: Palette, width: int) -> Strip:
    """`8 hosts, 3 workloads, 4 stores   5 things are not known`."""
    row = Row(palette)
    for kind in ("host", "workload", "store", "dataset"):
        number = sum(item.kind == kind for item in items)
        if number:
            row.add(", " if row.used else "", palette.muted).add(f"{number}", palette.strong)
            row.add(f" {kind}{'s' if number > 1 else ''}", palette.muted)
    unknown = sum(len(item.unknown) for item in items)
    if unknown:
        row.gap(3).add(f"{palette.glyphs.waiting} {unknown} to find out", palette.waiting)
    return row.strip(width)


def inventory_row(item: Item, palette: Palette, width: int) -> Row:
    """`host  a1  8 x A100-SXM4-40GB, spot  5  2`."""
    unknown, seen = len(item.unknown), sum(bool(f.remark) and not f.remark.startswith(NOT_KNOWN) for f in told_once(item.facts))
    name = palette.strong if item.side is None else palette.side(item.side)
    cells = {
        "what": Cell(item.kind, palette.muted),
        "name": Cell(item.name or NOTHING, name),
        "is": Cell(_is(item) or NOTHING),
        "seen": Cell(str(seen) if seen else "", palette.good),
        "to find out": Cell(f"{palette.glyphs.waiting} {unknown}" if unknown else "", palette.waiting),
    }
    return cells_row(_COLUMNS, cells, palette, width)


def inventory_detail(item: Item, palette: Palette, width: int, height: int, page: int = 0) -> list[Strip]:
    """What is to be found out first, then each field with what it is known from; where that is longer than `height`, one page of it."""
    lines: list[Strip] = []
    for text in item.unknown:
        lines += wrapped(f"{palette.glyphs.waiting} {text}", width, _LINES, palette, palette.waiting, indent=2)
    facts = [fact for fact in told_once(item.facts) if not fact.remark.startswith(NOT_KNOWN)]
    value = max((cell_len(fact.value) for fact in facts if fact.remark), default=0)
    for fact in facts:
        row = Row(palette).gap(2).add(fact.field, palette.muted, _FIELD).gap()
        if row.used + value + 2 + cell_len(fact.remark) <= width:
            lines.append(row.add(fact.value, palette.text, value).gap(2).add(fact.remark, palette.muted).strip(width))
        else:  # from what it is known is what is asked here: it is never cut
            lines.append(row.add(fact.value, palette.text).strip(width))
            lines += wrapped(fact.remark, width, _LINES, palette, palette.muted, indent=4)
    for note in item.notes:
        if not is_open(note):
            lines += wrapped(note, width, _LINES, palette, palette.muted, indent=2)
    if len(lines) <= height:
        return lines
    room = max(1, height - 1)
    pages = -(-len(lines) // room)
    page = min(page, pages - 1)
    keys = "<- ->" if palette.glyphs.ascii else "← →"
    more = Row(palette).gap(2).add(f"{page + 1} of {pages} pages, {keys}; line {item.line} of the plan", palette.accent)
    shown = lines[page * room : (page + 1) * room]
    return [*shown, *[Strip([])] * (room - len(shown)), more.strip(width)][:height]


def _is(item: Item) -> str:
    """What it is, in a few words."""
    if item.kind == "plan":
        return f"{counted(len(item.notes), 'remark')} on all of it"
    if item.kind in ("side", "store"):
        return item.value("provider" if item.kind == "side" else "url")
    if item.kind == "dataset":
        return ", ".join(part for part in (f"{item.value('from')} to {item.value('to')}", item.value("size")) if part)
    count, gpu = item.value("gpus.count"), item.value("gpus.type")
    gpus = " x ".join(part for part in (count, gpu) if part) + ("" if gpu or not count else " GPU" if count == "1" else " GPUs")
    is_spot = "spot" if item.value("spot") == "true" else ""
    memory = f"{item.value('gpus.memory_gb')} GB each" if item.value("gpus.memory_gb") else ""
    parts = (gpus, is_spot, item.value("region")) if item.kind == "host" else (item.value("class"), gpus, memory)
    return ", ".join(part for part in parts if part)
