"""`history` and `report` from a journal alone."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest

from backends.cutover.events import Kind
from backends.engine.journal import Journal
from backends.engine.paths import head_of, journal_of
from console.main import exit_code

HOSTILE = "<script>alert(1)</script> [red]x[/red] \x1b[2J | `a`\n# heading"


@pytest.fixture
async def state(tmp_path: Path) -> Path:
    """A journal of a migration that somebody held with a hostile reason."""
    folder = tmp_path / "state"
    folder.mkdir()
    journal = Journal(folder)
    await journal.open()
    await journal.append(Kind.CREATED, {"name": "chat"}, actor="engine", observed=0.0)
    await journal.append(Kind.HELD, {"by": "ops", "reason": HOSTILE}, actor="ops", observed=1.0)
    await journal.append(Kind.TICK, {"boot": "", "observed": 2.0}, actor="engine", observed=2.0)
    await journal.append(Kind.RELEASED, {"reason": "seen"}, actor="ops", observed=3.0)
    await journal.close()
    return folder


def run(state: Path, monkeypatch: pytest.MonkeyPatch, *argv: str) -> int:
    monkeypatch.setattr("sys.argv", ["cutover", *argv, "--state", str(state)])
    return exit_code()


def test_history_tells_what_people_did_and_keeps_ticks_for_all(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(state, monkeypatch, "history") == 0
    out = capsys.readouterr().out
    assert len(out.splitlines()) == 3, "a newline in a reason makes no line"
    assert "\x1b" not in out
    assert run(state, monkeypatch, "history", "--all") == 0
    assert len(capsys.readouterr().out.splitlines()) == 4


def test_history_verify_tells_the_head(state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(state, monkeypatch, "history", "--verify", "--json") == 0
    told = json.loads(capsys.readouterr().out)
    assert (told["ok"], told["events"]) == (True, 4)
    assert told["hash"] == head_of(state).read_text().split()[1]


def test_of_a_broken_journal_history_shows_what_is_before_the_break_and_exits_4(
    state: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with sqlite3.connect(journal_of(state)) as db:
        db.execute("UPDATE events SET actor = 'nobody' WHERE seq = 4")
    db.close()
    assert run(state, monkeypatch, "history") == 4
    out, err = capsys.readouterr()
    assert [line.split()[0] for line in out.splitlines()] == ["1", "2"]
    assert "event 4" in err
    assert "docs/rollback.md" in err
    assert run(state, monkeypatch, "history", "--json") == 4
    told = json.loads(capsys.readouterr().out)
    assert [e["seq"] for e in told["events"]] == [1, 2, 3]
    assert told["error"]["code"] == "journal_broken"
    for command in (["history", "--verify"], ["status"], ["report"], ["rollback", "--dry-run"]):
        assert run(state, monkeypatch, *command, "--json") == 4
        assert json.loads(capsys.readouterr().out)["error"]["code"] == "journal_broken"


def test_a_report_writes_hostile_names_as_text(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(state, monkeypatch, "report") == 0
    out = capsys.readouterr().out
    assert out.startswith("# Migration chat")
    assert "\n# heading" not in out
    assert "<script>" not in out
    assert "\x1b" not in out
    file = tmp_path / "r.md"
    assert run(state, monkeypatch, "report", "-o", str(file)) == 0
    assert file.read_text().strip() == out.strip()


@pytest.mark.parametrize("name", ["r.txt", "r.pdf"])
def test_a_report_in_a_form_that_is_not_there_yet_is_refused(
    name: str, state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = run(state, monkeypatch, "report", "-o", str(tmp_path / name), "--json")
    assert code == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "not_yet_supported"
    assert not (tmp_path / name).exists()


def test_a_report_that_cannot_be_written_says_why(
    state: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "absent" / "r.md"
    assert run(state, monkeypatch, "report", "-o", str(out), "--json") == 4
    assert json.loads(capsys.readouterr().out)["error"]["where"] == str(out)
