"""What is compared, and both curves."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.widget import Widget

from console.screens.base import CutoverScreen
from widgets.validation_plot import ValidationPlot


class ValidationScreen(CutoverScreen):
    """One list over the whole screen."""

    HELP_TEXT: ClassVar[str] = (
        "Comparisons of target with legacy; below the list both curves of the one under the cursor. `y` copies the measure and its difference."
    )

    def body(self) -> Iterable[Widget]:
        yield ValidationPlot(id="list")
