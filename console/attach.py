"""Opens the console on a migration's folder: what `cutover attach`, `up` and `demo` call."""

from __future__ import annotations

import gc
import os
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from console.link import DeferredLink, EngineLink
from console.terminal import check_can_draw, read_terminal

if TYPE_CHECKING:
    from console.app import StartEngine

FRAMES = "1000"  # a second, at most: from one to the next Textual waits for up to twice its share of a second, at its own 60 a key 33 ms
RARELY = (
    10_000,
    20,
    50,
)  # a snapshot of a large fleet is thousands of objects, none of them in a circle: a tenth of the CPU, and keys that wait


def run_console(
    state: Path,
    name: str | None = None,
    *,
    observe: bool = False,
    theme: str | None = None,
    mouse: bool = False,
    plain: bool = False,
    start_engine: StartEngine | None = None,
    link: EngineLink | None = None,
    farewell: bool = True,
) -> int:
    """Run the console until the operator leaves; returns the exit code. The engine goes on.

    `start_engine` brings a gone engine back (given by those who know how); without it the console names the command.
    `farewell` is the last line in the shell, which says that the engine goes on: not where the caller ends it.
    Raises `CouldNot` where no screen can be drawn.
    """
    stdin_tty = sys.stdin is not None and sys.stdin.isatty() and sys.stderr.isatty()
    check_can_draw(os.environ, is_tty=stdin_tty)
    terminal = read_terminal(os.environ, theme=theme, mouse=mouse, plain=plain)
    os.environ.setdefault("TEXTUAL_FPS", FRAMES)  # read when Textual is imported
    gc.disable()  # nothing that is imported is garbage: a tenth of the time to the first frame
    from console import spans, strips
    from console.app import CutoverApp

    gc.freeze()
    gc.set_threshold(*RARELY)
    gc.enable()
    spans.install()
    strips.install()
    app = CutoverApp(
        link or DeferredLink(lambda: engine_link(state)),
        observe=observe,
        name=name or state.name,
        terminal=terminal,
        start_engine=start_engine,
    )
    code = app.run(mouse=terminal.mouse)
    if app.return_code:
        return app.return_code
    if farewell:
        seen = app.view.snapshot
        plan = seen.plan.path if seen else "PLAN"
        name = app.migration or state.name
        say_last(last_line(name, state, gone=app.view.stale, observe=observe, plan=plan))
    return code or 0


def say_last(text: str) -> None:
    """Write the last line; a terminal that was hung up on takes nothing more, at exit neither."""
    try:
        sys.stderr.write(text)
        sys.stderr.flush()
    except OSError:
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in (1, 2):
            os.dup2(nowhere, stream)
        os.close(nowhere)


def engine_link(state: Path) -> EngineLink:
    """The client of this folder's engine. Importing it takes a while: call it off the event loop."""
    from backends.engine.client import EngineClient
    from backends.engine.paths import socket_of

    return EngineClient(socket_of(state))


def last_line(name: str, state: Path, *, gone: bool = False, observe: bool = False, plan: str = "PLAN") -> str:
    """What the shell says after the console: how to come back and how to roll back.

    An engine that is gone cannot be attached to: `up` brings it back.
    """
    where = [name] if state == default_state(name) else ["--state", str(state)]
    back = shlex.join(["cutover", "attach", *where, *(["--observe"] if observe else [])])
    if gone:
        back = shlex.join(["cutover", "up", plan, *(where if "--state" in where else [])])
    undo = shlex.join(["cutover", "rollback", *where])
    engine = "the engine is gone" if gone else "the engine goes on"
    return f"{engine}. back: {back}   roll back: {undo}\n"


def default_state(name: str) -> Path:
    """Where a migration of this name lives when no folder was given."""
    from backends.statedir import states_root

    return states_root() / name
