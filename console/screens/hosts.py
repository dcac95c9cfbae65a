"""Every host, and why one is not live."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual.widget import Widget

from console.screens.base import CutoverScreen
from widgets.hosts_table import HostsTable


class HostsScreen(CutoverScreen):
    """One list over the whole screen."""

    HELP_TEXT: ClassVar[str] = (
        "Hosts: health, age of the last line, driver, CUDA, errors. Enter opens a host. `y` copies its address."
    )

    def body(self) -> Iterable[Widget]:
        yield HostsTable(id="list")
