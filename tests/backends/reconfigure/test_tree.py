"""A new tree beside the original, which is read and nothing else."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from backends.errors import CouldNot, RefusedByRule
from backends.plan.load import parse_plan
from backends.plan.models import ConfigTree, Plan
from backends.reconfigure.mapping import Mapping
from backends.reconfigure.tree import Outcome, rewrite, write

TREES = (ConfigTree.model_validate({"from": "config", "to": "config-target"}),)
PLAN = """\
version: 1
name: m
legacy: {provider: a, region: us-central1}
target: {provider: b}
stores: {old: {url: "s3://old-bucket/"}, new: {url: "s3://new-bucket/"}}
datasets: [{name: d, from: old, to: new}]
"""


def plan() -> Plan:
    found = parse_plan(PLAN, Path("plan.yaml")).plan
    assert found is not None
    return found


@pytest.fixture
def base(tmp_path: Path) -> Path:
    config = tmp_path / "config"
    (config / "sub").mkdir(parents=True)
    (config / ".env").write_text("BUCKET=s3://old-bucket/x\nREGION=us-central1\nAPI_TOKEN=hunter2 of old-bucket\n")
    (config / "sub" / "run.sh").write_text("#!/bin/sh\naws s3 ls s3://old-bucket/\n")
    (config / "sub" / "run.sh").chmod(0o750)
    (config / "photo").write_bytes(b"\x00\xff\x00")
    return tmp_path


def worked_out(base: Path) -> Outcome:
    return rewrite(TREES, Mapping(plan()), base)


def everything(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_new_tree_has_every_file_and_the_original_is_untouched(base: Path) -> None:
    before = everything(base / "config")
    outcome = worked_out(base)
    assert not (base / "config-target").exists(), "nothing is written before it is asked for"
    assert write(outcome) == 3
    assert everything(base / "config") == before
    there = everything(base / "config-target")
    assert set(there) == set(before)
    assert there["sub/run.sh"] == b"#!/bin/sh\naws s3 ls s3://new-bucket/\n"
    assert there["photo"] == before["photo"]
    assert stat.S_IMODE((base / "config-target/sub/run.sh").stat().st_mode) == 0o750
    assert write(worked_out(base)) == 0, "a second time writes nothing"


def test_what_still_points_at_legacy_is_told_by_file_and_line(base: Path) -> None:
    left = worked_out(base).left
    assert [(one.where.rpartition("/")[2], one.kind, one.text) for one in left] == [(".env:2", "region", "us-central1")]


def test_a_diff_shows_no_secret(base: Path) -> None:
    text = "\n".join(line for f in worked_out(base).files for line in f.diff())
    assert "-BUCKET=s3://old-bucket/x" in text
    assert "hunter2" not in text


def test_what_is_there_and_differs_is_left_until_it_is_to_be_replaced(base: Path) -> None:
    target = base / "config-target"
    target.mkdir()
    (target / ".env").write_text("edited by hand\n")
    with pytest.raises(RefusedByRule, match="ORIGINAL"):
        write(worked_out(base))
    assert everything(target) == {".env": b"edited by hand\n"}
    assert write(worked_out(base), replace=True) == 3
    assert b"new-bucket" in (target / ".env").read_bytes()


def test_links_are_neither_followed_nor_written(base: Path) -> None:
    (base / "outside").write_text("s3://old-bucket/")
    (base / "config" / "link").symlink_to(base / "outside")
    os.mkfifo(base / "config" / "pipe")
    outcome = worked_out(base)
    assert sorted(one.kind for one in outcome.passed_over) == ["link", "special"]
    write(outcome)
    assert not (base / "config-target" / "link").exists()


@pytest.mark.parametrize("to", ["config", "config/new", ".", "config/../config"])
def test_nothing_is_ever_written_over_the_original(base: Path, to: str) -> None:
    with pytest.raises(RefusedByRule, match="ORIGINAL"):
        rewrite((ConfigTree.model_validate({"from": "config", "to": to}),), Mapping(plan()), base)


def test_a_file_that_is_broken_is_copied_and_told(base: Path) -> None:
    (base / "config" / "a.yaml").write_text("a: [\n")
    outcome = worked_out(base)
    assert any(one.kind == "format" and "a.yaml" in one.where for one in outcome.left)
    write(outcome)
    assert (base / "config-target" / "a.yaml").read_text() == "a: [\n"


def test_a_credential_in_a_file_is_told_and_not_shown(base: Path) -> None:
    (base / "config" / "a.json").write_text('{"id": "AKIAABCDEFGHIJKLMNOP"}')
    [one] = [one for one in worked_out(base).left if one.kind == "credential"]
    assert "AKIA" not in one.text


def test_a_tree_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(CouldNot, match="there is no"):
        rewrite(TREES, Mapping(plan()), tmp_path)
