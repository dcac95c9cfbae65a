"""The console: a Textual app that shows what the engine tells and sends it what the operator confirms.

Start, stop, the screens and the one worker that follows events. Keys are `console.keymap`, palette commands
`console.palette`, commands `console.acts`. It holds no state that matters: it may be killed at any moment.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar

from textual import events, on, work
from textual.binding import Binding, BindingType
from textual.command import CommandPalette, Provider
from textual.message import Message
from textual.message_pump import MessagePump
from textual.screen import Screen
from textual.timer import Timer
from textual.types import CSSPathType

from backends.escape import plain
from backends.snapshot import Level, Snapshot
from console import spans
from console.acts import Acts
from console.feed import Feed
from console.keymap import Act, bindings
from console.link import EngineLink
from console.palette import CutoverCommands
from console.screens.act_dialog import ActDialog
from console.screens.base import CutoverScreen
from console.screens.help import HelpDialog
from console.screens.modal import Dialog
from console.screens.modes import MODES
from console.screens.rollback_dialog import EvacuateDialog, RollbackDialog
from console.screens.sign_dialog import SignDialog
from console.screens.start_dialog import StartDialog
from console.signals import leave_on_signals
from console.terminal import Terminal
from console.themed import ThemedApp
from console.typing import KeyTaken, KeyTurns
from console.view import View, seat_news, this_actor
from themes.themes import tcss
from widgets.foot import FootBar
from widgets.panel import Panel

NOTICE_STAYS = 8.0
CLOSING = 1.0
AT_ONCE = ("ctrl+q", "ctrl+c", "ctrl+r")  # wait for no screen
StartEngine = Callable[[], Awaitable[None]]


class SnapshotArrived(Message):
    """The engine told its state."""

    def __init__(self, snapshot: Snapshot) -> None:
        super().__init__()
        self.snapshot = snapshot


class EngineLost(Message):
    """The engine does not answer."""

    def __init__(self, reason: str) -> None:
        super().__init__()
        self.reason = reason


class CutoverApp(ThemedApp[int]):
    """The control room of one migration. Its result is the exit code."""

    TITLE = "cutover"
    CSS_PATH: ClassVar[CSSPathType | None] = [tcss("panels"), tcss("main"), Path(__file__).parent / "screens" / "screens.tcss"]
    HORIZONTAL_BREAKPOINTS = [(0, "-narrow"), (100, "-wide")]  # noqa: RUF012
    VERTICAL_BREAKPOINTS = [(0, "-low"), (34, "-tall"), (50, "-huge")]  # noqa: RUF012
    MODES = MODES
    DEFAULT_MODE = "overview"
    COMMANDS: ClassVar[set[type[Provider] | Callable[[], type[Provider]]]] = {CutoverCommands}
    ENABLE_COMMAND_PALETTE = True
    BINDINGS: ClassVar[list[BindingType]] = [
        *bindings(),
        Binding("escape", "back", "back", show=False),
        Binding("ctrl+r", "rollback", "ROLLBACK", show=False, priority=True),
        Binding("ctrl+q,ctrl+c", "leave", "leave", show=False, priority=True),
    ]

    def __init__(
        self,
        link: EngineLink,
        *,
        observe: bool = False,
        name: str | None = None,
        terminal: Terminal | None = None,
        actor: str | None = None,
        start_engine: StartEngine | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__(terminal)
        self.link = link
        self.migration = name
        self.start_engine = start_engine
        self.clock = clock
        self.view = View(observe=observe, actor=actor or this_actor(), uid=os.getuid())
        self.acts = Acts(link, spawn=self._spawn, tell=self.tell)
        self.feed = Feed(link, arrived=self._arrived, lost=self._lost, clock=clock)
        self._gone_at: float | None = None
        self._visited: list[str] = []
        self._notice: tuple[str, Level | None] = ("", None)
        self._notice_ends: Timer | None = None
        self.keys = KeyTurns(self._hand, is_ready=self._takes_keys, later=self.set_timer, clock=clock)

    # Start and stop

    def on_mount(self) -> None:
        leave_on_signals(self)
        self.set_class(self.ascii_only, "-ascii")
        self.app_resume_signal.subscribe(self, lambda _: self.action_redraw())
        self.set_interval(1.0, self._tick, name="age of a lost engine")
        self.call_after_refresh(self._follow)

    async def on_unmount(self) -> None:
        try:
            async with asyncio.timeout(CLOSING):
                await self.link.close()
        except TimeoutError:
            return  # the process ends; the engine sees the socket close

    @work(group="events", exclusive=True, exit_on_error=True)
    async def _follow(self) -> None:
        await self.feed.run()

    def _spawn(self, coroutine: object) -> object:
        return self.run_worker(coroutine, group="acts", exit_on_error=True)  # type: ignore[arg-type]

    async def on_event(self, event: events.Event) -> None:
        if isinstance(event, events.Key) and not event.is_forwarded and event.key not in AT_ONCE:
            await self.keys.take(event)
        else:
            await super().on_event(event)

    @property
    def _top(self) -> Screen[Any] | None:
        return self.screen_stack[-1] if self._screen_stacks.get(self._current_mode) else None

    async def _hand(self, key: events.Key) -> MessagePump | None:
        """A key to what has the focus, unless it was typed before its dialog was drawn."""
        screen = self._top
        if screen is None or (isinstance(screen, Dialog) and not screen.takes(key)):
            return None
        target = self.focused or screen
        await super().on_event(key)
        return target

    def _takes_keys(self) -> bool:
        screen = self._top
        return not isinstance(screen, CutoverScreen) or screen.takes_keys

    @on(KeyTaken)
    def _key_taken(self) -> None:
        self.call_later(self.keys.taken)  # behind what the key itself has put off, such as the focus

    # What the engine tells

    def _arrived(self, snapshot: Snapshot) -> None:
        self.post_message(SnapshotArrived(snapshot))

    def _lost(self, reason: str) -> None:
        self.post_message(EngineLost(reason))

    @on(SnapshotArrived)
    def _show_snapshot(self, message: SnapshotArrived) -> None:
        was_gone, self._gone_at = self._gone_at, None
        before = self.view
        self.acts.saw(message.snapshot)
        self.migration = message.snapshot.name
        self._look_at(snapshot=message.snapshot, gone_for=None, gone_reason="")
        if was_gone is not None and self.view.snapshot is not None:
            self.tell("the engine answers", Level.GOOD)
        if news := seat_news(before, self.view):
            self.tell(news, Level.HELD)

    @on(EngineLost)
    def _show_lost(self, message: EngineLost) -> None:
        self._gone_at = self.clock() if self._gone_at is None else self._gone_at
        self._look_at(gone_for=self.clock() - self._gone_at, gone_reason=plain(message.reason, 120))

    def _tick(self) -> None:
        if self._gone_at is not None:
            self._look_at(gone_for=self.clock() - self._gone_at)

    def _look_at(self, **changes: object) -> None:
        self.view = replace(self.view, **changes)  # type: ignore[arg-type]
        self._draw()

    def _draw(self) -> None:
        """Only what is on the screen: the stack of the present mode, never the other modes."""
        for screen in self.screen_stack:
            if isinstance(screen, CutoverScreen | Dialog) and screen.is_mounted and screen.is_whole:
                screen.show(self.view)
        self._say_notice()

    @on(events.ScreenResume)
    def _resumed(self) -> None:
        self._draw()

    # Words

    def tell(self, text: str, level: Level | None = None) -> None:
        """A notice above the foot, for some seconds, on whatever screen the operator goes to."""
        self._notice = (text, level)
        self._say_notice()
        if self._notice_ends is not None:
            self._notice_ends.stop()
        self._notice_ends = self.set_timer(NOTICE_STAYS, lambda: self.tell("")) if text else None

    def _say_notice(self) -> None:
        for screen in self.screen_stack:
            if isinstance(screen, CutoverScreen) and screen.is_mounted and screen.is_whole:
                screen.say(*self._notice)

    # Ways to look

    def action_look(self, mode: str) -> None:
        """One of the screens."""
        if mode == self.current_mode:
            self._leave_host()
            return
        self._visited = [*self._visited[-15:], self.current_mode]
        self._switch(mode)

    def _switch(self, mode: str) -> None:
        self.switch_mode(mode)
        self.call_after_refresh(self._draw)

    async def action_back(self) -> None:
        """Close the filter, else go to where the operator came from."""
        screen = self.screen
        if isinstance(screen, CutoverScreen) and screen.close_filter(clear=True):
            return
        if self._leave_host():
            return
        if self._visited:
            self._switch(self._visited.pop())
        elif self.current_mode != "overview":
            self._switch("overview")

    @on(CutoverScreen.HostChosen)
    def _open_host(self, message: CutoverScreen.HostChosen) -> None:
        from console.screens.host import HostScreen  # for who opens one

        self.push_screen(HostScreen(message.side, message.host, self.link))
        self.call_after_refresh(self._draw)

    def _leave_host(self) -> bool:
        """From a host's own screen back to the list that it was opened from; True where there was one."""
        is_over = isinstance(self.screen, CutoverScreen) and len(self.screen_stack) > 1
        if is_over:
            self.pop_screen()
            self.call_after_refresh(self._draw)
        return is_over

    @on(Panel.Opened)
    def _open_panel(self, message: Panel.Opened) -> None:
        if message.screen in MODES:
            self.action_look(message.screen)

    def action_filter(self) -> None:
        """Filter the list of this screen."""
        if not (isinstance(self.screen, CutoverScreen) and self.screen.open_filter()):
            self.tell("no list to filter on this screen")

    def action_sort(self) -> None:
        """Sort the list by the next column."""
        table = self.screen.table if isinstance(self.screen, CutoverScreen) else None
        if table is None:
            self.tell("no list to sort on this screen")
        else:
            self.tell(f"sorted by {table.cycle_sort()}")

    def action_copy(self) -> None:
        """Copy what is under the cursor and say so."""
        value = self.screen.value_to_copy(self.view) if isinstance(self.screen, CutoverScreen) else ""
        if value:
            self.copy_to_clipboard(value)
            self.tell(f"copied: {plain(value, 60)}")
        else:
            self.tell("nothing to copy here")

    def action_steps(self) -> None:
        """The steps of what runs."""
        self.action_look("run")

    def action_help(self) -> None:
        """The keys of this screen."""
        screen = self.screen
        text = screen.HELP_TEXT if isinstance(screen, CutoverScreen) else ""
        self.push_screen(HelpDialog(text, in_list=isinstance(screen, CutoverScreen) and screen.table is not None))

    def action_redraw(self) -> None:
        """Everything again: somebody else wrote on the terminal."""
        spans.frame_of(self.console).forget()
        self.screen.refresh(layout=True)

    def action_leave(self) -> None:
        """The engine goes on."""
        self.exit(0)

    @on(FootBar.Pressed)
    async def _foot_pressed(self, message: FootBar.Pressed) -> None:
        await self.run_action(message.action)

    # Acts

    def action_act(self, name: str) -> None:
        """Preview an act, to be confirmed."""
        act = Act(name)
        why_not = self.view.why_not(act)
        if why_not:
            self.tell(why_not, Level.HELD)
            return
        if act is Act.SIGN:
            item, withdraw = self.screen.item_to_sign() if isinstance(self.screen, CutoverScreen) else ("", False)
            self._open(SignDialog(item, withdraw=withdraw, ask=self.acts.preview, send=self.acts.send, clock=self.clock))
            return
        seat = self.view.seat_words() if act is Act.SEAT else ""
        self._open(ActDialog(act, ask=self.acts.preview, send=self.acts.send, seat=seat, clock=self.clock))

    def action_rollback(self) -> None:
        """Open the preview of the rollback, no more."""
        if isinstance(self.screen, RollbackDialog | StartDialog) and not isinstance(self.screen, EvacuateDialog):
            return
        why_not = self.view.why_not(Act.ROLLBACK)
        if why_not:
            self.tell(why_not, Level.HELD)
        elif self.view.gone_for is not None:
            self._open_start()
        else:
            self._open_rollback()

    def action_evacuate(self) -> None:
        """Open the preview of the evacuation, no more."""
        if isinstance(self.screen, EvacuateDialog):
            return
        why_not = self.view.why_not(Act.EVACUATE)
        if why_not:
            self.tell(why_not, Level.HELD)
            return
        dialog = EvacuateDialog(
            self.migration or "", ask=self.acts.preview, send=self.acts.send, view=self.view, clock=self.clock
        )  # fmt: skip
        self._open(dialog, after=lambda: self.action_look("run"))

    def _open_rollback(self) -> None:
        self._open(
            RollbackDialog(self.migration or "", ask=self.acts.preview, send=self.acts.send, view=self.view, clock=self.clock),
            after=lambda: self.action_look("run"),
        )

    def _open_start(self) -> None:
        dialog = StartDialog(self.view, name=self.migration or "", start=self.start_engine, clock=self.clock)
        self._open(dialog, after=self._open_rollback)
        self.feed.retry_now()

    def _open(self, dialog: Dialog[bool], after: Callable[[], None] | None = None) -> None:
        while isinstance(self.screen, Dialog | CommandPalette):
            self.pop_screen()

        def closed(taken: bool | None) -> None:
            if taken and after is not None:
                after()

        self.push_screen(dialog, closed)
