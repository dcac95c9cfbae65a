"""`cutover secrets`: exit codes, and that no value is ever printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from console.main import cli

VALUE = "correct horse battery"
PLAN = """\
version: 1
name: chat
legacy: {provider: a}
target: {provider: b}
stores:
  old: {url: "s3://old/", access_key: "${env:CUTOVER_TEST_KEY}", secret_key: "${file:old.key}"}
secrets:
  - {name: db, from: "${file:old.key}", to: "${file:new.key}"}
"""


@pytest.fixture
def plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CUTOVER_TEST_KEY", VALUE)
    (tmp_path / "old.key").write_text(VALUE)
    (tmp_path / "old.key").chmod(0o600)
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN)
    return path


def asked(*argv: object) -> tuple[int, Any]:
    result = CliRunner().invoke(cli, ["secrets", *map(str, argv), "--json"])
    text = CliRunner().invoke(cli, ["secrets", *map(str, argv)]).output
    assert VALUE not in result.output + text
    return result.exit_code, json.loads(result.stdout)


def test_a_look_a_copy_and_a_second_look(plan: Path) -> None:
    code, body = asked(plan)
    assert (code, body["ok"], body["secrets"][0]["state"]) == (1, False, "missing")
    assert [(r["where"].split(":", 1)[1], r["ok"]) for r in body["references"]] == [
        ("6:stores.old.access_key", True),
        ("6:stores.old.secret_key", True),
    ]
    result = CliRunner().invoke(cli, ["secrets", str(plan), "--copy"])
    assert (result.exit_code, VALUE in result.output) == (0, False)
    assert (plan.parent / "new.key").read_text() == VALUE
    code, body = asked(plan)
    assert (code, body["secrets"][0]["state"]) == (0, "equal")


def test_a_reference_that_leads_nowhere_exits_1_with_its_place(plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUTOVER_TEST_KEY")
    code, body = asked(plan)
    assert code == 1
    assert body["references"][0]["reason"] == "${env:CUTOVER_TEST_KEY}: the variable is not set"


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("provider: a}", 'provider: "AKIAABCDEFGHIJKLMNOP"}'),
        ('"${env:CUTOVER_TEST_KEY}"', "correct-horse-battery"),
    ],
)
def test_a_plan_with_a_credential_in_it_is_refused_and_nothing_is_copied(plan: Path, old: str, new: str) -> None:
    plan.write_text(PLAN.replace(old, new))
    result = CliRunner().invoke(cli, ["secrets", str(plan), "--copy"])
    assert result.exit_code == 1
    assert "nothing was copied" in result.output
    assert "AKIA" not in result.output
    assert not (plan.parent / "new.key").exists()
    checked = CliRunner().invoke(cli, ["check", str(plan)]).output
    assert "literal_credential" in checked
    assert "AKIAABCDEFGHIJKLMNOP" not in checked


def test_a_manager_without_credentials_is_told_of(plan: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan.write_text(PLAN.replace('${file:old.key}", to', '${azure-keyvault:http://127.0.0.1:9/db}", to'))
    for name in ("AZURE_TENANT_ID", "AZURE_CLIENT_ID", "IDENTITY_ENDPOINT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://127.0.0.1:9")
    monkeypatch.setenv("PATH", str(plan.parent))
    code, body = asked(plan)
    assert (code, body["secrets"][0]["state"]) == (1, "unreadable"), "no credentials were found"


def test_overwrite_alone_is_a_usage_error(plan: Path) -> None:
    assert CliRunner().invoke(cli, ["secrets", str(plan), "--overwrite"]).exit_code == 2
