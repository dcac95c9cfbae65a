"""What is compared: measures with both curves, checkpoints with the tensors that differ."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.widget import Widget

from console.screens.base import CutoverScreen
from widgets.validation_plot import ValidationPlot


class ValidationScreen(CutoverScreen):
    """One list over the whole screen."""

    HELP_TEXT: ClassVar[str] = (
        "Comparisons of target with legacy; below the list the one under the cursor: its places, both curves and their difference in the band "
        "that is allowed, or the tensors of two checkpoints that differ most. `y` copies the measure and its difference."
    )

    def body(self) -> Iterable[Widget]:
        yield ValidationPlot(id="list")
