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
        "Hosts of both sides, with the GPUs of the one under the cursor below. `-` is a value that the device does not give. `y` copies the host's address."
    )

    def body(self) -> Iterable[Widget]:
        yield GpuGrid(id="list")
