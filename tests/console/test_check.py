from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from console.main import cli
from tests.backends.plan.plans import FULL, changed, documented_plan


@pytest.fixture
def good(tmp_path: Path) -> Path:
    path = tmp_path / "plan.yaml"
    path.write_text(documented_plan())
    return path


@pytest.fixture
def bad(tmp_path: Path) -> Path:
    path = tmp_path / "bad.yaml"
    path.write_text(changed("dual: 7d", "dual: 7 days").replace('"${env:TARGET_KEY}"', "AKIAEXAMPLE"))
    return path


def run(*argv: object) -> Result:
    return CliRunner().invoke(cli, ["check", *map(str, argv)])


def asked(*argv: object) -> tuple[int, Any]:
    result = run(*argv, "--json")
    return result.exit_code, json.loads(result.stdout)


def test_a_good_plan_exits_0(good: Path) -> None:
    code, body = asked(good)
    assert (code, body["ok"]) == (0, True)
    assert [p["severity"] for p in body["problems"]] == ["note"]
    assert run(good).stdout.splitlines()[-1] == f"{good}: good, with 1 note"


def test_errors_exit_1_and_each_has_the_contracts_fields(bad: Path) -> None:
    code, body = asked(bad)
    assert (code, body["ok"]) == (1, False)
    [error] = [p for p in body["problems"] if p["severity"] == "error"]
    line = bad.read_text().splitlines().index("windows: {dual: 7 days, retire: 30d, spacing: 30s}") + 1
    assert error == {
        "severity": "error",
        "code": "unit",
        "message": "found `7 days`, expected a duration with its unit, such as 30s, 15min, 24h, 7d",
        "where": f"{bad}:{line}:windows.dual",
        "hint": "did you mean 7d?",
    }


def test_people_see_the_line_the_place_and_the_hint(bad: Path) -> None:
    result = run(bad)
    assert result.exit_code == 1
    assert "| windows: {dual: 7 days, retire: 30d, spacing: 30s}" in result.stdout
    assert ":windows.dual" in result.stdout
    assert "cure: did you mean 7d?" in result.stdout
    assert result.stdout.splitlines()[-1] == f"{bad}: 1 error, 1 warning, 1 note"


def test_errors_come_before_warnings_and_notes(bad: Path) -> None:
    words = [line.split()[0] for line in run(bad).stdout.splitlines() if line[:1].isupper()]
    assert words == ["ERROR", "WARNING", "NOTE"]


def test_a_literal_secret_is_told_and_not_shown(bad: Path) -> None:
    for output in (run(bad).output, run(bad, "--json").output):
        assert "literal credential" in output
        assert "AKIAEXAMPLE" not in output


def test_no_secret_is_resolved(good: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("TARGET_KEY", raising=False)
    assert run(good).exit_code == 0


def test_a_plan_with_every_field_there_is_is_good() -> None:
    code, body = asked(FULL)
    assert code == 0
    assert not [p for p in body["problems"] if p["severity"] == "error"]


def test_a_file_that_cannot_be_read_exits_4(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        code, body = asked(path)
        assert (code, body["error"]["code"]) == (4, "unreadable")
        assert body["error"]["where"] == str(path)


def write_live(folder: Path, more: str = "") -> Path:
    (folder / "from").mkdir()
    path = folder / "live.yaml"
    path.write_text(
        "version: 1\nname: move\nlegacy: {provider: old}\ntarget: {provider: new}\n"
        f"stores: {{from: {{url: 'file://{folder}/from/'}}, to: {{url: 'file://{folder}/to/'}}}}\n"
        "datasets: [{name: data, from: from, to: to}]\n" + more
    )
    return path


def test_live_tells_what_it_asked_and_0_where_all_is_well(tmp_path: Path) -> None:
    path = write_live(tmp_path)
    code, body = asked(path, "--live")
    assert (code, body["ok"], body["problems"]) == (0, True, [])
    assert {k: v for k, v in body["live"].items() if k != "seconds"} == {"hosts": 0, "stores": 2, "routes": 0}
    assert run(path, "--live").stdout.splitlines()[-1].startswith(f"{path}: good (0 hosts, 2 stores, 0 routes asked in ")


def test_live_problems_have_evidence_and_a_cure_and_errors_are_1(tmp_path: Path) -> None:
    path = write_live(tmp_path, "secrets: [{name: db, from: '${env:NOT_SET_AT_ALL}', to: '${file:there}'}]\n")
    code, body = asked(path, "--live")
    assert (code, body["ok"]) == (1, False)
    [found] = body["problems"]
    assert (found["severity"], found["code"], found["side"], found["hosts"]) == ("error", "secret", None, [])
    assert found["where"] == f"{path}:7:secrets[0]"
    assert "NOT_SET_AT_ALL" in found["evidence"]
    lines = run(path, "--live").stdout.splitlines()
    assert any(line.startswith("  seen: ") for line in lines)
    assert any(line.startswith("  cure: ") for line in lines)


def test_live_asks_nobody_while_the_plan_has_errors(bad: Path) -> None:
    result = run(bad, "--live")
    assert result.exit_code == 1
    assert "neither side was asked" in result.stderr
    assert "live" not in asked(bad, "--live")[1]


def test_help_has_an_example() -> None:
    assert "Example: cutover check plan.yaml" in run("--help").stdout


def test_colour_is_for_terminals_only_and_says_nothing_alone(bad: Path) -> None:
    argv = [sys.executable, "-c", "from console.main import main; main()", "check", str(bad)]
    piped = subprocess.run(argv, capture_output=True, timeout=60, check=False)
    assert b"\x1b" not in piped.stdout
    seen = on_a_terminal(argv)
    assert b"\x1b[" in seen
    assert b"ERROR" in seen
    assert b"WARNING" in seen


def on_a_terminal(argv: list[str]) -> bytes:
    """What the command prints when its output is a terminal."""
    ours, theirs = pty.openpty()
    with subprocess.Popen(argv, stdin=theirs, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        seen = b""
        while chunk := _read(ours):
            seen += chunk
        process.wait(timeout=60)
    os.close(ours)
    return seen


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, 65536)
    except OSError:  # how Linux says that the other end is closed
        return b""
