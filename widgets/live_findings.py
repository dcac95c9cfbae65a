"""The findings of a live check as they are worked down: one line each, and the whole of the one under the cursor. Pure: lines from facts."""

from __future__ import annotations

from collections.abc import Sequence

from rich.style import Style
from textual.strip import Strip

from backends.listed import listed
from backends.live.worklist import Filter, Item, Worklist
from themes.palette import Palette
from widgets.columns import Cell, Column, cells_row, head_row
from widgets.figures import NOTHING, clock
from widgets.planning import SEVERITIES, severity_style
from widgets.row import Row, wrapped

_COLUMNS = (
    Column("state", 9),
    Column("side", 6),
    Column("hosts", 14, grow=1),
    Column("code", 18, rank=1),
    Column("what", 30, grow=4),
)
_NAMED = 24  # hosts that the detail names


def findings_head(palette: Palette, width: int) -> Strip:
    return head_row(_COLUMNS, palette, width - 2, indent=4)


def live_row(item: Item, palette: Palette, width: int) -> Row:
    """`✗ open  target  new-1, new-2  gpu_type  has another GPU …`; dim once it is done with."""
    problem = item.found.problem
    sign, style = severity_style(problem.severity, palette)
    if item.standing == "gone":
        sign, style = palette.glyphs.good, palette.good
    text = palette.muted if item.is_done else palette.text
    hosts = item.found.hosts
    cells = {
        "state": Cell(item.standing, style if item.standing != "looked at" else palette.waiting),
        "side": Cell(item.found.side or NOTHING, palette.side(item.found.side) if item.found.side else palette.muted),
        "hosts": Cell(listed(hosts, 1) if len(hosts) != 2 else ", ".join(hosts), text) if hosts else Cell(NOTHING, palette.muted),
        "code": Cell(problem.code, palette.muted),
        "what": Cell(item.found.message or problem.message, text),
    }
    return Row(palette).add(sign, style).gap().join(cells_row(_COLUMNS, cells, palette, width - 2))


def live_detail(item: Item, excerpt: str, palette: Palette, width: int, height: int) -> list[Strip]:
    """What is wrong, what was seen, what cures it, where the plan speaks of it."""
    found, problem = item.found, item.found.problem
    lines = wrapped(found.message or problem.message, width, 2, palette, palette.strong)
    if found.hosts:
        lines += wrapped(f"on {listed(found.hosts, _NAMED)}", width, 2 if height > 9 else 1, palette, palette.muted)
    room = max(1, (height - len(lines) - 2) // 2)
    if found.evidence:
        lines += wrapped(f"seen: {found.evidence}", width, room, palette, palette.text)
    lines += wrapped(f"cure: {problem.hint}", width, room, palette, palette.good)
    if excerpt.strip():
        lines.append(Row(palette).add(f"{problem.line:>4} ", palette.muted).add(excerpt.strip(), palette.accent).strip(width))
    asked = f"last asked {clock(item.asked_at)}"
    row = Row(palette).add(f"{problem.where}  {problem.code}", palette.muted, None)
    last = Row(palette)
    if item.unanswered:
        last.add(f"{palette.glyphs.held} not told this time: its host did not answer", palette.held)
    else:
        last.add(asked, palette.muted)
    lines = lines[: max(0, height - 1)]
    return [*lines, row.cut(max(0, width - last.used - 1)).right(last, width).strip(width)]


def standing_row(worklist: Worklist, by: Filter, palette: Palette, width: int) -> Row:
    """How many are open by severity, how many are done with; then what is shown of them."""
    row = Row(palette)
    for severity in SEVERITIES:
        number = sum(i.found.problem.severity == severity for i in worklist.items if not i.is_done)
        if number:
            sign, style = severity_style(severity, palette)
            row.gap(2 if row.used else 0).add(f"{sign} {number} {severity}{'s' if number > 1 else ''}", style)
    if not row.used:
        row.add(f"{palette.glyphs.good} nothing is open", palette.good)
    for standing, style in (("looked at", palette.waiting), ("gone", palette.good)):
        number = sum(i.standing == standing for i in worklist.items)
        if number:
            row.also(Row(palette).add(f"{number} {standing}", style), width)
    return row.also(Row(palette).add(shown_words(by), palette.accent), width)


def shown_words(by: Filter) -> str:
    """`shown: errors, target, open, "new-1"`; empty where all are shown."""
    words = [f"{by.severity}s"] if by.severity is not None else []
    if by.side is not None:
        words.append("of neither side" if by.side == "neither" else by.side)
    if by.only_open:
        words.append("open ones")
    if by.words.strip():
        words.append(f'"{by.words.strip()}"')
    return f"shown: {', '.join(words)}" if words else ""


def said_lines(texts: Sequence[tuple[str, Style]], palette: Palette, width: int, height: int) -> list[Strip]:
    """Sentences over as many lines as they take."""
    return [line for text, style in texts for line in wrapped(text, width, height, palette, style)][:height]
