"""`cutover estimate`: the contract's JSON, what-if, and pages that hold no more than they should."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from console.main import cli
from widgets.figures import decimal_size, span_of_time

PLAN = """\
version: 1
name: chat
legacy: {provider: gcp, egress_usd_per_gb: [[10 TB, 0.12], [inf, 0.08]]}
target: {provider: lambda}
stores: {old: {url: "s3://old/"}, new: {url: "s3://new/"}, logs-old: {url: "s3://logs/"}, logs-new: {url: "s3://logs-new/"}}
datasets:
  - {name: corpus, from: old, to: new, size: 12 TB, objects: 3000000}
  - {name: logs, from: logs-old, to: logs-new, size: 1 TB, objects: 10}
transfer: {bandwidth: 500 Mbps}
"""


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    path = tmp_path / "plan.yaml"
    path.write_text(PLAN)
    return path


def run(*argv: object) -> Result:
    return CliRunner().invoke(cli, ["estimate", *map(str, argv)])


def asked(*argv: object) -> Any:
    result = run(*argv, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def test_the_contracts_fields_and_figures(plan: Path) -> None:
    body = asked(plan, "--no-listing")
    corpus, logs = body["datasets"]
    assert (corpus["name"], corpus["bytes"], corpus["objects"]) == ("corpus", 12 * 10**12, 3_000_000)
    assert corpus["seconds"] == pytest.approx(12 * 4.4444 * 3600, rel=1e-4)
    assert corpus["seconds_expected"]["low"] < corpus["seconds_expected"]["high"]
    assert (corpus["egress_usd"], logs["egress_usd"]) == (pytest.approx(1200 + 160), pytest.approx(80))
    assert body["total"]["egress_usd"] == pytest.approx(1440)
    assert body["total"]["bytes"] == 13 * 10**12


def test_what_if_sets_fields_by_name_and_by_number(plan: Path) -> None:
    faster = asked(
        plan,
        "--no-listing",
        "--set",
        "transfer.bandwidth=5 Gbps",
        "--set",
        "datasets.corpus.size=1 TB",
        "--set",
        "datasets[1].objects=1",
    )
    assert faster["total"]["seconds"] == pytest.approx(2 * 444.4 * 3.6, rel=1e-3)
    assert plan.read_text() == PLAN
    for bad in ("transfer.bandwidth", "datasets.none.size=1 TB", "name.x=1"):
        assert run(plan, "--no-listing", "--set", bad).exit_code == 2
    wrong = run(plan, "--no-listing", "--set", "transfer.bandwidth=fast")
    assert (wrong.exit_code, f"{plan.name} with --set: transfer.bandwidth: " in wrong.output) == (2, True)


def test_text_shows_what_everybody_knows(plan: Path) -> None:
    text = run(plan, "--no-listing", "--start", "2027-01-04").output
    assert "4.44 h" in text
    assert "2027-01-04" in text
    assert "what drives the ranges" in text


def test_pages_are_whole_and_hold_no_script(plan: Path, tmp_path: Path) -> None:
    out = tmp_path / "estimate.html"
    assert run(plan, "--no-listing", "--format", "html", "-o", out).exit_code == 0
    page = out.read_text()
    assert "default-src 'none'" in page
    assert "<script" not in page
    assert "corpus" in page
    marked = run(plan, "--no-listing", "--format", "markdown").output
    assert marked.startswith("# chat: gcp to lambda")
    assert "| corpus | 12 TB |" in marked


WORKS = """\
workloads:
  - {name: chat, class: realtime, after: [features]}
  - {name: features, class: pipeline}
"""


def test_who_moves_after_whom_is_in_every_form(plan: Path, tmp_path: Path) -> None:
    plan.write_text(PLAN + WORKS)
    moves = asked(plan, "--no-listing", "--start", "2027-01-04")["moves"]
    assert [(m["workload"], m["after"]) for m in moves] == [("features", []), ("chat", ["features"])]
    assert moves[0]["ends"] < moves[1]["begins"]
    text = run(plan, "--no-listing", "--start", "2027-01-04").output
    assert f"chat      {moves[1]['begins']} to {moves[1]['ends']}  after features" in text
    marked = run(plan, "--no-listing", "--start", "2027-01-04", "--format", "markdown").output
    assert f"| chat | {moves[1]['begins']} | {moves[1]['ends']} | features |" in marked
    out = tmp_path / "estimate.html"
    run(plan, "--no-listing", "--format", "html", "-o", out)
    page = out.read_text()
    assert page.index('<div class="bar move"><span') < page.index(">features</span>") < page.index(">chat</span>")
    plan.write_text(PLAN)
    assert asked(plan, "--no-listing")["moves"] == []
    assert "within the cutover" not in run(plan, "--no-listing").output


def test_a_size_that_stays_unknown_exits_1(plan: Path) -> None:
    plan.write_text(PLAN.replace(", size: 1 TB, objects: 10", ""))
    result = run(plan, "--no-listing")
    assert (result.exit_code, "no size is known" in result.output) == (1, True)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "-"),
        (0.0, "0 s"),
        (4e-8, "<0.1 s"),
        (0.5, "0.5 s"),
        (90, "1.5 min"),
        (16000, "4.44 h"),
        (1.6e6, "18.5 d"),
        (1.6e7, "185 d"),
        (1e8, "1,157 d"),
    ],
)
def test_times_have_the_digits_that_planning_needs(seconds: float | None, text: str) -> None:
    assert span_of_time(seconds) == text


@pytest.mark.parametrize(
    ("value", "text"), [(None, "-"), (0, "0 B"), (999, "999 B"), (12 * 10**12, "12 TB"), (5 * 10**18, "5,000 PB")]
)
def test_sizes_are_decimal(value: int | None, text: str) -> None:
    assert decimal_size(value) == text
