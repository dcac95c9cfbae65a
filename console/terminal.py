"""What the terminal can do, read from its environment: theme, mouse, signs. Pure, so that tests give the environment."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from backends.errors import CouldNot
from themes.meaning import speaks_unicode

SIXTEEN = "cutover-16"
TRUE_COLOUR = ("truecolor", "24bit")


@dataclass(frozen=True, slots=True)
class Terminal:
    """How the console draws."""

    theme: str
    mouse: bool
    ascii_only: bool
    no_colour: bool


def read_terminal(environ: Mapping[str, str], *, theme: str | None = None, mouse: bool = False, plain: bool = False) -> Terminal:
    """The choice for this terminal; what was asked for outranks what was found.

    The mouse is off over SSH unless asked for: a link that is cut leaves mouse tracking on in the operator's terminal.
    """
    no_colour = bool(environ.get("NO_COLOR"))
    over_ssh = bool(environ.get("SSH_CONNECTION") or environ.get("SSH_TTY"))
    return Terminal(
        theme=theme or (SIXTEEN if no_colour or not has_many_colours(environ) else "cutover-dark"),
        mouse=mouse or not over_ssh,
        ascii_only=plain or not speaks_unicode(environ),
        no_colour=no_colour,
    )


def has_many_colours(environ: Mapping[str, str]) -> bool:
    """256 colours or more; a terminal that says nothing of it has 16."""
    if environ.get("COLORTERM", "").lower() in TRUE_COLOUR:
        return True
    term = environ.get("TERM", "").lower()
    return "256color" in term or "direct" in term or term.endswith("kitty")


def check_can_draw(environ: Mapping[str, str], *, is_tty: bool) -> None:
    """Say what to use instead where no screen can be drawn."""
    term = environ.get("TERM", "")
    if is_tty and term not in ("", "dumb", "unknown"):
        return
    seen = f"TERM is {term!r}" if is_tty else "this is not a terminal"
    raise CouldNot(f"no screen can be drawn here: {seen}", hint="cutover status --watch tells the same in lines")
