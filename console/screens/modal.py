"""What every dialog is: a frame over the screen that takes no key pressed before it was painted."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar, Generic, TypeVar

from textual import events
from textual.binding import Binding, BindingType
from textual.containers import VerticalScroll
from textual.message import Message
from textual.screen import ModalScreen
from textual.widgets import Input

from console.guard import KeyGuard
from console.screens.line import Line
from console.view import View

Result = TypeVar("Result")


class Dialog(ModalScreen[Result], Generic[Result]):
    """A modal with a key guard; `Esc` is always the way back. The app asks `takes` before it hands on a key."""

    GUARDED: ClassVar[bool] = True
    DEFAULT_CSS = """
    Dialog { align: center middle; }
    Dialog > .dialog { width: 90%; min-width: 78; max-width: 110; height: auto; max-height: 100%; padding: 0 1; }
    Dialog .dialog Line { height: auto; }
    Dialog .dialog Input { height: 1; border: none; padding: 0; width: 1fr; }
    Dialog .dialog .line { height: 1; }
    Dialog .dialog .line Line { width: auto; }
    Dialog .dialog .-gone { display: none; }
    """
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "back", "back", show=False),
        Binding("pagedown", "scroll_steps(1)", "more steps", show=False, priority=True),
        Binding("pageup", "scroll_steps(-1)", "steps before", show=False, priority=True),
    ]

    def __init__(self, *, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self.guard = KeyGuard(clock)

    def takes(self, event: events.Key) -> bool:
        """Was this key pressed at what is on the screen now? `Esc` always was."""
        return not self.GUARDED or event.key == "escape" or self.guard.admits(event.time)

    @property
    def is_whole(self) -> bool:
        """Are its parts there? Of a dialog that is taken down they go first."""
        return bool(self.query(Line))

    def show(self, view: View) -> None:
        """A new moment of the console; most dialogs keep to what they asked."""

    def ask_anew(self) -> None:
        """What is shown has changed: keys count again once it is painted."""
        self.guard.close()
        self.call_after_refresh(self.guard.painted)

    def on_mount(self) -> None:
        self.ask_anew()
        for scroll in self.query("#dialog-scroll"):
            self.watch(scroll, "show_vertical_scrollbar", self.tell_hint, init=False)

    def hint(self, more: bool) -> str:
        """The last line: what the hand may do; `more` where something must be scrolled to."""
        return ""

    def tell_hint(self) -> None:
        """Say it anew: what is allowed has changed, or what fits."""
        words = self.hint(any(scroll.display and scroll.show_vertical_scrollbar for scroll in self.query("#dialog-scroll")))
        for line in self.query("#dialog-hint").results(Line) if words else ():
            line.update(words)

    def action_scroll_steps(self, way: int) -> None:
        """The steps that do not fit."""
        for scroll in self.query(VerticalScroll):
            scroll.scroll_relative(y=way * max(1, scroll.size.height - 1), animate=False)

    def action_back(self) -> None:
        """Leave without doing anything."""
        self.dismiss(None)


class TypedInput(Input):
    """A line that is typed by hand: pasted text is refused, whichever way it comes."""

    class PasteRefused(Message):
        """Somebody pasted."""

    def on_mount(self) -> None:
        self.cursor_blink = False  # nothing blinks

    def _on_paste(self, event: events.Paste) -> None:
        event.prevent_default()
        event.stop()
        self.post_message(self.PasteRefused())

    def action_paste(self) -> None:
        """The console's own clipboard is refused as well."""
        self.post_message(self.PasteRefused())
