"""What the contract says of all commands, where no engine is needed for it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import pytest

from backends.errors import CouldNot, RefusedByRule
from backends.snapshot import Lag, PreviewView, StepView
from console.commands.rollback import gap_line, preview_lines
from console.main import COMMANDS, LazyGroup, cli, exit_code
from console.output import command_body, emit_json, fail

PLAN = """\
version: 1
name: two
legacy: {provider: a}
target: {provider: b}
"""


def run(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, *argv: str) -> tuple[int, str, str]:
    """The whole command line in this process: exit code, stdout, stderr."""
    monkeypatch.setattr("sys.argv", ["cutover", *argv])
    code = exit_code()  # `main` ends the process
    out, err = capsys.readouterr()
    return code, out, err


@pytest.fixture(autouse=True)
def _own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.delenv("CUTOVER_STATE", raising=False)
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_helps_with_an_example_and_takes_a_state_folder(
    name: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    code, out, _ = run(capsys, monkeypatch, name, "--help")
    assert code == 0
    assert f"Example: cutover {name}" in out
    assert "--state" in out
    assert "--json" in out


@pytest.mark.parametrize(
    "argv",
    [["check"], ["earthquake"], ["advance", "--bogus"], ["status", "a", "b"], ["rollback", "--confirm"], ["--bogus"], ["up"]],
    ids=" ".join,
)
def test_a_wrong_command_line_exits_2_with_the_error_object(
    argv: list[str], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    # An option that wants a value would take `--json` for it: there the flag comes first.
    where = 1 if argv[-1] == "--confirm" else len(argv)
    code, out, err = run(capsys, monkeypatch, *argv[:where], "--json", *argv[where:])
    assert code == 2
    assert set(json.loads(out)["error"]) == {"code", "message", "where", "hint"}
    assert json.loads(out)["error"]["code"] == "usage"
    assert err


@pytest.mark.parametrize(("typed", "meant"), [("synk", "sync"), ("roll-back", "rollback"), ("Status", "status"), ("xyzzy", None)])
def test_a_mistyped_command_names_the_nearest(typed: str, meant: str | None) -> None:
    with pytest.raises(click.UsageError) as caught:
        cli.main([typed], standalone_mode=False)
    assert str(caught.value) == f"No such command '{typed}'." + (f" Did you mean '{meant}'?" if meant else "")


@pytest.mark.parametrize("command", ["sync", "verify", "probe", "up"])
def test_a_bad_plan_exits_2_and_lists_every_problem(
    command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plan.yaml").write_text(PLAN + "windows: {dual: 1 parsec}\nworkloads: [{name: chat, klass: realtime}]\n")
    code, out, _ = run(capsys, monkeypatch, command, "plan.yaml", "--json")
    error = json.loads(out)["error"]
    assert (code, error["code"]) == (2, "plan_invalid")
    wheres = [p["where"] for p in error["problems"] if p["severity"] == "error"]
    assert {"plan.yaml:5:windows.dual", "plan.yaml:6:workloads[0].klass"} <= set(wheres)
    code, out, err = run(capsys, monkeypatch, command, "plan.yaml")
    assert (code, out) == (2, "")
    assert all(f"  {where}: " in err for where in wheres), err
    assert not (tmp_path / "state").exists(), "nothing was begun"


def test_where_no_migration_is_every_command_of_the_window_exits_4(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    for command in ("attach", "status", "advance", "hold", "resume", "rollback", "history", "report", "down"):
        code, out, _ = run(capsys, monkeypatch, command, "nowhere", "--json")
        assert (code, json.loads(out)["error"]["code"]) == (4, "no_such_migration"), command


def test_a_folder_that_the_system_refuses_exits_4_in_the_contracts_shape(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plan.yaml").write_text(PLAN)
    (tmp_path / "file").write_text("")
    code, out, _ = run(capsys, monkeypatch, "up", "plan.yaml", "--detach", "--json", "--state", "file/below")
    assert (code, json.loads(out)["error"]["where"]) == (4, str(tmp_path / "file/below"))


def test_a_fault_of_cutover_itself_is_not_told_as_looked_and_not_good(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    @click.command()
    @command_body
    def broken() -> int:
        raise ValueError("an unforeseen thing")

    monkeypatch.setattr(LazyGroup, "get_command", lambda self, ctx, name: broken)
    code, _, err = run(capsys, monkeypatch, "status")
    assert code == 4
    assert "an unforeseen thing" in err
    assert fail(ValueError("unforeseen"), as_json=True) == 4
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "internal"


def test_an_error_in_text_has_its_place_its_message_and_its_cure(capsys: pytest.CaptureFixture[str]) -> None:
    assert fail(CouldNot("no answer from\x1b[31m it", where="leg-a1", hint="see to it"), as_json=False) == 4
    assert capsys.readouterr().err == "cutover: leg-a1: no answer from\\x1b[31m it\n  see to it\n"


def test_a_refusal_in_json_names_its_rule(capsys: pytest.CaptureFixture[str]) -> None:
    assert fail(RefusedByRule("SR2", "target writes it", hint="wait"), as_json=True) == 3
    told = json.loads(capsys.readouterr().out)
    assert told["refused_by"] == told["error"]["refused_by"] == "SR2"


@pytest.mark.parametrize(
    ("value", "told"),
    [(float("nan"), None), ("a\udcff.yaml", "a\\udcff.yaml"), ({"\udc80": ["\x1b[2J"]}, {"\\udc80": ["\x1b[2J"]})],
)
def test_json_holds_whatever_comes(value: Any, told: Any, capsys: pytest.CaptureFixture[str]) -> None:
    emit_json({"value": value})
    assert json.loads(capsys.readouterr().out) == {"value": told}


@pytest.mark.parametrize(
    ("argv", "offered"),
    [(["cutover", "ro"], "rollback"), (["cutover", "status", "--wa"], "--watch"), (["cutover", "hold", "ch"], "chat")],
)
def test_the_shell_completes_commands_options_and_migrations(
    argv: list[str], offered: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "state" / "cutover" / "chat"
    folder.mkdir(parents=True)
    (folder / "journal.db").touch()
    monkeypatch.setenv("_CUTOVER_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", " ".join(argv))
    monkeypatch.setenv("COMP_CWORD", str(len(argv) - 1))
    with pytest.raises(SystemExit):
        cli.main(prog_name="cutover")
    assert offered in capsys.readouterr().out


@pytest.mark.parametrize(
    ("gap", "said"),
    [
        (Lag(), "gap: not known"),
        (Lag(objects=0, bytes=0, age=9.0), "gap: none, target's writer was stopped before the last look"),
        (Lag(objects=0, bytes=0, age=9.0, may_be_more=True), "gap: none at the last look, 9 s ago; what target wrote since"),
        (
            Lag(objects=3, bytes=2048, seconds=60.0, age=9.0, may_be_more=True),
            "at the last look, 9 s ago; what target wrote since",
        ),
    ],
)
def test_the_gap_of_a_preview_says_how_old_its_look_is_and_what_may_have_come_since(gap: Lag, said: str) -> None:
    assert said in gap_line(PreviewView(command="rollback", mode="emergency", gap=gap))


def test_a_preview_in_text_escapes_what_it_names_and_tells_the_gap() -> None:
    preview = PreviewView(
        command="rollback",
        mode="emergency",
        steps=(StepView(text="route \x1b[2J: weight 0 % on target"),),
        seconds=14.0,
        gap=Lag(objects=3, bytes=2048, seconds=60.0),
        warnings=("no backup\nin the plan",),
    )
    assert preview_lines(preview) == [
        "rollback emergency, about 14 s, 1 steps:",
        "  1. route \\x1b[2J: weight 0 % on target",
        "  gap: 3 objects, 2.00 KiB, the oldest of 60 s ago, at the last look; kept",
        "  note: no backup\\nin the plan",
    ]
