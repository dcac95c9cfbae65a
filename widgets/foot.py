"""The last line: what can be done here, as buttons. R ROLLBACK is the most visible and is never left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

from rich.cells import cell_len
from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal
from textual.message import Message
from textual.reactive import reactive
from textual.strip import Strip
from textual.widget import Widget

from themes.palette import palette_in
from widgets.row import Row


@dataclass(frozen=True, slots=True)
class FootEntry:
    """One button: the key that does the same, what it says, the action, whether it applies now."""

    key: str
    label: str
    action: str
    enabled: bool = True
    danger: bool = False
    short: str = ""  # said where there is little room
    keep: bool = False  # never left out
    note: bool = False  # no button: something to know


class FootButton(Widget, can_focus=True):
    """A button of the foot line."""

    ALLOW_SELECT = False
    DEFAULT_CSS = """
    FootButton { height: 1; width: auto; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [Binding("enter,space", "press", "press", show=False)]

    def __init__(self, entry: FootEntry, words: str) -> None:
        super().__init__(classes="-danger" if entry.danger else None)
        self.entry = entry
        self.words = words
        self.can_focus = entry.enabled

    def show(self, entry: FootEntry, words: str) -> None:
        """Say something else, where it differs."""
        if (entry, words) != (self.entry, self.words):
            wider = cell_len(words) != cell_len(self.words)
            self.entry, self.words, self.can_focus = entry, words, entry.enabled
            self.refresh(layout=wider)

    def get_content_width(self, container: object, viewport: object) -> int:
        return cell_len(self.words) + 2

    def render_line(self, y: int) -> Strip:
        palette = palette_in(self.app)
        row = Row(palette).gap()
        key, _, label = self.words.partition(" ")
        if self.entry.note:
            row.add(self.words, palette.held)
            return row.gap().strip(self.size.width).apply_style(self.visual_style.rich_style)
        if not self.entry.enabled:
            row.add(self.words, palette.stale)
            return row.gap().strip(self.size.width).apply_style(self.visual_style.rich_style)
        if self.entry.danger:
            style = palette.alarm
            arrow = palette.glyphs.step if self.has_focus else " "
            return Row(palette).add(f"{arrow}{self.words} ", style).strip(self.size.width, fill=style)
        row.add(key, palette.accent + palette.strong).gap().add(label, palette.text)
        return row.gap().strip(self.size.width).apply_style(self.visual_style.rich_style)

    def action_press(self) -> None:
        if self.entry.enabled:
            self.post_message(FootBar.Pressed(self.entry.action))

    def on_click(self, event: events.Click) -> None:
        event.stop()
        self.action_press()


class FootBar(Horizontal):
    """The buttons that fit, in their order; those that must stay are the last to go."""

    DEFAULT_CSS = """
    FootBar { height: 1; width: 1fr; }
    """
    entries: reactive[tuple[FootEntry, ...]] = reactive((), recompose=False)

    class Pressed(Message):
        """A button was pressed by key or mouse."""

        def __init__(self, action: str) -> None:
            super().__init__()
            self.action = action

    def compose(self) -> ComposeResult:
        for entry, words in fitting_entries(self.entries, self.size.width or 80):
            yield FootButton(entry, words)

    async def watch_entries(self) -> None:
        await self._show()

    async def on_resize(self) -> None:
        await self._show()

    async def _show(self) -> None:
        """Buttons stay where they are, and keep the focus, as long as the same ones fit."""
        if not self.is_mounted:
            return
        wanted = fitting_entries(self.entries, self.size.width or 80)
        buttons = list(self.query(FootButton))
        if [b.entry.action for b in buttons] != [e.action for e, _ in wanted]:
            focused = next((b.entry.action for b in buttons if b.has_focus), None)
            await self.recompose()
            for button in self.query(FootButton):
                if button.entry.action == focused:
                    button.focus()
            return
        for button, (entry, words) in zip(buttons, wanted, strict=True):
            button.show(entry, words)


def fitting_entries(entries: tuple[FootEntry, ...], width: int) -> list[tuple[FootEntry, str]]:
    """What each button says so that all fit: short words first, then the last are left out, never `keep` or `danger`."""
    chosen = [(e, f"{e.key} {e.label}".strip()) for e in entries]
    if _used(chosen) > width:
        chosen = [(e, f"{e.key} {e.short or e.label}".strip()) for e, _ in chosen]
    while _used(chosen) > width:
        loose = [i for i, (e, _) in enumerate(chosen) if not (e.keep or e.danger)]
        if not loose:
            break
        chosen.pop(loose[-1])
    return chosen


def _used(chosen: list[tuple[FootEntry, str]]) -> int:
    return sum(cell_len(words) + 2 for _, words in chosen)
