"""One line, always in the same place: can it be taken back? Calmest when ready, the loudest thing on the screen when not."""

from __future__ import annotations

from rich.style import Style
from textual.reactive import reactive
from textual.strip import Strip

from backends.snapshot import Health, Lag, ReadinessView, Snapshot, State
from themes.palette import Palette
from widgets.figures import brief, count, duration, is_late, size
from widgets.panel import Panel
from widgets.row import Row

PERIOD = 5.0  # seconds between two proofs of a side's health
NOT_YET = (State.PLANNED, State.PREPARING, State.ARMED)
HOME = (State.ROLLED_BACK,)


def gap_words(gap: Lag) -> str:
    """What an emergency rollback would leave behind: `3 objects 1.20 MiB`; `none 4s ago`, `3+ objects` where target may have written since."""
    if gap.objects is None and gap.bytes is None:
        return "-"
    if not gap.objects and not gap.bytes:
        return f"none {brief(gap.age)} ago" if gap.may_be_more else "none"
    objects = f"{count(gap.objects)}{'+' if gap.may_be_more else ''} object{'' if gap.objects == 1 else 's'}"
    return objects if gap.bytes is None else f"{objects} {size(gap.bytes)}"


def readiness_line(snapshot: Snapshot, palette: Palette, width: int, *, gone: str | None = None) -> Strip:
    """The whole line; a state that is not ready is drawn reversed from edge to edge and names what blocks it."""
    readiness, glyphs = snapshot.rollback, palette.glyphs
    if gone is not None:
        return gone_line(f"{gone}  {glyphs.arrow} cutover rollback {snapshot.name}", palette, width)
    if snapshot.engine is not None and snapshot.engine.recovering:
        return _loud(
            f" {glyphs.held} ",
            "RECOVERING  reading reality before anything moves; rollback goes on by itself",
            palette.caution,
            palette,
            width,
        )
    if snapshot.state is State.ROLLING_BACK:
        return _under_way(snapshot, palette, width)
    if not readiness.possible or snapshot.state in (State.PLANNED, *HOME):
        return _nothing_to_take_back(snapshot, palette, width)
    if not readiness.ready:
        reasons = "; ".join(readiness.blocked_by) or "not proven"
        return _loud(f" {glyphs.breach} ", f"ROLLBACK BLOCKED  {reasons}", palette.alarm, palette, width)
    return _ready(readiness, palette, width)


def gone_line(words: str, palette: Palette, width: int) -> Strip:
    """The engine does not answer, whatever was or was not heard before."""
    return _loud(f" {palette.glyphs.breach} ", f"ENGINE GONE  {words}", palette.alarm, palette, width)


def _loud(glyph: str, words: str, style: Style, palette: Palette, width: int) -> Strip:
    return Row(palette).add(glyph, style).add(words, style).strip(width, fill=style)


GAP_AT, LEGACY_AT, HORIZON_AT = 36, 61, 88  # columns, so that no figure moves its neighbours


def _ready(readiness: ReadinessView, palette: Palette, width: int) -> Strip:
    warnings = [Row(palette).add(f"{palette.glyphs.held} {warning}", palette.held) for warning in readiness.warnings]
    row = _figures(readiness, palette, width)
    if row.used + sum(2 + w.used for w in warnings) > width:  # a number stands for those that the plan's screen tells
        row = _figures(readiness, palette, width, Row(palette).gap().add(f"{palette.glyphs.held}{len(warnings)}", palette.held))
    for warning in warnings:
        row.also(warning, width)
    return row.strip(width)


def _figures(readiness: ReadinessView, palette: Palette, width: int, lowered: Row | None = None) -> Row:
    row = Row(palette).gap().add(f"{palette.glyphs.good} ROLLBACK READY", palette.good + palette.strong)
    row.gap(2).add(duration(readiness.seconds_to_safe), palette.text).add(" to safe", palette.muted)
    if lowered is not None:
        row.join(lowered)
    if readiness.unfenced:
        row.also(Row(palette).add(f"{palette.glyphs.held} unfenced", palette.held), width)
    gap, legacy, horizon = _gap(readiness, palette), _legacy(readiness, palette), _horizon(readiness, palette)
    for column, piece in ((GAP_AT, gap), (min(LEGACY_AT, width - legacy.used - 1), legacy), (HORIZON_AT, horizon)):
        if max(row.used + 2, column) + piece.used <= width:
            row.to(max(row.used + 2, column)).join(piece)
    return row


def _gap(readiness: ReadinessView, palette: Palette) -> Row:
    return Row(palette).add("gap ", palette.muted).add(gap_words(readiness.gap), palette.text)


def _legacy(readiness: ReadinessView, palette: Palette) -> Row:
    words = {Health.ALIVE: "ok", Health.DEAD: "dead", Health.UNKNOWN: "unknown"}[readiness.legacy]
    late = is_late(readiness.legacy_age, PERIOD)
    style = palette.text if readiness.legacy is Health.ALIVE and not late else palette.held
    row = Row(palette).add("legacy ", palette.muted).add(words, style)
    if readiness.legacy_age is not None:
        row.add(f",{duration(readiness.legacy_age):>5} ago", style if late else palette.muted)
    return row


def _horizon(readiness: ReadinessView, palette: Palette) -> Row:
    row = Row(palette)
    if readiness.horizon is None:
        return row
    style = palette.held if readiness.horizon < 86400 else palette.text
    return row.add("possible for ", palette.muted).add(duration(readiness.horizon), style)


def _under_way(snapshot: Snapshot, palette: Palette, width: int) -> Strip:
    run = snapshot.run
    words = "ROLLING BACK"
    if run is not None and run.kind == "rollback":
        done = sum(step.status in ("confirmed", "skipped") for step in run.steps)
        words += f"  {run.mode}  {done} of {len(run.steps)} steps confirmed"
        words += f"  {duration((snapshot.at - run.started_at).total_seconds())}"
    if snapshot.rollback.seconds_to_safe is not None:
        words += f"  about {duration(snapshot.rollback.seconds_to_safe)} to safe"
    return _loud(f" {palette.glyphs.step} ", words, palette.caution, palette, width)


def _nothing_to_take_back(snapshot: Snapshot, palette: Palette, width: int) -> Strip:
    glyphs = palette.glyphs
    row = Row(palette).gap()
    if snapshot.state in HOME:
        row.add(f"{glyphs.good} ROLLED BACK", palette.good + palette.strong)
        return row.gap(2).add("production is on legacy", palette.text).strip(width)
    if snapshot.state in NOT_YET:
        row.add(f"{glyphs.dot} ROLLBACK", palette.muted)
        return row.gap(2).add("nothing to take back: production is on legacy", palette.muted).strip(width)
    row.add(f"{glyphs.held} NO WAY BACK", palette.held)
    reason = "; ".join(snapshot.rollback.blocked_by) or f"{snapshot.state.value.replace('_', ' ')}: rollback has ended"
    return row.gap(2).add(reason, palette.text).strip(width)


class ReadinessLine(Panel, can_focus=False):
    """How ready rollback is."""

    DEFAULT_CSS = """
    ReadinessLine { height: 1; }
    """
    gone: reactive[str | None] = reactive(None, repaint=False)
    """Why the engine does not answer; None while it does."""

    def draw(self, snapshot: Snapshot, palette: Palette, width: int, height: int) -> list[Strip]:
        return [readiness_line(snapshot, palette, width, gone=self.gone)]

    def _draw_lines(self) -> list[Strip]:
        if self.snapshot is None and self.gone is not None:
            return [gone_line(self.gone, self.palette, self.size.width)]
        if self.snapshot is None or self.failed is not None:
            return super()._draw_lines()
        silent = None if self.stale is None else f"no word for {duration(self.stale)}"
        width = self.size.width
        return [readiness_line(self.snapshot, self.palette, width, gone=self.gone or silent)]

    def watch_gone(self) -> None:
        self.redraw()
