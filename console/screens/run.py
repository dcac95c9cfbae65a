"""The steps of what runs now, live, and how it ended, in words: where a confirmed rollback leads."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.widget import Widget

from console.screens.base import CutoverScreen
from console.screens.line import Line
from console.screens.steps import LiveSteps
from console.view import View
from console.words import run_result, run_title
from widgets.events import EventsPanel
from widgets.traffic import TrafficPanel


class RunScreen(CutoverScreen):
    """An advance or a rollback, step by step."""

    HELP_TEXT: ClassVar[str] = "The steps are the executor's own. Leaving this screen changes nothing: the run goes on."

    def body(self) -> Iterable[Widget]:
        yield Line("", id="run-title")
        yield LiveSteps(id="run-steps")
        yield Line("", id="run-result")
        yield TrafficPanel(id="run-traffic")
        yield EventsPanel(id="run-events")

    def show(self, view: View) -> None:
        super().show(view)
        snapshot = view.snapshot
        if snapshot is None:
            return
        self.query_one("#run-title", Line).update(run_title(snapshot.run) if snapshot.run else "no run")
        self.query_one("#run-result", Line).update(run_result(snapshot))
        self.query_one(LiveSteps).steps = snapshot.run.steps if snapshot.run else ()
