"""`cutover reconfigure`: a diff, a new tree, exit codes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from console.main import cli

PLAN = """\
version: 1
name: m
legacy: {provider: a}
target: {provider: b}
stores: {old: {url: "s3://old-bucket/"}, new: {url: "s3://new-bucket/"}}
datasets: [{name: d, from: old, to: new}]
reconfigure:
  files: [{from: config, to: config-target}]
  rules: [{key: DB, with: "${DB}"}]
"""


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / ".env").write_text("B=s3://old-bucket/x\nDB=postgres://u:hunter2@old/x\n")
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN)
    return path


def run(*argv: object) -> Result:
    return CliRunner().invoke(cli, ["reconfigure", *map(str, argv)])


def test_the_diff_is_shown_and_nothing_is_written(plan: Path) -> None:
    result = run(plan)
    assert result.exit_code == 0, result.output
    assert "+B=s3://new-bucket/x" in result.output
    assert "nothing was written" in result.output
    assert not (plan.parent / "config-target").exists()


def test_apply_writes_the_tree_once(plan: Path) -> None:
    first: Any = json.loads(run(plan, "--apply", "--json").stdout)
    assert (first["ok"], first["written"], first["changed"]) == (True, 1, 1)
    assert (plan.parent / "config-target" / ".env").read_text() == "B=s3://new-bucket/x\nDB=${DB}\n"
    assert json.loads(run(plan, "--apply", "--json").stdout)["written"] == 0


def test_what_is_left_of_legacy_exits_1(plan: Path) -> None:
    (plan.parent / "config" / "notes.txt").write_text("it was in s3://old-bucket\n")
    result = run(plan)
    assert (result.exit_code, "notes.txt:1  store: s3://old-bucket" in result.output) == (1, True)


def test_the_rules_are_shown_with_where_they_are_from(plan: Path) -> None:
    rules = json.loads(run(plan, "--rules", "--json").stdout)["rules"]
    assert [(r["from"], r["with"]) for r in rules] == [
        ("plan", "${DB}"),
        ("derived", "s3://new-bucket"),
        ("derived", "new-bucket"),
    ]


@pytest.mark.parametrize(
    ("old", "new", "code"),
    [
        ("to: config-target", "to: config/new", "over_original"),
        ('{key: DB, with: "${DB}"}', "{with: x}", "rule_form"),
        ('{key: DB, with: "${DB}"}', "{replace: a, match: b, with: x}", "rule_form"),
        ('{key: DB, with: "${DB}"}', '{match: "(", with: x}', "rule_match"),
    ],
)
def test_a_rule_that_says_nothing_or_too_much_is_told_by_its_place(plan: Path, old: str, new: str, code: str) -> None:
    plan.write_text(PLAN.replace(old, new))
    result = run(plan, "--json")
    assert result.exit_code == 2
    assert json.loads(result.stdout)["error"]["problems"][0]["code"] == code


def test_without_files_there_is_nothing_to_do(plan: Path) -> None:
    plan.write_text(PLAN.split("reconfigure:")[0])
    assert run(plan).exit_code == 2
