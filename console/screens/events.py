"""The journal's last events."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.widget import Widget

from console.screens.base import CutoverScreen
from widgets.events_log import EventsLog


class EventsScreen(CutoverScreen):
    """One list over the whole screen."""

    HELP_TEXT: ClassVar[str] = "Newest first. `cutover history` shows all of them. `y` copies the time and the text."

    def body(self) -> Iterable[Widget]:
        yield EventsLog(id="list")
