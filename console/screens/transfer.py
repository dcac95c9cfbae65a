"""Every dataset that moves: how far, how fast, how proven, what failed."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.widget import Widget

from console.screens.base import CutoverScreen
from widgets.transfer_table import TransferTable


class TransferScreen(CutoverScreen):
    """One list over the whole screen."""

    HELP_TEXT: ClassVar[str] = (
        "Datasets. Below the list: what the one under the cursor lacks, how its objects were proven, what failed. `y` copies the key of the first failed object, else the target's URL."
    )

    def body(self) -> Iterable[Widget]:
        yield TransferTable(id="list")
