"""`cutover demo --headless`: every scenario ends as it should, and every claim of the ending is there."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from backends.sandbox.operator import EXPECTED
from backends.snapshot import State
from tests.console.test_app_on_a_pty import Terminal
from tests.e2e.cli import Cli

pytestmark = pytest.mark.timeout(300)
SLOW = [name for name in EXPECTED if name not in ("clean", "error-burst")]


def played(cli: Cli, scenario: str) -> dict[str, Any]:
    """Play it without a console; what it says of itself must fit together."""
    answer = cli("demo", "--headless", "--scenario", scenario, "--json", limit=280)
    told: dict[str, Any] = answer.json
    assert told["scenario"] == scenario
    assert told["ended_as"] == told["expected"] == EXPECTED[scenario], str(answer)
    assert all(check["ok"] for check in told["checks"]), told["checks"]
    assert (told["ok"], answer.code) == (True, 0)
    timeline = told["timeline"]
    assert [set(e) for e in timeline] == [{"seq", "at", "event", "state", "routes", "text"}] * len(timeline)
    assert [e["seq"] for e in timeline] == sorted({e["seq"] for e in timeline})
    assert {e["state"] for e in timeline} <= {s.value for s in State}
    assert timeline[-1]["routes"].keys() == {"chat", "jobs"}
    assert all(isinstance(w, int) for e in timeline for w in e["routes"].values())
    door = told["front_door"]
    assert set(door) == {"requests", "errors", "target_share"}
    assert door["requests"] > 500, "clients asked all the time"
    assert cli.good("history", "--verify")["ok"] is True
    return told


def test_clean_is_committed_and_no_client_sees_an_error(cli: Cli) -> None:
    told = played(cli, "clean")
    assert told["front_door"]["errors"] == 0
    assert told["front_door"]["target_share"] == 1.0
    weights = list(dict.fromkeys(e["routes"]["chat"] for e in told["timeline"] if "chat" in e["routes"]))
    assert weights == [0, 5, 25, 50, 100]
    report = cli("report")
    assert report.code == 0
    assert "**committed**" in report.out


def test_an_error_burst_is_rolled_back_by_itself(cli: Cli) -> None:
    told = played(cli, "error-burst")
    assert told["front_door"]["target_share"] == 0.0
    assert max(e["routes"].get("chat", 0) for e in told["timeline"]) == 25
    texts = [e["text"] for e in told["timeline"]]
    assert any("chat-errors" in text and "BREACH" in text for text in texts), texts


@pytest.mark.slow
@pytest.mark.parametrize("scenario", SLOW)
def test_the_scenario_ends_as_it_should(cli: Cli, scenario: str) -> None:
    told = played(cli, scenario)
    moved = max((e["routes"].get("chat", 0) for e in told["timeline"]), default=0)
    if scenario == "loss-drift":
        assert moved == 0, "the gate holds before any traffic moves"
    if scenario == "corrupt-object":
        assert told["repaired"], "the damaged object is named"
        assert told["repaired"][0] in cli("report").out
    if scenario == "telemetry-gone":
        assert moved == 25, "no data is not health: nothing moves on"
    if scenario == "legacy-dies":
        assert moved == 100
        assert told["front_door"]["target_share"] == 1.0, "target goes on serving"


def test_an_unknown_scenario_is_a_usage_error(cli: Cli) -> None:
    answer = cli("demo", "--scenario", "earthquake", "--json")
    assert (answer.code, answer.error["code"]) == (2, "usage"), str(answer)
    assert "error-burst" in answer.error["hint"]


@pytest.mark.parametrize("how", ["killed", "hung up"])
def test_a_demo_that_goes_leaves_no_process_behind(cli: Cli, how: str, tmp_path: Path) -> None:
    terminal = demo_on_a_terminal(cli)
    terminal.until(lambda seen: b"ROLLBACK" in seen)
    family = processes_naming(str(tmp_path))
    assert len(family) >= 4, "console, sandbox, engine, operator, and what these run at times"
    if how == "killed":
        os.kill(terminal.pid, signal.SIGKILL)
        terminal.ended()
    terminal.hang_up()
    if how == "hung up":
        terminal.ended()
    deadline = time.monotonic() + 40
    while left := processes_naming(str(tmp_path)):
        assert time.monotonic() < deadline, left
        time.sleep(0.1)


def demo_on_a_terminal(cli: Cli) -> Terminal:
    """`cutover demo` with its console, all its folders under the test's."""
    import fcntl
    import pty
    import struct
    import termios

    pid, fd = pty.fork()
    if pid == 0:
        argv = cli.argv("demo")
        os.execve(argv[0], argv, cli.environment() | {"TMPDIR": str(cli.home)})
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 80, 0, 0))
    return Terminal(pid, fd)


def processes_naming(folder: str) -> dict[int, str]:
    """Every process whose command line names the folder, by id."""
    found = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        with contextlib.suppress(OSError):
            line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if folder in line:
                found[int(entry.name)] = line
    return found
