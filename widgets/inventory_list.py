"""What a plan holds, and from what it is known: a line each for hosts, workloads, stores and datasets, and the whole of the one under the
cursor. Pure: lines from facts."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len
from textual.strip import Strip

from backends.plan.standing import NOT_KNOWN, Item
from themes.palette import Palette
from widgets.columns import Cell, Column, cells_row, head_row
from widgets.figures import NOTHING
from widgets.row import Row, wrapped

_COLUMNS = (
    Column("what", 8),
    Column("name", 18, grow=1),
    Column("is", 24, grow=3),
    Column("seen", 5, "right", rank=2),
    Column("to find out", 11, "right"),
)
_FIELD = 20


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
    unknown, seen = len(item.unknown), sum(bool(f.remark) and not f.remark.startswith(NOT_KNOWN) for f in item.facts)
    name = palette.strong if item.side is None else palette.side(item.side)
    cells = {
        "what": Cell(item.kind, palette.muted),
        "name": Cell(item.name or NOTHING, name),
        "is": Cell(_is(item) or NOTHING),
        "seen": Cell(str(seen) if seen else "", palette.good),
        "to find out": Cell(f"{palette.glyphs.waiting} {unknown}" if unknown else "", palette.waiting),
    }
    return cells_row(_COLUMNS, cells, palette, width)


def inventory_detail(item: Item, palette: Palette, width: int, height: int) -> list[Strip]:
    """What is to be found out first, then each field with what it is known from."""
    lines: list[Strip] = []
    for text in item.unknown:
        lines += wrapped(f"{palette.glyphs.waiting} {text}", width, 2, palette, palette.waiting)
    longest = max((cell_len(fact.value) for fact in item.facts), default=0)
    value = min(longest, (width - _FIELD) // 2)
    for fact in item.facts:
        if not fact.remark.startswith(NOT_KNOWN):
            row = Row(palette).gap(2).add(fact.field, palette.muted, _FIELD).gap().add(fact.value, palette.text, value).gap(2)
            lines.append(row.add(fact.remark, palette.muted, max(1, row.room(width))).strip(width))
    for note in item.notes:
        if NOT_KNOWN not in note:
            lines += wrapped(note, width, 2, palette, palette.muted)
    if len(lines) > height:
        more = Row(palette).add(
            f"{palette.glyphs.ellipsis} {len(lines) - height + 1} more, from line {item.line} of the plan", palette.muted
        )
        lines = [*lines[: height - 1], more.strip(width)]
    return lines


def _is(item: Item) -> str:
    """What it is, in a few words."""
    if item.kind in ("side", "store"):
        return item.value("provider" if item.kind == "side" else "url")
    if item.kind == "dataset":
        return ", ".join(part for part in (f"{item.value('from')} to {item.value('to')}", item.value("size")) if part)
    count, gpu = item.value("gpus.count"), item.value("gpus.type")
    gpus = " x ".join(part for part in (count, gpu) if part) + ("" if gpu or not count else " GPUs")
    is_spot = "spot" if item.value("spot") == "true" else ""
    memory = f"{item.value('gpus.memory_gb')} GB each" if item.value("gpus.memory_gb") else ""
    parts = (gpus, is_spot, item.value("region")) if item.kind == "host" else (item.value("class"), gpus, memory)
    return ", ".join(part for part in parts if part)
