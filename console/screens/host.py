"""One host whole, over the list that it was opened from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import ClassVar

from textual import on
from textual.message import Message
from textual.widget import Widget

from backends.escape import plain
from backends.snapshot import HostView, Level, SideName
from console.host_feed import HostFeed
from console.link import EngineLink
from console.screens.base import CutoverScreen
from console.view import View
from widgets.host_whole import HostPanel


class HostArrived(Message):
    """The engine told all of the host."""

    def __init__(self, host: HostView) -> None:
        super().__init__()
        self.host = host


class HostMissed(Message):
    """The engine did not tell."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class HostScreen(CutoverScreen):
    """What the snapshot has of the host is drawn at once; all of it once the engine has answered."""

    HELP_TEXT: ClassVar[str] = (
        "Everything known of one host: alarms with their cure, its last hour, the machine, each GPU's values, processes. `-` is a value "
        "that it does not give; a gap in a graph is time in which nothing was heard. Arrows and PgDn scroll, `y` copies the host's address, Esc goes back."
    )

    def __init__(self, side: SideName, host: str, link: EngineLink) -> None:
        super().__init__()
        self._side, self._host = side, host
        self._link = link
        self._whole: HostView | None = None

    def body(self) -> Iterable[Widget]:
        yield HostPanel(id="host")

    def on_mount(self) -> None:
        self.query_one(HostPanel).focus()

    def on_screen_resume(self) -> None:
        self.run_worker(self._follow(), group="host", exclusive=True)

    def on_screen_suspend(self) -> None:
        self.workers.cancel_group(self, "host")

    async def _follow(self) -> None:
        await HostFeed(self._link, self._host, arrived=self._arrived, lost=self._missed).run()

    def _arrived(self, host: HostView) -> None:
        self.post_message(HostArrived(host))

    def _missed(self, reason: str) -> None:
        self.post_message(HostMissed(reason))

    @on(HostArrived)
    def _take(self, message: HostArrived) -> None:
        self._whole = message.host
        self.query_one(HostPanel).host = message.host

    @on(HostMissed)
    def _tell(self, message: HostMissed) -> None:
        """A gone engine is told in the readiness line already."""
        if self._whole is None:
            self.say(plain(message.reason, 120), Level.HELD)

    def show(self, view: View) -> None:
        if self._whole is None and view.snapshot is not None:
            seen = (h for h in view.snapshot.hosts if (h.side, h.name) == (self._side, self._host))
            self.query_one(HostPanel).host = next(seen, None)
        super().show(view)

    def value_to_copy(self, view: View) -> str:
        """The host's address."""
        host = self.query_one(HostPanel).host
        return (host.address or host.name) if host is not None else ""
