"""The dialog of a signature: what is answered for, then why, typed by hand.

On the plan's screen it signs what is under the cursor, or takes that signature back; elsewhere the item is typed before the reason.
"""

from __future__ import annotations

import time
from collections.abc import Callable

from backends.escape import plain
from console.keymap import Act
from console.link import Args
from console.screens.act_dialog import LEAST_REASON, ActDialog, Ask, Send


class SignDialog(ActDialog):
    """One item, signed or signed no longer. True when the engine has journaled it."""

    def __init__(
        self, item: str = "", *, withdraw: bool = False, ask: Ask, send: Send, clock: Callable[[], float] = time.monotonic
    ) -> None:
        super().__init__(Act.SIGN, ask=ask, send=send, clock=clock)
        self.item = item
        self.withdraw = withdraw

    def _title(self) -> str:
        if not self.item:
            return super()._title()
        return f"WITHDRAW the signature of {plain(self.item, 60)}" if self.withdraw else f"SIGN {plain(self.item, 60)}"

    def _asks(self) -> Args:
        return {"item": self.item, "withdraw": self.withdraw}

    def _prompt(self) -> str:
        return super()._prompt() if self.item else "ITEM why, and Enter: "

    def _wrong(self, text: str) -> str:
        if not text:
            return "Enter alone is never yes"
        _, why = self._parts(text)
        if len(why) >= LEAST_REASON:
            return ""
        return super()._wrong("") if self.item else "not done: ITEM why, such as: on-call-told ann and ben know of it"

    def _args(self, text: str) -> Args:
        item, why = self._parts(text)
        return {"item": item, "reason": why, "withdraw": self.withdraw}

    def _parts(self, text: str) -> tuple[str, str]:
        if self.item:
            return self.item, text
        item, _, why = text.partition(" ")
        return item, why.strip()
