"""The steps of a preview: every one in full, over as many lines as it needs, since they are what is being confirmed."""

from __future__ import annotations

from rich.cells import cell_len
from textual.strip import Strip

from backends.snapshot import StepView
from themes.palette import Palette
from widgets.panel import nothing_yet
from widgets.row import Row, clean, wrapped
from widgets.steps import StepsList, step_line

BESIDE = 14  # cells that the expected seconds need at the right


def full_rows(steps: tuple[StepView, ...], palette: Palette, width: int) -> list[Strip]:
    """A line a step, more where its text is longer; nothing is cut."""
    digits = len(str(len(steps)))
    indent = digits + 3
    lines: list[Strip] = []
    for number, step in enumerate(steps, 1):
        text = clean("  ".join(part for part in (step.text, step.detail) if part))
        if cell_len(text) <= width - indent - BESIDE:
            lines.append(step_line(number, step, palette, width, digits))
            continue
        parts = wrapped(text, max(12, width - indent - BESIDE), 1000, palette)
        first = step.model_copy(update={"text": parts[0].text, "detail": ""})
        lines.append(step_line(number, first, palette, width, digits))
        lines += [Row(palette).gap(indent).add(part.text, palette.text).strip(width) for part in parts[1:]]
    return lines


class FullSteps(StepsList, can_focus=False):
    """As high as its steps need; lies in something that scrolls."""

    def _draw_lines(self) -> list[Strip]:
        width, height = self.size
        if not self.steps:
            return nothing_yet("no steps", self.palette, width, height)
        return full_rows(self.steps, self.palette, width)

    def get_content_height(self, container: object, viewport: object, width: int) -> int:
        return len(full_rows(self.steps, self.palette, width)) if self.steps else 1

    def watch_steps(self) -> None:
        super().watch_steps()
        self.refresh(layout=True)


class LiveSteps(FullSteps, can_focus=False):
    """The steps of a run in a fixed place: in full where they fit, else a line a step around the one that runs."""

    def _draw_lines(self) -> list[Strip]:
        width, height = self.size
        rows = full_rows(self.steps, self.palette, width)
        if not self.steps or len(rows) <= height:
            return rows or super()._draw_lines()
        digits = len(str(len(self.steps)))
        start = first_shown(self.steps, height)
        shown = list(enumerate(self.steps, 1))[start : start + height]
        return [step_line(number, step, self.palette, width, digits) for number, step in shown]


def first_shown(steps: tuple[StepView, ...], height: int) -> int:
    """Where to begin so that what is under way is seen, and at the end the end."""
    now = next((i for i, step in enumerate(steps) if step.status not in ("confirmed", "skipped")), len(steps))
    return max(0, min(now - height // 2, len(steps) - height))
