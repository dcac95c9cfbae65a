"""The plan, its gates and triggers, and the next step with what refuses it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.widget import Widget

from console.screens.base import CutoverScreen
from console.screens.steps import LiveSteps
from console.view import View
from widgets.plan_gates import PlanGates


class PlanScreen(CutoverScreen):
    """Gates and triggers; below them the steps that `advance` would take now."""

    HELP_TEXT: ClassVar[str] = (
        "Gates by phase, then triggers. Below: the steps that `advance` would take now; the third line says what it "
        "waits for. `y` copies the gate or trigger with its verdict."
    )

    def body(self) -> Iterable[Widget]:
        yield PlanGates(id="list")
        yield LiveSteps(id="next-steps")

    def show(self, view: View) -> None:
        super().show(view)
        coming = view.snapshot.next if view.snapshot else None
        steps = self.query_one(LiveSteps)
        steps.set_class(coming is None or not coming.steps, "-gone")
        steps.steps = coming.steps if coming else ()
