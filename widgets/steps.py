"""The steps of a preview or of a run, in the executor's own words."""

from __future__ import annotations

from collections.abc import Sequence

from rich.style import Style
from textual.reactive import reactive
from textual.strip import Strip

from backends.snapshot import StepView
from themes.palette import Palette
from widgets.figures import duration
from widgets.panel import Panel, nothing_yet
from widgets.row import Row


def step_rows(steps: Sequence[StepView], palette: Palette, width: int, height: int) -> list[Strip]:
    """A line a step; where not all fit those around the one that runs."""
    if not steps:
        return nothing_yet("no steps", palette, width, height)
    running = next((i for i, s in enumerate(steps) if s.status in ("running", "failed")), 0)
    start = max(0, min(running - height // 2, len(steps) - height))
    digits = len(str(len(steps)))
    return [step_line(i + 1, steps[i], palette, width, digits) for i in range(start, min(len(steps), start + height))]


def step_line(number: int, step: StepView, palette: Palette, width: int, digits: int = 1) -> Strip:
    """`✓ 2 chat: weight 0 on target  authority            0.5 s`."""
    glyph, style = _sign(step, palette)
    row = Row(palette).add(glyph, style).gap().add(str(number), palette.muted, digits, "right").gap()
    took = Row(palette)
    if step.seconds is not None:
        about = "" if step.status in ("confirmed", "failed") else "about "
        took.add(f"{about}{_short(step.seconds)}", palette.muted).gap()
    room = max(8, width - row.used - took.used - 1)
    text = Row(palette).add(step.text, palette.muted if step.status == "skipped" else palette.text)
    if step.detail:
        text.gap(2).add(step.detail, style if step.status == "failed" else palette.muted)
    row.join(text) if text.used <= room else row.add(text.text(), palette.text, room)
    return row.right(took, width).strip(width)


def _short(value: float) -> str:
    return f"{value:.1f} s" if value < 10 else duration(value)


def _sign(step: StepView, palette: Palette) -> tuple[str, Style]:
    glyphs = palette.glyphs
    return {
        "waiting": (glyphs.dot, palette.muted),
        "running": (glyphs.step, palette.accent + palette.strong),
        "confirmed": (glyphs.good, palette.good),
        "failed": (glyphs.breach, palette.breach),
        "skipped": ("-", palette.muted),
    }[step.status]


class StepsList(Panel, can_focus=False):
    """Steps, for previews (give `steps`) and for the run of the snapshot (give none)."""

    TITLE = ""
    steps: reactive[tuple[StepView, ...]] = reactive((), repaint=False)

    def _draw_lines(self) -> list[Strip]:
        width, height = self.size
        return step_rows(self.steps, self.palette, width, height)

    def watch_steps(self) -> None:
        self.redraw()

    def get_content_height(self, container: object, viewport: object, width: int) -> int:
        return max(1, len(self.steps))
