"""Every GPU of both providers."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.widget import Widget

from console.screens.base import CutoverScreen
from widgets.gpu_grid import GpuGrid


class GpusScreen(CutoverScreen):
    """One list over the whole screen."""

    HELP_TEXT: ClassVar[str] = (
        "Legacy left, target right, GPUs by host: each on a line, or as a heat map, or a cell a host, as there is room. Arrows move, "
        "Enter opens the host under the cursor, `s` sorts by health, busy, idle, heat, memory, name, `/` filters by name, health, GPU or alarm. "
        "`-` is a value that the device does not give. `y` copies the host's address."
    )

    def body(self) -> Iterable[Widget]:
        yield GpuGrid(id="list")
