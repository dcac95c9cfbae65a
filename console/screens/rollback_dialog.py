"""The rollback preview and its typed confirmation: design.md, "Keys and safety of the hand".

The steps are the executor's own, as the engine previews them. The name of the migration is typed by hand; Enter alone is
never yes, pasted text is refused, keys typed before the dialog was painted are dropped. The confirmation carries the hash of
what was previewed: when the engine says that the world changed, the new preview is shown and asked for again.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ClassVar, Literal

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.widgets import Button

from backends.errors import CutoverError
from backends.escape import plain
from backends.snapshot import Health, PreviewView, Snapshot
from console.link import Args, says_changed
from console.screens.act_dialog import Ask, Send
from console.screens.line import Line
from console.screens.modal import Dialog, TypedInput
from console.screens.steps import FullSteps
from console.view import View, may_evacuate
from console.words import gone_words, preview_facts, refusal_words, what_changed

Mode = Literal["graceful", "emergency"]
UNKNOWN_WORD = "accept-unknown"


class RollbackDialog(Dialog[bool]):
    """True when the engine has taken the rollback up."""

    COMMAND: ClassVar[str] = "rollback"
    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("ctrl+e", "switch_mode", "mode", show=False, priority=True),
        Binding("ctrl+t", "evacuate", "evacuate", show=False, priority=True),
        Binding("ctrl+u", "accept_unknown", "accept unknown", show=False, priority=True),
    ]

    def __init__(self, name: str, *, ask: Ask, send: Send, view: View, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock=clock)
        self.migration = name
        self.mode: Mode = "graceful"
        self.accepts_unknown = False
        self.preview: PreviewView | None = None
        self._ask = ask
        self._send = send
        self._view = view
        self._world = world_of(view.snapshot)
        self._sending = False

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Line(self._title(), id="dialog-title")
            yield Line("asking the engine …", id="dialog-facts")
            yield Line("", id="dialog-refusal", classes="-gone")
            with VerticalScroll(id="dialog-scroll", can_focus=False):
                yield FullSteps(id="dialog-steps")
            yield from self._choices()
            yield Line("", id="dialog-unknown", classes="-gone")
            with Horizontal(classes="line", id="dialog-ask"):
                yield Line("", id="dialog-prompt")
                yield TypedInput(id="dialog-typed", compact=True, disabled=True)
            yield Line("", id="dialog-said")
            yield Line(self.hint(False), id="dialog-hint")

    def hint(self, more: bool) -> str:
        """What is never yes, and whether there are more steps than are seen."""
        return "Enter alone is never yes · pasted text is refused" + (" · PgDn more" if more else "") + " · Esc back"

    def _title(self) -> str:
        return f"ROLLBACK {plain(self.migration, 60)} to legacy"

    def _choices(self) -> ComposeResult:
        with Horizontal(classes="line", id="dialog-modes"):
            yield Line("mode ")
            yield Button("graceful", id="graceful", compact=True)
            yield Button("emergency", id="emergency", compact=True)
            yield Line("  ^E switches", classes="quiet")

    def _args(self) -> Args:
        """What is asked for, in the preview as in the command."""
        return {"mode": self.mode, "accept_unknown": self.accepts_unknown}

    def on_mount(self) -> None:
        super().on_mount()
        self._fetch()

    # The preview

    def _fetch(self, why: str = "") -> None:
        """Ask for the preview of the present mode; nothing can be confirmed until it is shown."""
        self.guard.close()
        typed = self.query_one(TypedInput)
        typed.disabled = True
        typed.value = ""
        for button in self.query(Button):
            button.set_class(button.id == self.mode, "-chosen")
        self.run_worker(self._asking(why), group="preview", exclusive=True)

    async def _asking(self, why: str) -> None:
        try:
            new = await self._ask(self.COMMAND, self._args())
        except (CutoverError, OSError, TimeoutError) as error:
            self._say(f"no preview: {plain(str(error) or 'no answer from the engine', 300)}")
            self.ask_anew()
            return
        old, self.preview = self.preview, new
        self._shows(new)
        if why == "changed" and old is not None:
            self._say(f"the world changed, look again: {what_changed(old, new)}")

    def _shows(self, preview: PreviewView) -> None:
        self.query_one("#dialog-facts", Line).update(preview_facts(preview))
        self.query_one(FullSteps).steps = preview.steps
        said = [plain(warning, 200) for warning in preview.warnings]
        if not preview.allowed:
            said.insert(0, refusal_words(preview))
        said += self._ways_out()
        self._put("#dialog-refusal", "\n".join(said))
        self._put("#dialog-unknown", self._unknown_words())
        self.query_one("#dialog-prompt", Line).update(f"type {self.wanted} and Enter: ")
        self.query_one("#dialog-ask").set_class(not preview.allowed, "-gone")
        typed = self.query_one(TypedInput)
        typed.disabled = not preview.allowed
        if preview.allowed:
            typed.focus()
        self._say("")
        self.ask_anew()
        self.tell_hint()

    def _ways_out(self) -> list[str]:
        """Where legacy cannot take production back, a living target can take it whole."""
        offered = self._view.snapshot is not None and may_evacuate(self._view.snapshot)
        return ["legacy is dead or unseen and target is alive: ^T previews the evacuation to target"] if offered else []

    def action_evacuate(self) -> None:
        """The other way to safety, previewed in its own dialog."""
        if self._ways_out() and not self._sending:
            self.app.call_later(self.app.run_action, "evacuate")

    def _unknown_words(self) -> str:
        snapshot = self._view.snapshot
        if self.accepts_unknown:
            return "legacy cannot be seen, and that is accepted (^U takes it back)"
        if snapshot is not None and snapshot.rollback.legacy is Health.UNKNOWN:
            return "legacy cannot be seen: ^U accepts that, and it is then typed as well"
        return ""

    @property
    def wanted(self) -> str:
        """What has to be typed."""
        return f"{self.migration} {UNKNOWN_WORD}" if self.accepts_unknown else self.migration

    def show(self, view: View) -> None:
        """A changed world asks again before the engine has to say so."""
        was_gone, self._view = self._view.stale, view
        if view.gone_for is not None:
            self._say(gone_words(view.gone_for))
            return
        world = world_of(view.snapshot)
        if (world != self._world or was_gone) and not self._sending:
            self._world = world
            self.run_worker(self._look_again(), group="preview", exclusive=True)

    async def _look_again(self) -> None:
        """Ask quietly; only a preview of another hash disturbs the hand."""
        try:
            new = await self._ask(self.COMMAND, self._args())
        except (CutoverError, OSError, TimeoutError):
            return  # the next snapshot, or the engine's refusal, tells
        if self.preview is None or new.hash != self.preview.hash or new.allowed != self.preview.allowed:
            self._fetch("changed")

    # The hand

    def action_switch_mode(self) -> None:
        """Graceful or emergency: another preview."""
        self._choose("emergency" if self.mode == "graceful" else "graceful")

    @on(Button.Pressed)
    def _mode_pressed(self, event: Button.Pressed) -> None:
        self._choose("emergency" if event.button.id == "emergency" else "graceful")

    def _choose(self, mode: Mode) -> None:
        if mode != self.mode and not self._sending:
            self.mode = mode
            self._fetch()

    def action_accept_unknown(self) -> None:
        """A legacy that cannot be seen is accepted; it has to be typed then."""
        unseen = self._view.snapshot is not None and self._view.snapshot.rollback.legacy is Health.UNKNOWN
        if not self._sending and (unseen or self.accepts_unknown):
            self.accepts_unknown = not self.accepts_unknown
            self._fetch()

    @on(TypedInput.PasteRefused)
    def _pasted(self) -> None:
        self._say("pasted text is refused: type the name by hand")

    @on(TypedInput.Submitted)
    def _typed(self, event: TypedInput.Submitted) -> None:
        text = event.value.strip()
        if self._sending or self.preview is None or not self.preview.allowed:
            return
        if text != self.wanted:
            said = f"not done: that is not {plain(self.wanted, 80)}" if text else "Enter alone is never yes"
            self._say(said)
            return
        self._sending = True
        self._say("sent: waiting for the engine …")
        self.run_worker(self._order(self.preview), group="order", exclusive=True)

    async def _order(self, preview: PreviewView) -> None:
        confirmed: Args = {"confirm": self.migration, "preview_hash": preview.hash, "reason": "by hand, from the console"}
        try:
            await self._send(self.COMMAND, self._args() | confirmed)
        except (CutoverError, OSError, TimeoutError) as error:
            self._sending = False
            if isinstance(error, CutoverError) and says_changed(error):
                self._fetch("changed")
            else:
                hint = getattr(error, "hint", "")
                self._say(plain(f"{error}" + (f"; {hint}" if hint else ""), 400))
            return
        self.dismiss(True)

    def _put(self, selector: str, text: str) -> None:
        line = self.query_one(selector, Line)
        line.update(text)
        line.set_class(not text, "-gone")

    def _say(self, text: str) -> None:
        self.query_one("#dialog-said", Line).update(text)


class EvacuateDialog(RollbackDialog):
    """The same hand for the other way: all to target. True when the engine has taken the evacuation up."""

    COMMAND: ClassVar[str] = "evacuate"

    def _title(self) -> str:
        return f"EVACUATE {plain(self.migration, 60)}: all of it to target"

    def _choices(self) -> ComposeResult:
        yield Line("writers are handed over by force: the loss is shown above", classes="quiet")

    def _args(self) -> Args:
        return {"accept_unknown": self.accepts_unknown}

    def action_switch_mode(self) -> None:
        """There is one mode."""

    def _ways_out(self) -> list[str]:
        return []


def world_of(snapshot: Snapshot | None) -> tuple[object, ...]:
    """What a preview rests on, without measurements that move all the time."""
    if snapshot is None:
        return ()
    routes = tuple((r.name, r.desired, r.observed, r.foreign) for r in snapshot.routes)
    writers = tuple((d.name, d.writer, d.epoch) for d in snapshot.datasets)
    return (snapshot.state, routes, writers, snapshot.rollback.ready, snapshot.rollback.blocked_by)
