"""The first lines of the screen: which migration, in what state, who holds the seat, what time it is; and what comes next."""

from __future__ import annotations

from rich.style import Style
from textual.strip import Strip

from backends.snapshot import ApprovalView, Snapshot, State, StepView
from themes.meaning import level_of_state
from themes.palette import Palette
from widgets.figures import brief, clock, duration, watch
from widgets.panel import Panel
from widgets.row import Row

WORDS = {
    State.ROLLING_BACK: "rolling back",
    State.ROLLED_BACK: "rolled back",
    State.ROLLBACK_BLOCKED: "rollback blocked",
}


def state_words(snapshot: Snapshot) -> str:
    """`shifting 25 %`, `preparing: staging`, `dual 100 %`."""
    state = snapshot.state
    words = WORDS.get(state, state.value)
    if state is State.PREPARING and snapshot.phase is not None:
        return f"{words}: {snapshot.phase.value}"
    shown = state in (State.SHIFTING, State.SOAKING, State.DUAL, State.ROLLING_BACK, State.ROLLBACK_BLOCKED)
    return f"{words} {weights_word(snapshot)}" if shown and snapshot.routes else words


def weights_word(snapshot: Snapshot) -> str:
    """`25 %`, or `5 to 100 %` where routes with clients on the target differ."""
    weights = [weight for r in snapshot.routes if (weight := max(r.desired, r.observed or 0))]
    low, high = min(weights, default=0), max(weights, default=0)
    return f"{high} %" if low == high else f"{low} to {high} %"


FRESH = 10.0  # seconds for which a change of state is marked at its place


def is_fresh(snapshot: Snapshot) -> bool:
    """Whether the state has just changed."""
    return any(e.kind == "state" and 0 <= (snapshot.at - e.at).total_seconds() <= FRESH for e in snapshot.events)


def head_line(snapshot: Snapshot, palette: Palette, width: int, *, observe: bool = False, old: float | None = None) -> Strip:
    """`chat-2026 ▸ shifting 25 %    seat ops@bastion1    03:12:44 UTC`; what is held stands beside the state."""
    if old is None:
        time = Row(palette).add(f"{clock(snapshot.at)} UTC", palette.text).gap()
    else:
        time = Row(palette).add(f" {duration(old)} old ", palette.caution).gap()
    state = _state(snapshot, palette)
    room = width - time.used - state.used - 2
    name = Row(palette).add(snapshot.name, palette.strong)
    left = Row(palette).gap()
    left = left.join(name) if name.used <= room else left.add(snapshot.name, palette.strong, max(4, room))
    left.join(state)
    seat = _seat(snapshot, palette, width - left.used - time.used - 4, observe)
    if seat.used:
        left.to(max(left.used + 2, width - time.used - seat.used - 4)).join(seat)
    return left.right(time, width).strip(width)


def _state(snapshot: Snapshot, palette: Palette) -> Row:
    """State and flags: what is never cut before the name is."""
    glyphs = palette.glyphs
    style = palette.of(level_of_state(snapshot.state)) + palette.strong
    row = Row(palette).gap().add(glyphs.step, palette.muted).gap()
    row.add(state_words(snapshot), style + Style(underline=True) if is_fresh(snapshot) else style)
    if snapshot.simulation:
        row.gap(2).add(" SIMULATION ", palette.note)
    if snapshot.held:
        row.gap(2).add(f" {glyphs.held} HELD ", palette.caution)
    if snapshot.overrides:
        rules = " ".join(f"{o.rule} {brief(o.seconds_left)}" for o in snapshot.overrides[:3])
        row.gap(2).add(f" {glyphs.held} OVERRIDE {rules} ", palette.caution)
    if snapshot.blind:
        row.gap(2).add(f" {glyphs.waiting} BLIND ", palette.caution)
    return row


def _seat(snapshot: Snapshot, palette: Palette, room: int, observe: bool) -> Row:
    row = Row(palette)
    label = "observing, seat " if observe else "seat "
    holder = snapshot.seat.holder or "free"
    if room < len(label) + 4:
        return row
    style = palette.text if snapshot.seat.holder else palette.muted
    row.add(label, palette.held if observe else palette.muted)
    return row.add(holder, style, min(len(holder), room - len(label)) if len(holder) > room - len(label) else None)


def next_line(snapshot: Snapshot, palette: Palette, width: int, *, observe: bool = False) -> Strip:
    """What holds it, else what runs, else what comes next and what it waits for: one line, always in the same place."""
    row = Row(palette).gap()
    if not snapshot.journal_ok:
        note = snapshot.journal_note or "an emergency journal is written elsewhere"
        return row.add(f"{palette.glyphs.breach} JOURNAL cannot be written: {note}", palette.breach).strip(width)
    run = snapshot.run
    if run is not None and run.ended_at is None:
        return _running(row, snapshot, palette, width)
    if snapshot.approval is not None:
        return _waiting(row, snapshot.approval, palette, width, observe)
    if snapshot.held:
        return _held(row, snapshot, palette, width)
    if snapshot.blind:
        row.add(f"{palette.glyphs.waiting} blind ", palette.held)
        return row.add(snapshot.blind_reason, palette.text).strip(width)
    return _coming(row, snapshot, palette, width)


def _waiting(row: Row, approval: ApprovalView, palette: Palette, width: int, observe: bool) -> Strip:
    row.add(f"{palette.glyphs.waiting} waits for a second person ", palette.waiting).add(
        duration(approval.seconds_left), palette.waiting
    )
    row.add(": ", palette.muted).add(approval.what, palette.strong).add(", asked by ", palette.muted)
    row.add(approval.by, palette.text)
    return row.strip(width) if observe else row.also(Row(palette).add("P approve", palette.muted), width).strip(width)


def _held(row: Row, snapshot: Snapshot, palette: Palette, width: int) -> Strip:
    first = snapshot.held[0]
    since = duration((snapshot.at - first.at).total_seconds())
    row.add(f"{palette.glyphs.held} held ", palette.held).add(since, palette.held)
    row.add(" by ", palette.muted).add(first.by, palette.text).add(": ", palette.muted)
    more = f" (and {len(snapshot.held) - 1} more)" if len(snapshot.held) > 1 else ""
    row.add(first.reason, palette.text, _bounded(first.reason, row.room(width) - len(more) - 1))
    return row.add(more, palette.muted).strip(width)


def _bounded(text: str, room: int) -> int | None:
    return max(0, room) if len(text) > room else None


def _running(row: Row, snapshot: Snapshot, palette: Palette, width: int) -> Strip:
    run = snapshot.run
    assert run is not None
    took = duration((snapshot.at - run.started_at).total_seconds())
    loud = palette.held if run.kind != "advance" else palette.accent
    number, step = current_step(run.steps)
    row.add(f"{palette.glyphs.step} {run.kind}", loud)
    if run.mode:
        row.gap().add(run.mode, loud)
    row.gap().add(took, palette.text).gap(2)
    if step is not None:
        row.add(f"step {number} of {len(run.steps)}", palette.muted).gap(2).add(step.text, palette.text)
        if step.detail:
            row.add(f" ({step.detail})", palette.muted)
    return row.strip(width)


def current_step(steps: tuple[StepView, ...]) -> tuple[int, StepView | None]:
    """The step that runs, else the first that waits, with its number from 1."""
    for wanted in ("failed", "running", "waiting"):
        for number, step in enumerate(steps, 1):
            if step.status == wanted:
                return number, step
    return len(steps), steps[-1] if steps else None


def _coming(row: Row, snapshot: Snapshot, palette: Palette, width: int) -> Strip:
    window = ""
    if snapshot.window_total is not None:
        window = f"{snapshot.state.value} window {watch(snapshot.window_elapsed, snapshot.window_total)}"
    coming = snapshot.next
    if coming is None:
        return row.add(window or "nothing is to be done", palette.muted).strip(width)
    if coming.allowed:
        row.add(f"{palette.glyphs.good} ", palette.good).add(coming.command, palette.strong)
        row.add(f"  {coming.steps[0].text}" if coming.steps else "  is allowed now", palette.text)
        return row.strip(width)
    row.add(f"{palette.glyphs.waiting} {coming.command} waits: ", palette.waiting)
    row.add(coming.reason or coming.refused_by or "not allowed now", palette.text)
    if coming.would_allow:
        row.add(f"  {palette.glyphs.arrow} {coming.would_allow}", palette.muted)
    return row.strip(width)


class HeadLine(Panel, can_focus=False):
    """Which migration, in what state, held or not, who holds the seat, the time in UTC."""

    DEFAULT_CSS = """
    HeadLine { height: 1; }
    """
    observe = False

    def _draw_lines(self) -> list[Strip]:
        if self.snapshot is None or self.failed is not None:
            return super()._draw_lines()
        return [head_line(self.snapshot, self.palette, self.size.width, observe=self.observe, old=self.stale)]


class NextLine(Panel, can_focus=False):
    """What holds it, what runs, or what comes next."""

    DEFAULT_CSS = """
    NextLine { height: 1; }
    """
    observe = False

    def draw(self, snapshot: Snapshot, palette: Palette, width: int, height: int) -> list[Strip]:
        return [next_line(snapshot, palette, width, observe=self.observe)]
