"""What is read from the environment of a terminal."""

from __future__ import annotations

import pytest

from backends.errors import CouldNot
from console.terminal import check_can_draw, read_terminal

UTF8 = {"LANG": "C.UTF-8"}


@pytest.mark.parametrize(
    ("environ", "theme"),
    [
        ({"TERM": "xterm-256color"}, "cutover-dark"),
        ({"TERM": "xterm", "COLORTERM": "truecolor"}, "cutover-dark"),
        ({"TERM": "linux"}, "cutover-16"),
        ({"TERM": "screen"}, "cutover-16"),
        ({"TERM": "xterm-256color", "NO_COLOR": "1"}, "cutover-16"),
    ],
)
def test_the_theme_fits_the_colours_of_the_terminal(environ: dict[str, str], theme: str) -> None:
    assert read_terminal(environ).theme == theme
    assert read_terminal(environ, theme="cutover-light").theme == "cutover-light"


def test_the_mouse_is_off_over_ssh_unless_asked_for() -> None:
    assert read_terminal(UTF8).mouse
    assert not read_terminal(UTF8 | {"SSH_CONNECTION": "10.0.0.1 1 10.0.0.2 22"}).mouse
    assert not read_terminal(UTF8 | {"SSH_TTY": "/dev/pts/1"}).mouse
    assert read_terminal(UTF8 | {"SSH_TTY": "/dev/pts/1"}, mouse=True).mouse


def test_ascii_is_chosen_where_the_locale_says_no_unicode() -> None:
    assert not read_terminal(UTF8).ascii_only
    assert read_terminal({"LANG": "C"}).ascii_only
    assert read_terminal(UTF8, plain=True).ascii_only


@pytest.mark.parametrize(("term", "is_tty"), [("dumb", True), ("", True), ("xterm", False)])
def test_where_no_screen_can_be_drawn_status_is_named(term: str, is_tty: bool) -> None:
    with pytest.raises(CouldNot, match="no screen can be drawn") as caught:
        check_can_draw({"TERM": term}, is_tty=is_tty)
    assert "cutover status" in caught.value.hint
