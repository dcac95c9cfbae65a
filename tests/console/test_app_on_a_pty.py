"""The console as a process on a real pseudo-terminal: it starts, is hung up on, and leaves the terminal as it found it."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest

DEADLINE = 40.0


class Terminal:
    """The far end of a pseudo-terminal, with what was written on it so far."""

    def __init__(self, pid: int, fd: int) -> None:
        self.pid, self.fd = pid, fd
        self.seen = b""
        self.status: int | None = None

    def until(self, holds: Callable[[bytes], object]) -> None:
        end = time.monotonic() + DEADLINE
        while not holds(self.seen):
            assert time.monotonic() < end, self.seen[-2000:].decode(errors="replace")
            ready, _, _ = select.select([self.fd], [], [], 0.2)
            if ready:
                try:
                    self.seen += os.read(self.fd, 65536)
                except OSError:  # the other end is closed
                    assert holds(self.seen), self.seen[-2000:].decode(errors="replace")

    def ended(self) -> int:
        """Wait for the process; its exit code."""
        end = time.monotonic() + DEADLINE
        while self.status is None:
            assert time.monotonic() < end, "the console goes on"
            if select.select([self.fd], [], [], 0.05)[0] if self.fd >= 0 else False:
                with contextlib.suppress(OSError):
                    self.seen += os.read(self.fd, 65536)
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.status = status
        return os.waitstatus_to_exitcode(self.status)

    def hang_up(self) -> None:
        os.close(self.fd)
        self.fd = -1


@contextmanager
def console(**environ: str) -> Iterator[Terminal]:
    pid, fd = pty.fork()
    if pid == 0:
        given = {"TERM": "xterm-256color", "LANG": "C.UTF-8", "PATH": os.environ["PATH"], "HOME": os.environ["HOME"]}
        os.execve(sys.executable, [sys.executable, "-m", "tests.screens", "--live"], given | environ)
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    terminal = Terminal(pid, fd)
    try:
        terminal.until(lambda seen: b"ROLLBACK READY" in seen)
        yield terminal
    finally:
        if terminal.status is None:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        if terminal.fd >= 0:
            os.close(fd)


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGTERM])
def test_a_signal_ends_it_cleanly_and_restores_the_terminal(number: signal.Signals) -> None:
    with console() as terminal:
        os.kill(terminal.pid, number)
        assert terminal.ended() == 128 + number
        assert b"\x1b[?1049l" in terminal.seen, "the screen of the shell is back"
        assert b"\x1b[?25h" in terminal.seen, "the cursor is back"
        assert b"Traceback" not in terminal.seen


def test_a_terminal_that_goes_away_ends_it() -> None:
    with console() as terminal:
        terminal.hang_up()
        assert terminal.ended() == 128 + signal.SIGHUP


def test_q_leaves_and_the_shell_is_told_how_to_come_back_and_how_to_take_it_back() -> None:
    with console(SSH_TTY="/dev/pts/9") as terminal:
        os.write(terminal.fd, b"q")
        assert terminal.ended() == 0
        last = terminal.seen.decode().split("\x1b[?1004l")[-1]
        assert "the engine goes on" in last
        assert "cutover attach" in last
        assert "cutover rollback" in last
        assert b"\x1b[?1003h" not in terminal.seen, "over SSH the mouse was never turned on"


def test_no_color_draws_no_colour_and_still_says_everything() -> None:
    with console(NO_COLOR="1") as terminal:
        terminal.until(lambda seen: b"R ROLLBACK" in seen)
        sgr = re.findall(rb"\x1b\[([\d;]+)m", terminal.seen)
        coloured = [codes for codes in sgr if re.search(rb"(^|;)(3[0-8]|4[0-8]|9\d|10\d)(;|$)", codes)]
        assert not coloured, coloured[:5]
