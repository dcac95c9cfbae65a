"""A hang-up or a TERM ends the console cleanly: Textual's Linux driver handles neither (measured with 8.2.8).

After a hang-up the terminal is gone and a thread of the driver may block on it for ever, so a timer ends the process when the
orderly way has not within some seconds. Nothing is lost by that: the engine is another process.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from typing import Any

from textual.app import App

PATIENCE = 3.0
SIGNALS = (signal.SIGHUP, signal.SIGTERM)


def leave_on_signals(app: App[Any]) -> None:
    """Let SIGHUP and SIGTERM leave the app with 128 + the signal's number. Does nothing where there is no terminal."""
    if app.is_headless or threading.current_thread() is not threading.main_thread():
        return
    loop = asyncio.get_running_loop()
    for number in SIGNALS:
        loop.add_signal_handler(number, _leave, app, number)
    app.set_interval(5.0, lambda: _leave_if_cut(app), name="terminal still there")


def _leave(app: App[Any], number: signal.Signals) -> None:
    code = 128 + number
    _end_later(code)
    app.exit(code)


def _leave_if_cut(app: App[Any]) -> None:
    """A terminal that went without a signal reaching us (the shell was told to `nohup`)."""
    stdin = sys.__stdin__
    if stdin is not None and not stdin.closed and not os.isatty(stdin.fileno()):
        _leave(app, signal.SIGHUP)


def _end_later(code: int) -> None:
    timer = threading.Timer(PATIENCE, os._exit, (code,))
    timer.daemon = True
    timer.start()
