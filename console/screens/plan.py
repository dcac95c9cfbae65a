"""The plan, its gates and triggers, and the next step with what refuses it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.widget import Widget

from console.screens.base import CutoverScreen
from console.screens.steps import LiveSteps
from console.view import View
from widgets.plan_gates import PlanGates
from widgets.plan_items import is_signed, sign_name


class PlanScreen(CutoverScreen):
    """All that must hold, be proven or be signed; below it the steps that `advance` would take now."""

    HELP_TEXT: ClassVar[str] = (
        "Gates and checklist by phase, what remains of legacy, preflight, triggers. `S` signs what is under the cursor, or "
        "takes the signature back. Below: the steps that `advance` would take now; the "
        "third line says what it waits for. `y` copies a line with its verdict."
    )
    SIGNS: ClassVar[bool] = True

    def body(self) -> Iterable[Widget]:
        yield PlanGates(id="list")
        yield LiveSteps(id="next-steps")

    def item_to_sign(self) -> tuple[str, bool]:
        entry = self.query_one(PlanGates).current()
        thing = entry.thing.signable if entry is not None else None
        return ("", False) if thing is None else (sign_name(thing), is_signed(thing))

    def show(self, view: View) -> None:
        super().show(view)
        coming = view.snapshot.next if view.snapshot else None
        steps = self.query_one(LiveSteps)
        steps.set_class(coming is None or not coming.steps, "-gone")
        steps.steps = coming.steps if coming else ()
