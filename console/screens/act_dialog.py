"""The dialogs of advance, hold, resume and taking the seat: the steps first, then a distinct way to say yes.

What is confirmed by what: advance by typing the word and Enter, resume by typing a reason and Enter, hold and the seat by
`y`. The key that opened a dialog never confirms it, and Enter alone never does.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import ClassVar

from textual import on
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll

from backends.errors import CutoverError
from backends.escape import plain
from backends.snapshot import PreviewView
from console.keymap import Act
from console.link import Args, says_changed
from console.screens.line import Line
from console.screens.modal import Dialog, TypedInput
from console.screens.steps import FullSteps
from console.view import View
from console.words import preview_facts, refusal_words, what_changed

Ask = Callable[[str, Args], Awaitable[PreviewView]]
Send = Callable[[str, Args], Awaitable[None]]

TITLES = {
    Act.ADVANCE: "ADVANCE: one step forward",
    Act.HOLD: "HOLD: nothing moves forward; rollback stays possible",
    Act.RESUME: "RESUME: lift the hold",
    Act.APPROVE: "APPROVE: what another operator has asked for",
    Act.OVERRIDE: "OVERRIDE: lift one rule for a time",
    Act.SIGN: "SIGN: answer for what no machine can check",
    Act.SEAT: "TAKE THE SEAT: the right to command the engine",
}
YES = {Act.HOLD: "holds", Act.SEAT: "takes the seat"}
LEAST_REASON = 3


@dataclass(frozen=True, slots=True)
class ActSpec:
    """What a dialog asks for. `word` is typed; `reason` means that a free text is."""

    act: Act
    word: str = ""
    reason: bool = False

    @property
    def typed(self) -> bool:
        return bool(self.word) or self.reason


SPECS = {
    Act.ADVANCE: ActSpec(Act.ADVANCE, word="advance"),
    Act.HOLD: ActSpec(Act.HOLD),
    Act.RESUME: ActSpec(Act.RESUME, reason=True),
    Act.APPROVE: ActSpec(Act.APPROVE, word="approve"),
    Act.OVERRIDE: ActSpec(Act.OVERRIDE, reason=True),
    Act.SIGN: ActSpec(Act.SIGN, reason=True),
    Act.SEAT: ActSpec(Act.SEAT),
}


class ActDialog(Dialog[bool]):
    """Preview and confirmation of one act. True when the engine has taken it up."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("y", "yes", "yes", show=False)]

    def __init__(self, act: Act, *, ask: Ask, send: Send, seat: str = "", clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(clock=clock)
        self.spec = SPECS[act]
        self._ask = ask
        self._send = send
        self._seat = seat
        self.preview: PreviewView | None = None
        self._busy = False

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog"):
            yield Line(self._title(), id="dialog-title")
            yield Line(self._seat or "asking the engine …", id="dialog-facts")
            yield Line("", id="dialog-refusal", classes="-gone")
            with VerticalScroll(id="dialog-scroll", can_focus=False, classes="-gone"):
                yield FullSteps(id="dialog-steps")
            with Horizontal(classes="line", id="dialog-ask"):
                yield Line(self._prompt(), id="dialog-prompt")
                if self.spec.typed:
                    yield TypedInput(id="dialog-typed", compact=True)
            yield Line("", id="dialog-said")
            yield Line(self.hint(False), id="dialog-hint")

    def _title(self) -> str:
        return TITLES[self.spec.act]

    def _asks(self) -> Args:
        """What the preview is asked with."""
        return {}

    def _prompt(self) -> str:
        if self.spec.act is Act.OVERRIDE:
            return "RULE TIME why, and Enter: "
        if self.spec.word:
            return f"type {self.spec.word} and Enter: "
        return "why (goes to the journal), and Enter: " if self.spec.reason else f"y  {YES[self.spec.act]}"

    def hint(self, more: bool) -> str:
        """What confirms it; of what is refused only the way back."""
        refused = self.preview is not None and not self.preview.allowed
        says = [] if refused else ["Enter alone is never yes" if self.spec.typed else "y confirms"]
        return " · ".join([*says, *(["PgDn more"] if more else []), "Esc back"])

    def on_mount(self) -> None:
        super().on_mount()
        if self.spec.act is Act.SEAT:
            return
        self._may_answer(False)
        self.run_worker(self._fetch(), group="preview", exclusive=True)

    async def _fetch(self, changed: bool = False) -> None:
        try:
            new = await self._ask(self.spec.act, self._asks())
        except (CutoverError, OSError, TimeoutError) as error:
            self._say(f"no preview: {plain(str(error) or 'no answer from the engine', 300)}")
            return
        if changed and self.preview is not None:
            self._say(f"the world changed, look again: {what_changed(self.preview, new)}")
        self._shows(new)

    def show(self, view: View) -> None:
        """A refused step says what it waits for now; one that may be taken, or may no longer, is previewed anew."""
        coming = view.snapshot.next if view.snapshot else None
        if self.spec.act is not Act.ADVANCE or self._busy or coming is None or self.preview is None:
            return
        if (coming.allowed, _texts(coming)) != (self.preview.allowed, _texts(self.preview)):
            self.run_worker(self._look_again(), group="preview", exclusive=True)
        elif not coming.allowed and coming.reason != self.preview.reason:
            self.preview = coming
            self._explain(coming)

    async def _look_again(self) -> None:
        """Only a preview of another hash or answer disturbs the hand."""
        try:
            new = await self._ask(self.spec.act, self._asks())
        except (CutoverError, OSError, TimeoutError):
            return  # the next snapshot, or the engine's refusal, tells
        old = self.preview
        if old is None or (new.hash, new.allowed) == (old.hash, old.allowed):
            return
        self._shows(new)
        if old.allowed:
            self._say(f"the world changed, look again: {what_changed(old, new)}")

    def _shows(self, preview: PreviewView) -> None:
        self.preview = preview
        self.query_one("#dialog-facts", Line).update(preview_facts(preview))
        self.query_one(FullSteps).steps = preview.steps
        self.query_one("#dialog-scroll").set_class(not preview.steps, "-gone")
        self._explain(preview)
        self._may_answer(preview.allowed)
        self.ask_anew()
        self.tell_hint()

    def _explain(self, preview: PreviewView) -> None:
        """Why it is refused, or what it does beside its steps."""
        said = [plain(warning, 200) for warning in preview.warnings]
        if not preview.allowed:
            said.insert(0, refusal_words(preview))
        elif preview.reason and preview.reason not in _texts(preview):
            said.insert(0, plain(preview.reason, 400))
        refusal = self.query_one("#dialog-refusal", Line)
        refusal.update("\n".join(said))
        refusal.set_class(not said, "-gone")
        refusal.set_class(preview.allowed and not preview.warnings, "-told")

    def _may_answer(self, yes: bool) -> None:
        self.query_one("#dialog-ask").set_class(not yes, "-gone")
        for typed in self.query(TypedInput):
            typed.value = ""
            typed.disabled = not yes
            if yes:
                typed.focus()

    def action_yes(self) -> None:
        """`y` confirms what needs no typing."""
        if not self.spec.typed:
            self._go("by hand, from the console")

    @on(TypedInput.Submitted)
    def _typed(self, event: TypedInput.Submitted) -> None:
        text = event.value.strip()
        if wrong := self._wrong(text):
            self._say(wrong)
        else:
            self._go(text if self.spec.reason else "by hand, from the console")

    def _wrong(self, text: str) -> str:
        """Why what was typed is not done; empty where it is."""
        if self.spec.word and text != self.spec.word:
            return f"not done: type {self.spec.word}, then Enter" if text else "Enter alone is never yes"
        if self.spec.act is Act.OVERRIDE and len(text.split(maxsplit=2)) < 3:
            return "not done: RULE TIME why, such as: SOAK 2h seen for a day in staging"
        return "not done: say why in a few words" if self.spec.reason and len(text) < LEAST_REASON else ""

    def _args(self, text: str) -> Args:
        """What the engine is given."""
        if self.spec.act is Act.SEAT:
            return {"take": True}
        if self.spec.act is Act.OVERRIDE:
            rule, length, why = text.split(maxsplit=2)
            return {"rule": rule.upper(), "for": length, "reason": why}
        return {"reason": text}

    @on(TypedInput.PasteRefused)
    def _pasted(self) -> None:
        self._say("pasted text is refused: type it by hand")

    def _go(self, reason: str) -> None:
        if self._busy or not self._may_go():
            return
        self._busy = True
        args = self._args(reason)
        if self.preview is not None and self.preview.hash:
            args["preview_hash"] = self.preview.hash
        self._say("sent …")
        self.run_worker(self._order(args), group="order", exclusive=True)

    def _may_go(self) -> bool:
        """What moves forward needs a preview that allows it; what does not, only must not be refused."""
        if self.preview is None:
            return self.spec.act in (Act.SEAT, Act.HOLD)
        return self.preview.allowed

    async def _order(self, args: Args) -> None:
        try:
            await self._send(self.spec.act, args)
        except (CutoverError, OSError, TimeoutError) as error:
            self._busy = False
            if isinstance(error, CutoverError) and says_changed(error):
                await self._fetch(changed=True)
            else:
                hint = getattr(error, "hint", "")
                self._say(plain(f"{error}" + (f"; {hint}" if hint else ""), 400))
            return
        self.dismiss(True)

    def _say(self, text: str) -> None:
        self.query_one("#dialog-said", Line).update(text)


def _texts(preview: PreviewView) -> tuple[str, ...]:
    return tuple(step.text for step in preview.steps)
