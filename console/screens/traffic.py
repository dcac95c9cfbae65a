"""Where clients are sent."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.widget import Widget

from console.screens.base import CutoverScreen
from widgets.traffic_table import TrafficTable


class TrafficScreen(CutoverScreen):
    """One list over the whole screen."""

    HELP_TEXT: ClassVar[str] = (
        "Routes: the weight that is desired, what the authority says, where clients were seen. `y` copies the route and its weight."
    )

    def body(self) -> Iterable[Widget]:
        yield TrafficTable(id="list")
