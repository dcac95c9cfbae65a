"""The main screen: are we safe, is it moving, and can I take it back?"""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.widget import Widget

from console.screens.base import CutoverScreen
from console.view import View
from widgets.overview import Overview
from widgets.readiness import ReadinessLine


class OverviewScreen(CutoverScreen):
    """Every panel at once, in order of weight."""

    HELP_TEXT: ClassVar[str] = (
        "The second line says how ready rollback is (`!2`: two things lower it, 7 names them), the third what holds, runs or "
        "comes next. "
        "Tab goes from panel to panel, Enter opens one."
    )

    def heads(self) -> Iterable[Widget]:
        return ()

    def body(self) -> Iterable[Widget]:
        yield Overview(id="overview")

    def value_to_copy(self, view: View) -> str:
        """The line that says how ready rollback is: for the chat of those who ask."""
        lines = self.query_one(ReadinessLine).lines()
        return lines[0].text.strip() if lines else ""
