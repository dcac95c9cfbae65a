"""The contract row by row, where it takes a real engine: exit codes, errors, the socket, the state folder."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import stat
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from backends.engine.lock import StateLock
from backends.statedir import make_state_dir
from tests.backends.sandbox.conftest import Running
from tests.e2e.cli import Cli

pytestmark = pytest.mark.timeout(200)
NOBODY = 65534


@pytest.fixture(scope="module")
def up(plan: str) -> Iterator[Cli]:
    """A migration that has just begun, its engine up; in a folder that others may walk to, but not into."""
    with tempfile.TemporaryDirectory(prefix="cutover-contract-") as made:
        home = Path(made)
        home.chmod(0o711)
        cli = Cli(home, home / "migration")
        answer = cli("up", plan, "--detach", "--json")
        assert answer.code == 0, str(answer)
        assert answer.json["engine"]["pid"]
        yield cli
        cli.end_engine()


def curl(cli: Cli, *args: str, user: int | None = None, socket: str = "") -> subprocess.CompletedProcess[str]:
    """The operator's last resort, where no terminal can draw."""
    if shutil.which("curl") is None:
        pytest.skip("curl is not installed")
    path = socket or f"{cli.state}/engine.sock"
    argv = ["curl", "-sS", "-m", "10", "-w", "\n%{http_code}", "--unix-socket", path, *args]
    return subprocess.run(
        argv, capture_output=True, text=True, timeout=30, user=user, group=user, extra_groups=[] if user else None
    )


def test_curl_reads_the_snapshot_the_metrics_and_gives_commands(up: Cli) -> None:
    body, code = curl(up, "http://engine/v1/snapshot").stdout.rsplit("\n", 1)
    assert (code, json.loads(body)["name"]) == ("200", "sandbox")
    metrics = curl(up, "http://engine/metrics").stdout
    assert 'cutover_route_weight_percent{kind="desired",route="chat"} 0.0' in metrics
    assert 'cutover_state{state="planned"} 1.0' in metrics
    held = curl(up, "-X", "POST", "http://engine/v1/commands/hold", "-d", '{"reason": "by curl"}').stdout
    assert json.loads(held.rsplit("\n", 1)[0])["held"][0]["reason"] == "by curl"
    refused, code = curl(up, "-X", "POST", "http://engine/v1/commands/advance").stdout.rsplit("\n", 1)
    assert (code, json.loads(refused)["refused_by"]) == ("409", "HELD")
    assert up.good("resume")["held"] == []


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("commands/hold", '{"bogus": 1}', "400"),
        ("commands/hold", "no json", "400"),
        ("commands/earthquake", "{}", "400"),
        ("commands/advance", '{"route": "nope"}', "400"),
        ("nowhere", "{}", "404"),
    ],
)
def test_a_wrong_request_is_answered_with_the_error_object(up: Cli, path: str, body: str, status: str) -> None:
    told, code = curl(up, "-X", "POST", f"http://engine/v1/{path}", "-d", body).stdout.rsplit("\n", 1)
    assert code == status
    assert json.loads(told)["error"]["code"] == "usage"


def test_the_engine_listens_on_its_socket_and_on_no_port(up: Cli) -> None:
    pid = up.status()["engine"]["pid"]
    sockets = set()
    for entry in Path(f"/proc/{pid}/fd").iterdir():
        with contextlib.suppress(OSError):
            sockets.add(os.readlink(entry))
    listening = [
        line.split() for table in ("tcp", "tcp6") for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]
    ]
    assert [row for row in listening if row[3] == "0A" and f"socket:[{row[9]}]" in sockets] == []


def test_folder_and_socket_are_the_owners_alone(up: Cli) -> None:
    assert up.state is not None
    assert stat.S_IMODE(up.state.stat().st_mode) == 0o700
    assert stat.S_IMODE((up.state / "engine.sock").stat().st_mode) == 0o600
    assert stat.S_IMODE((up.state / "journal.db").stat().st_mode) == 0o600


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_another_user_is_refused_also_where_the_modes_would_let_it_in(up: Cli) -> None:
    assert up.state is not None
    socket = up.state / "engine.sock"
    assert curl(up, "http://engine/v1/snapshot", user=NOBODY).returncode == 7, "cannot connect"
    up.state.chmod(0o711)
    socket.chmod(0o666)
    try:
        for args in (["http://engine/v1/snapshot"], ["-X", "POST", "http://engine/v1/commands/hold"]):
            body, code = curl(up, *args, user=NOBODY).stdout.rsplit("\n", 1)
            assert code == "403"
            assert json.loads(body)["error"]["code"] == "denied"
    finally:
        socket.chmod(0o600)
        up.state.chmod(0o700)
    assert up.status()["held"] == []


def test_a_folder_whose_socket_path_is_too_long_names_a_short_private_one(plan: str, tmp_path: Path) -> None:
    cli = Cli(tmp_path, tmp_path / ("long-" * 30))
    assert len(str(cli.state)) > 150
    assert cli("up", plan, "--detach").code == 0
    try:
        socket = Path(cli.status()["engine"]["socket"])
        assert len(str(socket)) < 100
        assert Path((cli.state / "socket.path").read_text().strip()) == socket
        assert stat.S_IMODE(socket.parent.stat().st_mode) == 0o700
        assert curl(cli, "http://engine/v1/snapshot", socket=str(socket)).stdout.endswith("\n200")
        os.kill(cli.status()["engine"]["pid"], signal.SIGKILL)
        assert cli("up", plan, "--detach").code == 0, "a path that a killed engine left is used again"
    finally:
        cli.end_engine()
    shutil.rmtree(socket.parent, ignore_errors=True)


def test_a_name_may_be_left_out_where_there_is_one_migration_and_must_fit_where_it_is_given(plan: str, tmp_path: Path) -> None:
    cli = Cli(tmp_path)
    nothing = cli("status", "--json")
    assert (nothing.code, nothing.error["code"]) == (4, "could_not"), str(nothing)
    assert cli("up", plan, "--detach").code == 0
    try:
        assert (tmp_path / "state" / "cutover" / "sandbox" / "journal.db").is_file()
        assert cli.status()["name"] == cli.good("status", "sandbox")["name"] == "sandbox"
        other = cli("advance", "chat-2026", "--json")
        assert (other.code, other.error["code"]) == (4, "no_such_migration"), str(other)
        here = Cli(tmp_path, tmp_path / "state" / "cutover" / "sandbox")
        wrong = here("hold", "chat-2026", "--json")
        assert (wrong.code, wrong.error["code"]) == (4, "no_such_migration"), str(wrong)
        by_environment = Cli(tmp_path, env={"CUTOVER_STATE": str(here.state)})
        assert by_environment.status()["held"] == []
    finally:
        cli.end_engine()
    (tmp_path / "state" / "cutover" / "second").mkdir()
    shutil.copy(tmp_path / "state" / "cutover" / "sandbox" / "journal.db", tmp_path / "state" / "cutover" / "second")
    both = cli("status", "--json")
    assert (both.code, both.error["message"]) == (2, "there is more than one migration: sandbox, second")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("as_json", [(), ("--json",)], ids=["lines", "json"])
def test_a_watched_status_ends_cleanly_when_interrupted(up: Cli, number: signal.Signals, as_json: tuple[str, ...]) -> None:
    with up.started("status", "--watch", *as_json) as process:
        assert process.stdout is not None
        first = process.stdout.readline()
        process.send_signal(number)
        rest, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert err == ""
    if as_json:
        assert [json.loads(line)["name"] for line in (first + rest).splitlines()] == ["sandbox"] * len(
            (first + rest).splitlines()
        )
    else:
        assert "SIMULATION  sandbox: planned" in first


def test_a_running_engine_does_the_round_that_sync_asks_for(up: Cli, plan: str) -> None:
    told = up.good("sync", plan)["datasets"]
    assert [d["name"] for d in told] == ["corpus", "checkpoints"]
    assert all(d["lag"]["objects"] == 0 for d in told)
    rounds = [e["text"] for e in up.good("history")["events"] if e["kind"] == "sync.round"]
    assert any(text.startswith("sync corpus: 400 copied") for text in rounds), rounds
    follow = up("sync", plan, "--follow", "--json")
    assert (follow.code, follow.error["code"]) == (2, "usage"), str(follow)


def test_a_sync_waits_for_nobody_who_holds_the_folder(cli: Cli, plan: str) -> None:
    assert cli.state is not None
    lock = StateLock(make_state_dir(cli.state))
    lock.take("somebody else")
    try:
        refused = cli("sync", plan, "--json")
    finally:
        lock.release()
    assert (refused.code, refused.json["refused_by"]) == (3, "LOCK"), str(refused)
    assert "somebody else (pid " in refused.error["message"]


def test_what_cannot_be_done_says_by_which_rule_and_what_would_allow_it(up: Cli, plan: str, cli: Cli) -> None:
    nothing = up("rollback", "--confirm", "sandbox", "--json")
    assert (nothing.code, nothing.json["refused_by"]) == (3, "STATE"), str(nothing)
    wrong = up("rollback", "--confirm", "sandpit", "--json")
    assert (wrong.code, wrong.json["refused_by"]) == (3, "CONFIRM"), str(wrong)
    unheld = up("resume", "--json")
    assert (unheld.code, unheld.json["refused_by"]) == (3, "STATE"), str(unheld)
    reverse = cli("sync", plan, "--reverse", "--dataset", "checkpoints", "--json")
    assert (reverse.code, reverse.json["refused_by"]) == (3, "SR2"), str(reverse)
    other = up("report", "-o", "x.pdf", "--json")
    assert (other.code, other.error["code"]) == (2, "not_yet_supported"), str(other)


def test_gpus_and_hosts_are_told_in_bytes_and_fractions(up: Cli, plan: str) -> None:
    hosts: list[dict[str, Any]] = up.good("probe", plan)["hosts"]
    assert {h["name"]: h["side"] for h in hosts} == {
        "leg-a1": "legacy",
        "leg-a2": "legacy",
        "tgt-b1": "target",
        "tgt-b2": "target",
    }
    for gpu in (g for h in hosts for g in h["gpus"]):
        assert 0.0 <= gpu["utilization"] <= 1.0
        assert gpu["memory_total"] >= 40 << 30
        assert {"index", "uuid", "name", "memory_used", "power_w", "temperature_c"} <= gpu.keys()


def test_up_takes_another_ssh_config_and_keeps_it_for_the_next_start(plan: str, two_clouds: Running, tmp_path: Path) -> None:
    text = Path(plan).read_text()
    block = text[text.index("ssh:\n") : text.index("stores:\n")]
    without = tmp_path / "without.yaml"
    without.write_text(text.replace(block, ""))
    root = two_clouds.root
    cli = Cli(tmp_path, tmp_path / "migration")
    try:
        chosen = ["-F", str(root / "ssh_config"), "--known-hosts", str(root / "known_hosts")]
        assert cli("up", str(without), "--detach", *chosen).code == 0
        cli.until(lambda now: [h["health"] for h in now["hosts"]] == ["live"] * 4)
        os.kill(cli.status()["engine"]["pid"], signal.SIGKILL)
        assert cli("up", str(without), "--detach").code == 0
        cli.until(lambda now: [h["health"] for h in now["hosts"]] == ["live"] * 4)
        other = tmp_path / "other.yaml"
        other.write_text(text.replace("name: sandbox", "name: another", 1))
        refused = cli("up", str(other), "--detach", "--json")
        assert (refused.code, refused.json["refused_by"]) == (3, "STATE"), str(refused)
        changed = tmp_path / "changed.yaml"
        changed.write_text(without.read_text() + "# a word more\n")
        assert "another text of this plan" in cli("up", str(changed), "--detach").err
    finally:
        cli.end_engine()


def test_a_report_is_one_page_that_runs_nothing_and_a_note_stands_in_it(up: Cli, tmp_path: Path) -> None:
    up.good("note", "look at the cable first")
    page = tmp_path / "report.html"
    up.good("report", "-o", str(page))
    text = page.read_text()
    assert "look at the cable first" in text
    assert "default-src 'none'" in text
    assert "<script" not in text
