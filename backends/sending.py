"""Whether something may be sent is asked once more at the last moment before it leaves this process.

Before a change lies what is read first: a weight, a status, a connection that has to be made. An engine that is stopped in there
(SIGSTOP, a machine that sleeps) may wake when another has taken its place and has led all home: what it was about to send would undo that.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

Ask = Callable[[], Awaitable[None]]

_ask: ContextVar[Ask | None] = ContextVar("ask before sending", default=None)


@contextmanager
def asking(ask: Ask) -> Iterator[None]:
    """In this block `ask` is called before anything is sent: it returns where that may be, else it raises or does not return."""
    token = _ask.set(ask)
    try:
        yield
    finally:
        _ask.reset(token)


async def before_sending() -> None:
    """For whoever sends: the last thing before the first byte leaves, or a command starts. What `ask` itself sends is not asked about."""
    ask = _ask.get()
    if ask is None:
        return
    token = _ask.set(None)
    try:
        await ask()
    finally:
        _ask.reset(token)
