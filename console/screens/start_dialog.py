"""The engine is gone and the operator wants to roll back: says so, and offers to start it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical

from backends.errors import CutoverError
from backends.escape import plain
from console.screens.line import Line
from console.screens.modal import Dialog
from console.view import View
from console.words import gone_words

ANSWER = 30.0


class StartDialog(Dialog[bool]):
    """True when the engine answers again, whoever started it."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("y", "start", "start", show=False)]

    def __init__(
        self,
        view: View,
        *,
        name: str,
        start: Callable[[], Awaitable[None]] | None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(clock=clock)
        self._view = view
        self.migration = name
        self._start = start
        self._starting = False

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Line("ROLLBACK needs the engine, and it is gone", id="dialog-title")
            yield Line(self._gone(), id="dialog-facts")
            yield Line(self._offer(), id="dialog-prompt")
            yield Line("", id="dialog-said")
            yield Line("Esc back", id="dialog-hint")

    def _gone(self) -> str:
        return gone_words(self._view.gone_for or 0.0, self._view.gone_reason)

    def _offer(self) -> str:
        if self._start is None:
            return f"in a shell: cutover rollback {plain(self.migration, 60)}   (it starts the engine by itself)"
        return "y starts it; then the preview opens. A rollback that was under way goes on by itself."

    def show(self, view: View) -> None:
        self._view = view
        if view.gone_for is None and view.snapshot is not None:
            self.dismiss(True)
            return
        self.query_one("#dialog-facts", Line).update(self._gone())

    def action_start(self) -> None:
        """Start the engine; its first snapshot closes this dialog."""
        if self._start is None or self._starting:
            return
        self._starting = True
        self.query_one("#dialog-said", Line).update("starting the engine …")
        self.run_worker(self._run(self._start), group="start", exclusive=True)

    async def _run(self, start: Callable[[], Awaitable[None]]) -> None:
        said = "the engine was started: waiting for its first word …"
        try:
            async with asyncio.timeout(ANSWER):
                await start()
        except (CutoverError, OSError, TimeoutError) as error:
            self._starting = False
            said = f"could not start it: {plain(str(error) or 'no answer', 300)}"
        self.query_one("#dialog-said", Line).update(said)
