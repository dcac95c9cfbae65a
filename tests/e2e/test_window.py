"""The operator's whole window by hand, with the real commands, on the sandbox."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import time
from collections.abc import Iterator
from typing import Any

import pytest

from backends.cutover.events import Kind
from tests.console.test_app_on_a_pty import Terminal
from tests.e2e.cli import Cli, weights

pytestmark = pytest.mark.timeout(300)
BY_ITSELF = {
    Kind.ROUND,
    Kind.TRIGGER,
    Kind.GATE,
    Kind.SIDE,
    Kind.TICK,
    Kind.NOTE,
}  # what an engine journals while nobody does anything


@pytest.fixture(scope="module")
def window(plan: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cli]:
    """A migration under way: checked, synced, verified, its engine up."""
    home = tmp_path_factory.mktemp("window")
    made = Cli(home, home / "migration")
    assert made.good("check", plan)["ok"] is True
    synced = {d["name"]: d for d in made.good("sync", plan)["datasets"]}
    assert synced["corpus"]["copied"] == synced["corpus"]["listed"] == 400
    assert synced["corpus"]["proofs"]["stored_checksums"] + synced["corpus"]["proofs"]["combined_parts"] == 400
    assert made.good("verify", plan, "--dataset", "corpus")["datasets"] == [
        {"name": "corpus", "checked": 400, "equal": 400, "problems": []}
    ]
    answer = made("up", plan, "--detach")
    assert answer.code == 0, str(answer)
    assert answer.out.startswith("SIMULATION  sandbox: planned  (engine pid "), str(answer)
    yield made
    made.end_engine()


def exposed(window: Cli) -> Any:
    """Bring the migration, whatever state it is in, to some weight on target."""
    now = window.status()
    if now["state"] == "rolled_back":
        window.good("resume", "--reason", "and again")
    if now["state"] != "soaking":
        window.advance(until=lambda a: a["state"] == "soaking")
    return window.status()


def events(window: Cli) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = window.good("history")["events"]
    return told


def test_the_whole_window_by_hand(window: Cli) -> None:
    window.advance(until=lambda a: a["routes"]["chat"] == 25)
    now = window.status()
    assert (now["state"], now["phase"]) == ("soaking", "cutover")
    assert weights(now) == {"chat": (25, 25), "jobs": (100, 100)}, "what was confirmed is what is seen at once"
    assert {"pid", "started", "socket"} <= set(now["engine"])
    assert {t["name"] for t in now["triggers"]} == {"chat-errors", "chat-latency", "loss", "step-time"}
    assert now["rollback"]["ready"] is True
    assert now["rollback"]["seconds_to_safe"] > 0
    assert {d["name"]: d["writer"] for d in now["datasets"]} == {"corpus": "legacy", "checkpoints": "target"}

    held = window.good("hold", "--reason", "a look at latencies")["held"]
    assert [h["reason"] for h in held] == ["a look at latencies"]
    refused = window("advance", "--json")
    assert refused.code == 3
    assert refused.json["refused_by"] == "HELD"
    assert "a look at latencies" in refused.error["message"], "what is seen"
    assert "cutover resume" in refused.error["hint"], "what would allow it"
    assert window.good("resume")["held"] == []

    down = window("down", "--json")
    assert (down.code, down.json["refused_by"]) == (3, "STATE"), str(down)
    assert "--anyway" in down.error["hint"]

    done = window.good("rollback", "--confirm", "sandbox", "--reason", "the window is over")
    assert done["state"] == "rolled_back"
    now = window.status()
    assert weights(now) == {"chat": (0, 0), "jobs": (0, 0)}
    assert {d["name"]: d["writer"] for d in now["datasets"]} == {"corpus": "legacy", "checkpoints": "legacy"}
    refused = window("advance", "--json")
    assert (refused.code, refused.json["refused_by"]) == (3, "STATE"), str(refused)
    assert window("resume", "--json").code == 3, "after a rollback a reason is needed"

    assert window.good("history", "--verify")["ok"] is True
    report = window("report").out
    assert "**rolled_back**" in report
    assert "the window is over" in report
    assert window.good("resume", "--reason", "the cable is in")["state"] == "preparing"


def test_a_dry_run_changes_nothing_and_tells_the_very_steps_that_run(window: Cli) -> None:
    before = exposed(window)
    preview = window.good("rollback", "--dry-run")
    assert preview["allowed"] is True
    steps = [s["text"] for s in preview["steps"]]
    assert len(steps) > 5
    since = [e for e in events(window) if e["seq"] > before["seq"]]
    assert {e["kind"] for e in since} <= BY_ITSELF, since

    window.good("rollback", "--confirm", "sandbox")
    run = window.status()["run"]
    assert run["kind"] == "rollback"
    assert [s["text"] for s in run["steps"]] == steps
    assert {s["status"] for s in run["steps"]} == {"confirmed"}


def test_on_a_terminal_only_the_typed_name_rolls_back(window: Cli) -> None:
    exposed(window)
    unasked = window("rollback", "--json")
    assert (unasked.code, unasked.error["code"]) == (2, "usage"), "no terminal, no --confirm"
    assert typed(window, b"sandpit\n") == 3
    assert typed(window, b"\n") == 3, "Enter alone is never yes"
    assert typed(window, b"\x03") == 130
    assert window.status()["state"] == "soaking"
    assert typed(window, b"sandbox\n") == 0
    assert window.status()["state"] == "rolled_back"


def typed(window: Cli, answer: bytes) -> int:
    """`cutover rollback` on a pseudo-terminal; its exit code after `answer` at the question."""
    import pty

    pid, fd = pty.fork()
    if pid == 0:
        argv = window.argv("rollback")
        os.execve(argv[0], argv, window.environment())
    terminal = Terminal(pid, fd)
    terminal.until(lambda seen: b"type sandbox to roll back" in seen)
    os.write(fd, answer)
    try:
        # Python's readline misses a Ctrl-C that comes in the instant before it begins to wait: a person presses it again.
        while answer == b"\x03" and not has_ended(terminal):
            with contextlib.suppress(OSError):
                os.write(fd, answer)
        return terminal.ended()
    finally:
        terminal.hang_up()


def has_ended(terminal: Terminal) -> bool:
    """Within a few seconds: a second Ctrl-C must not hit a process that is just on its way out."""
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        pid, status = os.waitpid(terminal.pid, os.WNOHANG)
        if pid:
            terminal.status = status
            return True
        time.sleep(0.05)
    return False


def test_a_rollback_with_the_engine_gone_says_so_and_starts_one(window: Cli) -> None:
    os.kill(exposed(window)["engine"]["pid"], signal.SIGKILL)
    now = window.status()
    assert now["engine"] is None, "the journal's last word"
    assert now["state"] == "soaking"
    assert now["rollback"]["ready"] is False
    preview = window.good("rollback", "--dry-run")
    assert [s["text"] for s in preview["steps"]][1] == "route chat: weight 0 % on target"
    assert window.status()["engine"] is None, "a dry run starts nothing"
    answer = window("rollback", "--confirm", "sandbox")
    assert answer.code == 0, str(answer)
    assert "no engine was running: started it" in answer.err
    assert window.status()["state"] == "rolled_back"
    assert window.good("history", "--verify")["ok"] is True


def test_an_interrupted_rollback_command_does_not_stop_the_rollback(window: Cli) -> None:
    before = exposed(window)
    with window.started("rollback", "--confirm", "sandbox") as process:
        window.until(lambda now: now["seq"] > before["seq"] and now["run"] is not None and now["run"]["kind"] == "rollback")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=60)
    assert process.returncode in (0, 130), err
    if process.returncode == 130:
        assert "the engine goes on with rollback" in err
    assert window.until(lambda now: now["state"] != "rolling_back")["state"] == "rolled_back"


def test_nothing_is_copied_onto_a_target_that_writes(window: Cli, plan: str) -> None:
    exposed(window)
    refused = window("sync", plan, "--dataset", "checkpoints", "--json")
    assert (refused.code, refused.json["refused_by"]) == (3, "SR2"), str(refused)
    back = window.good("sync", plan, "--dataset", "checkpoints", "--reverse")
    assert back["datasets"][0]["direction"] == "reverse"


def test_down_ends_the_engine_and_up_goes_on_where_it_was(window: Cli, plan: str) -> None:
    before = exposed(window)
    assert window("down", "--anyway").code == 0
    alone = window.status()
    assert (alone["engine"], alone["state"]) == (None, "soaking")
    assert window("down", "--json").error["code"] == "engine_gone"
    again = json.loads(window("up", plan, "--json").out)
    assert again["engine"]["pid"] != before["engine"]["pid"]
    assert weights(window.until(lambda s: s["routes"][0]["observed"] is not None)) == weights(before)
