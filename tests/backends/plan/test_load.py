from __future__ import annotations

import hashlib
import os
import time
from pathlib import Path

import pytest

from backends.plan.document import MAX_BYTES
from backends.plan.errors import PlanInvalid, PlanUnreadable
from backends.plan.load import check_plan, load_plan, parse_plan
from tests.backends.plan.plans import FULL, ROOT, changed, documented_plan, errors, judged, the

WRONG = """\
version: 2
nam: chat
legacy:
  provider: gcp
  hosts:
    - {name: old, address: 10.0.0.1, port: "22"}
    - {name: old, address: 10.0.0.2}
target: {hosts: [{name: new, address: 10.0.1.1}]}
stores:
  a: {url: "s3://a/", acces_key: x}
datasets:
  - {name: d, from: a, to: aa, follow: 60}
workloads:
  - {name: w, class: realtme, runs_on: {legacy: [odl]}}
routes:
  - {name: r, workload: ww, command: {set: [x], get: [y]}, steps: [5, x, 3]}
gates:
  stagin: []
windows: {dual: 7 days}
"""


def test_all_errors_are_told_at_once_each_with_line_and_field() -> None:
    told = {(p.where, p.code) for p in errors(judged(WRONG))}
    assert told == {
        ("plan.yaml:1:version", "value"),
        ("plan.yaml:1:name", "missing_field"),
        ("plan.yaml:2:nam", "unknown_field"),
        ("plan.yaml:6:legacy.hosts[0].port", "value"),
        ("plan.yaml:7:legacy.hosts[1].name", "duplicate_name"),
        ("plan.yaml:8:target.provider", "missing_field"),
        ("plan.yaml:10:stores.a.acces_key", "unknown_field"),
        ("plan.yaml:12:datasets[0].follow", "unit"),
        ("plan.yaml:12:datasets[0].to", "unknown_store"),
        ("plan.yaml:14:workloads[0].class", "value"),
        ("plan.yaml:14:workloads[0].runs_on.legacy[0]", "unknown_host"),
        ("plan.yaml:16:routes[0].workload", "unknown_workload"),
        ("plan.yaml:16:routes[0].command.set", "no_weight"),
        ("plan.yaml:16:routes[0].steps[1]", "value"),
        ("plan.yaml:16:routes[0].steps[2]", "steps_rise"),
        ("plan.yaml:16:routes[0].steps", "steps_end"),
        ("plan.yaml:18:gates.stagin", "value"),
        ("plan.yaml:19:windows.dual", "unit"),
    }


def test_hints_name_what_was_probably_meant() -> None:
    hints = {p.field: p.hint for p in errors(judged(WRONG))}
    assert hints["nam"] == "did you mean name?"
    assert hints["stores.a.acces_key"] == "did you mean access_key?"
    assert hints["datasets[0].to"] == "did you mean a?"
    assert hints["datasets[0].follow"] == "did you mean 60s?"
    assert hints["workloads[0].class"] == "did you mean realtime?"
    assert hints["workloads[0].runs_on.legacy[0]"] == "did you mean old?"
    assert hints["routes[0].workload"] == "did you mean w?"
    assert hints["gates.stagin"] == "did you mean staging?"
    assert hints["windows.dual"] == "did you mean 7d?"
    assert hints["legacy.hosts[0].port"] == "write it without quotes"


def test_every_error_says_what_was_found_and_what_was_expected() -> None:
    for problem in errors(judged(WRONG)):
        assert "found " in problem.message, problem
        assert "expected" in problem.message or problem.code == "duplicate_name", problem


def test_problems_come_in_the_order_of_the_file() -> None:
    lines = [p.line for p in judged(WRONG).problems]
    assert lines == sorted(lines)


def test_the_documented_plan_is_good() -> None:
    checked = judged(documented_plan())
    assert checked.is_good
    assert [p.code for p in checked.problems] == ["no_probe"]
    assert checked.plan is not None
    assert checked.plan.windows.dual == 7 * 86400
    assert checked.plan.transfer.bandwidth == 2e9
    assert checked.plan.datasets[0].size == 12 * 10**12
    assert checked.plan.legacy.egress_usd_per_gb[2] == (float("inf"), 0.08)


def test_every_field_of_a_plan_is_known() -> None:
    checked = check_plan(FULL)
    assert not errors(checked)
    assert checked.plan is not None


@pytest.mark.skipif(not (ROOT.parent / "shared/plan.example.yaml").exists(), reason="the example is not beside the project")
def test_the_example_has_no_error() -> None:
    checked = check_plan(ROOT.parent / "shared" / "plan.example.yaml")
    assert errors(checked) == []
    assert {p.code for p in checked.problems} <= {
        "script_missing",
        "ssh_alias",
        "unused_store",
        "no_probe",
        "haproxy_reload",
        "unit",
        "no_versions",
        "compliance_unknown",
    }


def test_the_hash_is_that_of_the_files_bytes(tmp_path: Path) -> None:
    data = b"\xef\xbb\xbf" + documented_plan().replace("\n", "\r\n").encode()
    path = tmp_path / "plan.yaml"
    path.write_bytes(data)
    checked = load_plan(path)
    assert checked.hash == hashlib.sha256(data).hexdigest()
    assert checked.text.encode() == data
    again = parse_plan(checked.text, path)
    assert (again.hash, again.plan) == (checked.hash, checked.plan)


def test_a_bad_plan_is_refused_with_all_its_errors(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(WRONG)
    with pytest.raises(PlanInvalid) as caught:
        load_plan(path)
    assert caught.value.exit_code == 2
    for problem in errors(check_plan(path)):
        assert problem.message in caught.value.message
    assert caught.value.as_json()["error"]["where"].startswith(f"{path}:1:")


def test_one_error_is_told_with_its_own_hint(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_text(changed("dual: 7d", "dual: 7 days"))
    with pytest.raises(PlanInvalid, match="found `7 days`") as caught:
        load_plan(path)
    assert caught.value.hint == "did you mean 7d?"


def test_what_cannot_be_read_is_told_as_such(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (tmp_path / "none.yaml", tmp_path, fifo, Path("/dev/zero"), tmp_path / "a\0b"):
        with pytest.raises(PlanUnreadable) as caught:
            load_plan(path)
        assert caught.value.exit_code == 4


@pytest.mark.parametrize(
    ("data", "code", "line"),
    [
        (b"", "empty", 0),
        (b"# nothing but a comment\n", "empty", 0),
        (b"- a list\n", "value", 1),
        (b"just text\n", "value", 1),
        (b"version: 1\nname: \xff\n", "not_utf8", 2),
        pytest.param(b"#\n" * (MAX_BYTES // 2 + 1), "too_large", 0, id="large"),
        (b"version: 1\nname: \x00\n", "syntax", 2),
        (b"version: [1\n", "syntax", 2),
    ],
)
def test_hostile_files_end_in_one_clear_error(tmp_path: Path, data: bytes, code: str, line: int) -> None:
    path = tmp_path / "plan.yaml"
    path.write_bytes(data)
    checked = check_plan(path)
    assert [(p.code, p.line) for p in checked.problems] == [(code, line)]
    assert checked.plan is None


def test_a_large_plan_of_nothing_ends_soon(tmp_path: Path) -> None:
    path = tmp_path / "plan.yaml"
    path.write_bytes(b"a: [" + b"[],\n" * (MAX_BYTES // 5) + b"]")
    began = time.process_time()
    assert [p.code for p in check_plan(path).problems] == ["too_large"]
    assert time.process_time() - began < 60  # seconds of CPU; unlimited it would be minutes


def test_an_unquoted_number_where_text_belongs_is_explained() -> None:
    checked = judged(changed('version: "2.4"', "version: 2.4"))
    problem = the(checked, "value")
    assert problem.message == "found `2.4`, expected text"
    assert "quotes" in problem.hint


def test_no_value_of_a_secret_field_is_in_any_problem() -> None:
    text = changed('secret_key: "${file:/etc/cutover/target.key}"', "secret_key: 20261123")
    text = text.replace('"${env:TARGET_KEY}"', "AKIAEXAMPLE").replace("https://objects.", "https://user:hunter2@objects.")
    said = "\n".join(f"{p.message} {p.hint}" for p in judged(text).problems)
    for secret in ("20261123", "AKIAEXAMPLE", "hunter2"):
        assert secret not in said


def test_names_with_escapes_only_show_as_text() -> None:
    problems = judged(changed("name: chat-2026", '"na\\e[31mme": x')).problems
    assert any("na\\x1b[31mme" in p.message for p in problems)
    assert all("\x1b" not in p.message + p.hint + p.field for p in problems)
