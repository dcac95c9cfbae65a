"""The main screen as one widget: every panel in its place, each given the same snapshot. Its look is `themes/main.tcss`."""

from __future__ import annotations

from textual.app import ComposeResult
from textual.containers import Horizontal, Vertical
from textual.reactive import reactive
from textual.widget import Widget

from backends.snapshot import Snapshot
from widgets.events import EventsPanel
from widgets.gpus import GpusPanel
from widgets.headline import HeadLine, NextLine
from widgets.panel import Panel
from widgets.readiness import ReadinessLine
from widgets.standing import StandingLine
from widgets.traffic import TrafficPanel
from widgets.transfer import TransferPanel
from widgets.triggers import TriggersPanel
from widgets.validation import ValidationPanel


class Overview(Widget):
    """State, readiness, what is next; traffic and transfer left, triggers and GPUs right; validation; events."""

    snapshot: reactive[Snapshot | None] = reactive(None, repaint=False)
    stale: reactive[float | None] = reactive(None, repaint=False)
    """Seconds without a snapshot, once that is too long."""
    gone: reactive[str | None] = reactive(None, repaint=False)
    """Why the engine does not answer."""

    def compose(self) -> ComposeResult:
        yield HeadLine(id="head-line")
        yield ReadinessLine(id="readiness-line")
        yield NextLine(id="next-line")
        yield StandingLine(id="standing-line")
        with Horizontal(id="body"):
            with Vertical(id="left"):
                yield TrafficPanel(id="traffic")
                yield TransferPanel(id="transfer")
            with Vertical(id="right"):
                yield TriggersPanel(id="triggers")
                yield GpusPanel(id="gpus")
        yield ValidationPanel(id="validation")
        yield EventsPanel(id="events")

    def on_mount(self) -> None:
        self._hand_down()

    def watch_snapshot(self) -> None:
        self._hand_down()

    def watch_stale(self) -> None:
        self._hand_down()

    def watch_gone(self) -> None:
        self._hand_down()

    def _hand_down(self) -> None:
        for line in self.query(ReadinessLine):
            line.gone = self.gone
        for panel in self.query(Panel):
            panel.stale = self.stale
            panel.snapshot = self.snapshot
