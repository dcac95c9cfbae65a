"""Two checkpoints that were held against each other: the verdict in a line, and the tensors that differ, the largest difference first."""

from __future__ import annotations

from datetime import datetime

from textual.strip import Strip

from backends.checkpoint_view import CheckpointView, TensorView, share_of
from themes.meaning import level_of_verdict
from themes.palette import Palette
from widgets.bars import bar
from widgets.columns import Cell, Column, cells_row, head_row, laid_out
from widgets.figures import age, count, number
from widgets.row import Row, wrapped

BAR = 12
COLUMNS = (
    Column("relative", 9, "right"),
    Column("1e-8 to 1", BAR, rank=2),
    Column("max abs", 9, "right", rank=3),
    Column("cosine", 11, "right", rank=5),
    Column("ULP", 9, "right", rank=4),
    Column("tensor", 36, grow=3),
    Column("what", 30, rank=6, grow=2),
)


def checkpoint_row(view: CheckpointView, palette: Palette, names: int) -> Row:
    """`✗ checkpoint      312 of 1,204 tensors differ  pretrain`."""
    level = level_of_verdict(view.verdict)
    row = Row(palette).add(f"{palette.glyphs.of(level)} ", palette.of(level)).add("checkpoint", palette.text, names)
    apart = "differs" if view.apart == 1 else "differ"
    words = (
        f"{count(view.apart)} of {count(view.tensors)} tensors {apart}" if view.apart else f"{count(view.tensors)} tensors agree"
    )
    row.gap(2).add(words, palette.of(level) if view.apart else palette.text)
    return row.gap(2).add(view.workload, palette.muted) if view.workload else row


def checkpoint_lines(view: CheckpointView, palette: Palette, width: int, height: int, now: datetime) -> list[Strip]:
    """The verdict, where both lie, and the list in so many lines."""
    level = level_of_verdict(view.verdict)
    verdict = f"{palette.glyphs.of(level)} {view.verdict.value}  {view.reason}"
    lines = wrapped(verdict, width, 2 if height >= 8 else 1, palette, palette.of(level))
    places = (
        Row(palette)
        .add(view.legacy, palette.legacy)
        .add(f" {palette.glyphs.arrow} ", palette.muted)
        .add(view.target, palette.target)
    )
    when = Row(palette).add(f"compared {age((now - view.at).total_seconds())}" if view.at is not None else "", palette.muted)
    lines.append(places.cut(max(1, width - when.used - 2)).right(when, width).strip(width))
    room = height - len(lines)
    if not view.worst or room < 2:
        return lines[:height]
    lines.append(head_row(COLUMNS, palette, width, indent=0))
    hidden = view.apart - (room - 1)
    shown = view.worst[: room - 1 if hidden <= 0 else room - 2]
    lines += [_tensor(tensor, palette, width) for tensor in shown]
    left = view.apart - len(shown)
    if left > 0:
        kept = "cutover checkpoints --json has all" if left > len(view.worst) - len(shown) else "a higher terminal shows more"
        lines.append(Row(palette).add(f"{count(left)} more that differ: {kept}", palette.muted).strip(width))
    return lines[:height]


def _tensor(tensor: TensorView, palette: Palette, width: int) -> Strip:
    widths, known = laid_out(COLUMNS, width), tensor.relative is not None
    style = palette.text if known and not tensor.words else palette.breach
    cells = {
        "relative": Cell(f"{tensor.relative:.3g}" if tensor.relative is not None else "-", style),
        "1e-8 to 1": Cell(row=bar(palette, share_of(tensor.relative, not known), BAR, style)),
        "max abs": Cell(f"{tensor.max_abs:.3g}" if tensor.max_abs is not None else "-", palette.text),
        "cosine": Cell(f"{tensor.cosine:.8f}" if tensor.cosine is not None else "-", palette.text),
        "ULP": Cell(_ulp(tensor.ulp), palette.text),
        "tensor": Cell(row=_name(tensor, palette, widths["tensor"], has_what="what" in widths)),
        "what": Cell(row=_what(tensor, palette)),
    }
    return cells_row(COLUMNS, cells, palette, width).strip(width)


def _ulp(value: float | None) -> str:
    if value is None:
        return "-"
    return f"{value:.3g}" if value >= 1e6 else number(value, 9) if value != int(value) else count(int(value))


def _name(tensor: TensorView, palette: Palette, width: int, *, has_what: bool) -> Row:
    """Its name, behind what is odd in it where that has no column of its own."""
    row = Row(palette)
    if tensor.words and not has_what:
        row.add(tensor.words, palette.breach).gap(2)
    return row.add(tensor.name, palette.text).cut(width)


def _what(tensor: TensorView, palette: Palette) -> Row:
    row = Row(palette)
    if tensor.words:
        row.add(tensor.words, palette.breach).gap(2)
    return row.add(tensor.form, palette.muted)
