"""`cutover sync` and `cutover verify` as an operator runs them, over two local trees."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from console.main import cli
from tests.peers.openssh import openssh

CUTOVER = [sys.executable, "-c", "from console.main import main; main()"]


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    for side in ("old", "new"):
        (tmp_path / side).mkdir()
    (tmp_path / "old" / "deep").mkdir()
    for i in range(5):
        path = tmp_path / "old" / "deep" / f"{i}"
        path.write_bytes(bytes([i]) * 1000)
        os.utime(path, (1.7e9, 1.7e9))  # what was written a moment before it is read is looked at again
    return write_plan(tmp_path)


def write_plan(folder: Path, more: str = "") -> Path:
    path = folder / "plan.yaml"
    path.write_text(
        f"""version: 1
name: try
legacy: {{provider: a}}
target: {{provider: b}}
stores:
  old: {{url: "file://{folder}/old/"}}
  new: {{url: "file://{folder}/new/"}}
datasets:
  - {{name: corpus, from: old, to: new, follow: 1s, exclude: ["tmp/**"]}}
{more}"""
    )
    return path


def cutover(command: str, plan: Path, *args: str) -> Result:
    return CliRunner().invoke(cli, [command, str(plan), "--state", str(plan.parent / "state"), *args])


def datasets(result: Result) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(result.stdout)["datasets"]
    return found


def test_sync_prints_the_contracts_object_and_exits_0(plan: Path) -> None:
    result = cutover("sync", plan, "--json")
    assert result.exit_code == 0
    (corpus,) = datasets(result)
    assert {k: corpus[k] for k in ("name", "listed", "copied", "unchanged", "deleted", "failed", "bytes")} == {
        "name": "corpus",
        "listed": 5,
        "copied": 5,
        "unchanged": 0,
        "deleted": 0,
        "failed": 0,
        "bytes": 5000,
    }
    assert set(corpus["proofs"]) == {"stored_checksums", "combined_parts", "manifest", "re_read", "size_only"}
    assert corpus["proofs"]["manifest"] == 5
    assert corpus["lag"] == {"objects": 0, "bytes": 0, "seconds": 0.0}
    assert corpus["seconds"] > 0
    assert (plan.parent / "new" / "deep" / "3").read_bytes() == b"\x03" * 1000


def test_sync_tells_people_what_it_did(plan: Path) -> None:
    result = cutover("sync", plan)
    assert result.exit_code == 0
    lines = result.stdout.splitlines()
    assert lines[0] == "corpus: 5 listed, 5 copied, 0 unchanged, 0 failed"
    assert lines[1].startswith("  moved     4.88 KiB in ")
    assert lines[2:] == ["  proven    5 by manifest", "  lag       none"]
    assert max(map(len, lines)) <= 80
    assert "0 copied" in cutover("sync", plan).stdout


def test_a_dry_run_copies_nothing_and_shows_the_lag(plan: Path) -> None:
    (corpus,) = datasets(cutover("sync", plan, "--dry-run", "--json"))
    assert (corpus["copied"], corpus["lag"]["objects"], corpus["lag"]["bytes"]) == (0, 5, 5000)
    assert list((plan.parent / "new").iterdir()) == []


def test_a_source_suddenly_empty_is_refused_with_4_and_says_how_to_go_on(plan: Path) -> None:
    cutover("sync", plan)
    for path in (plan.parent / "old" / "deep").iterdir():
        path.unlink()
    result = cutover("sync", plan, "--json")
    assert result.exit_code == 4
    error = json.loads(result.stdout)["error"]
    assert error["code"] == "listing_emptied"
    assert "is empty where the last round saw 5 objects" in error["message"]
    assert "--accept-empty" in error["hint"]
    assert cutover("sync", plan, "--accept-empty").exit_code == 0
    assert len(list((plan.parent / "new" / "deep").iterdir())) == 5


def test_a_missing_source_folder_is_not_an_empty_one(plan: Path) -> None:
    (plan.parent / "old").rename(plan.parent / "gone")
    result = cutover("sync", plan, "--json")
    assert result.exit_code == 4
    assert json.loads(result.stdout)["error"]["code"] == "root_missing"


def test_an_object_that_fails_is_named_and_exits_1_and_retry_failed_mends_it(plan: Path) -> None:
    (plan.parent / "old" / "link\x1b[31m").symlink_to("deep/1")
    result = cutover("sync", plan)
    assert result.exit_code == 1
    assert "failed link\\x1b[31m" in result.stdout
    assert "\x1b" not in result.stdout
    (plan.parent / "old" / "link\x1b[31m").unlink()
    assert cutover("sync", plan, "--retry-failed").exit_code == 0
    assert cutover("sync", plan).exit_code == 0


@pytest.mark.parametrize(
    ("args", "says"),
    [
        (("--dataset", "corpsu"), "the plan has no dataset corpsu"),
        (("--reverse",), "no dataset with reverse: true"),
    ],
)
def test_what_the_plan_does_not_have_is_usage(plan: Path, args: tuple[str, ...], says: str) -> None:
    result = cutover("sync", plan, *args, "--json")
    assert result.exit_code == 2
    assert says in json.loads(result.stdout)["error"]["message"]


def test_a_bad_plan_is_2(plan: Path) -> None:
    plan.write_text("version: 1\nname: NOT GOOD\n")
    assert cutover("sync", plan).exit_code == 2
    assert cutover("verify", plan).exit_code == 2


def test_reverse_onto_the_side_that_writes_is_refused_by_its_rule(plan: Path) -> None:
    cutover("sync", plan)
    (plan.parent / "new" / "fresh").write_bytes(b"from target")
    result = cutover("sync", plan, "--reverse", "--dataset", "corpus", "--json")
    assert result.exit_code == 3
    assert json.loads(result.stdout)["refused_by"] == "SR2"
    assert not (plan.parent / "old" / "fresh").exists()


def test_verify_exits_0_when_equal_and_1_with_each_problem_named(plan: Path) -> None:
    cutover("sync", plan)
    assert datasets(cutover("verify", plan, "--json")) == [{"name": "corpus", "checked": 5, "equal": 5, "problems": []}]
    new = plan.parent / "new" / "deep"
    stat = (new / "2").stat()
    (new / "2").write_bytes(b"\x02" * 999 + b"\x03")
    os.utime(new / "2", ns=(stat.st_atime_ns, stat.st_mtime_ns))
    (new / "3").unlink()
    report = plan.parent / "evidence.jsonl"
    result = cutover("verify", plan, "--json", "--report", str(report))
    assert result.exit_code == 1
    (corpus,) = datasets(result)
    assert [(p["key"], p["problem"]) for p in corpus["problems"]] == [("deep/2", "differs"), ("deep/3", "missing")]
    lines = [json.loads(line) for line in report.read_text().splitlines()]
    assert {line["key"]: line["verdict"] for line in lines}["deep/2"] == "differs"
    assert len(lines) == 5
    text = cutover("verify", plan)
    assert text.exit_code == 1
    assert "differs deep/2" in text.stdout


def test_verify_of_a_side_that_cannot_be_listed_is_4(plan: Path) -> None:
    (plan.parent / "new").rmdir()
    result = cutover("verify", plan, "--json")
    assert result.exit_code == 4
    assert json.loads(result.stdout)["error"]["code"] == "root_missing"


def test_ctrl_c_ends_a_follow_cleanly_with_130_and_what_was_done(plan: Path) -> None:
    state = plan.parent / "state"
    process = subprocess.Popen(
        [*CUTOVER, "sync", str(plan), "--follow", "--json", "--state", str(state)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    with process:
        wait_until(lambda: (plan.parent / "new" / "deep" / "4").exists(), process)
        (plan.parent / "old" / "later").write_bytes(b"1")
        wait_until(lambda: (plan.parent / "new" / "later").exists(), process)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=30)
    assert process.returncode == 130
    assert json.loads(out)["datasets"][0]["copied"] in (5, 6)  # the last round may have been cut off
    assert b"Traceback" not in err


def test_ctrl_c_in_a_large_object_keeps_its_parts_for_the_next_run(plan: Path) -> None:
    size = 64 << 20
    (plan.parent / "old" / "big").write_bytes(os.urandom(1 << 20) * 64)
    slow = write_plan(plan.parent, "transfer: {bandwidth: 200 Mbps}\n")
    process = subprocess.Popen([*CUTOVER, "sync", str(slow), "--state", str(plan.parent / "state")], stderr=subprocess.PIPE)
    with process:
        index = plan.parent / "state" / "index.db-wal"
        wait_until(lambda: index.exists() and parts_of(index.with_name("index.db")) >= 2, process)
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 130
    (corpus,) = datasets(cutover("sync", write_plan(plan.parent), "--json"))
    assert corpus["bytes"] < size
    assert (plan.parent / "new" / "big").read_bytes() == (plan.parent / "old" / "big").read_bytes()
    assert sorted(p.name for p in (plan.parent / "new").iterdir()) == ["big", "deep"]


def parts_of(index: Path) -> int:
    import sqlite3

    connection = sqlite3.connect(f"file:{index}?mode=ro", uri=True)
    try:
        return int(connection.execute("SELECT count(*) FROM parts WHERE etag != ''").fetchone()[0])
    except sqlite3.OperationalError:
        return 0
    finally:
        connection.close()


def wait_until(is_so: Any, process: subprocess.Popen[bytes], seconds: float = 40) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert process.poll() is None, process.stderr.read() if process.stderr else ""
        assert time.monotonic() < deadline
        time.sleep(0.02)  # between two questions


async def test_sync_and_verify_over_ssh_with_the_given_config_and_host_keys(tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "ckpt").write_bytes(b"weights")
    async with openssh(tmp_path / "sshd") as server:
        plan = tmp_path / "plan.yaml"
        plan.write_text(
            f"""version: 1
name: over-ssh
legacy: {{provider: a, hosts: [{{name: leg, address: 127.0.0.1, user: {server.user}, port: {server.port}}}]}}
target: {{provider: b, hosts: [{{name: tgt, address: 127.0.0.1, user: {server.user}, port: {server.port}}}]}}
stores:
  old: {{url: "ssh://leg{tmp_path}/old/"}}
  new: {{url: "ssh://tgt{tmp_path}/new/"}}
datasets:
  - {{name: ckpt, from: old, to: new}}
"""
        )
        ssh = ["-F", str(server.config), "--known-hosts", str(server.known_hosts), "--state", str(tmp_path / "state")]
        code, out = await run_to_end("sync", str(plan), "--json", *ssh)
        assert (code, json.loads(out)["datasets"][0]["proofs"]["manifest"]) == (0, 1)
        assert (await run_to_end("verify", str(plan), *ssh))[0] == 0
        empty = tmp_path / "no_known_hosts"
        empty.touch()
        code, out = await run_to_end("sync", str(plan), "--json", *ssh, "--known-hosts", str(empty))
        assert code == 4
        assert "no_known_hosts" in json.loads(out)["error"]["message"]
    assert (tmp_path / "new" / "ckpt").read_bytes() == b"weights"


async def run_to_end(*args: str) -> tuple[int | None, str]:
    process = await asyncio.create_subprocess_exec(*CUTOVER, *args, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    out, _ = await process.communicate()
    return process.returncode, out.decode()


def test_json_has_rates_share_lag_and_time_to_go(plan: Path) -> None:
    (first,) = datasets(cutover("sync", plan, "--json"))
    assert (first["share"], first["eta_seconds"], first["never"], first["stalled_seconds"]) == (1.0, 0.0, False, None)
    assert first["rate"] > 0
    assert (first["ingest_rate"], first["lag_trend"]) == (None, None)
    assert [point["objects"] for point in first["lag_history"]] == [5]


def test_a_run_that_is_cut_off_says_in_json_how_far_it_was(plan: Path) -> None:
    (plan.parent / "old" / "big").write_bytes(os.urandom(1 << 20) * 64)
    slow = write_plan(plan.parent, "transfer: {bandwidth: 100 Mbps}\n")
    state = plan.parent / "state"
    process = subprocess.Popen(
        [*CUTOVER, "sync", str(slow), "--json", "--state", str(state)], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    with process:
        wait_until(lambda: (state / "index.db-wal").exists() and parts_of(state / "index.db") >= 2, process)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate(timeout=30)
    assert process.returncode == 130
    (corpus,) = json.loads(out)["datasets"]
    assert corpus["interrupted"] is True
    assert 0 < corpus["bytes"] < 64 << 20
    assert corpus["lag"]["objects"] == 1


def every_byte(folder: Path) -> dict[str, bytes | None]:
    return {str(p.relative_to(folder)): p.read_bytes() if p.is_file() else None for p in sorted(folder.rglob("*"))}


def test_a_dry_run_changes_nothing_at_all(plan: Path) -> None:
    before = every_byte(plan.parent)
    assert cutover("sync", plan, "--dry-run").exit_code == 0
    assert every_byte(plan.parent) == before
    assert cutover("sync", plan).exit_code == 0
    (plan.parent / "old" / "new").write_bytes(b"new")
    before = every_byte(plan.parent)
    (corpus,) = datasets(cutover("sync", plan, "--dry-run", "--json"))
    assert (corpus["unchanged"], corpus["lag"]["objects"]) == (5, 1)
    assert every_byte(plan.parent) == before


def deleting_plan(folder: Path) -> Path:
    path = write_plan(folder, "transfer: {max_delete: 20%}\n")
    path.write_text(path.read_text().replace("follow: 1s", "follow: 1s, delete: after-commit"))
    return path


def test_before_the_commit_sync_says_what_it_would_delete(plan: Path) -> None:
    deleting_plan(plan.parent)
    assert cutover("sync", plan).exit_code == 0
    (plan.parent / "old" / "deep" / "1").unlink()
    result = cutover("sync", plan, "--json")
    (corpus,) = datasets(result)
    assert (result.exit_code, corpus["deleted"], corpus["deletes"]["deletable"], corpus["deletes"]["rule"]) == (0, 0, 1, "SR4")
    assert (plan.parent / "new" / "deep" / "1").exists()


def test_more_than_max_delete_is_refused_by_name_and_nothing_goes(plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backends.cutover.rules.delete_refusal", lambda migration, dataset: None)  # as after the commit
    deleting_plan(plan.parent)
    assert cutover("sync", plan).exit_code == 0
    for name in "12":
        (plan.parent / "old" / "deep" / name).unlink()
    result = cutover("sync", plan, "--json")
    told = json.loads(result.stdout)
    assert (result.exit_code, told["refused_by"]) == (3, "MAX_DELETE")
    assert told["datasets"][0]["deletes"]["listed"] == ["deep/1", "deep/2"]
    assert (plan.parent / "new" / "deep" / "1").exists()
    (plan.parent / "old" / "deep" / "1").write_bytes(b"\x01" * 1000)
    (corpus,) = datasets(cutover("sync", plan, "--json"))
    assert corpus["deleted"] == 1
    assert not (plan.parent / "new" / "deep" / "2").exists()
