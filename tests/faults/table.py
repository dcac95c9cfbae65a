"""The table of faults that a run of the tests prints at its end: cases x outcomes, passed or failed.

`@fault_case(case, outcome)` names what a test stands for; `{name}` is filled in from its parameters. A test that tries many cases at
once says how many with the fixture `cases`. What a worker of xdist has seen comes with its reports.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

import pytest

CASE = "fault_case"
TRIED = "fault_tried"


# What the issues of other tools tell, and which test elsewhere shows that it does not happen here.
ELSEWHERE = {
    "tests/faults/test_window.py::test_a_client_that_hangs_up_in_the_middle_stops_nothing": (
        "vitess 19680: the client's connection ends after the point of no return", "the engine goes on to the end"),
    "tests/backends/engine/test_core.py::test_a_rollback_cancels_an_advance_in_flight_and_names_the_rule": (
        "gh-ost 1685: a command in flight has to be cancelled", "a rollback cancels it, SR6"),
    "tests/backends/validation/test_trigger.py::test_silence_is_not_health": (
        "argo 1905, Kayenta: no data", "no success: silence holds"),
    "tests/backends/validation/test_trigger.py::test_nothing_at_all_waits_first_and_is_silence_then": (
        "flagger 1581: a metric that never has data", "never passes"),
    "tests/backends/engine/test_core.py::test_a_dead_target_brings_production_home_by_itself": (
        "flagger 1592, 1801: target breaks while an operator is waited for", "guarded in every state with exposure"),
    "tests/backends/cutover/test_preflight.py::test_legacy_shows_its_capacity_while_it_carries_all": (
        "argo 3372, 3888, flagger 1898: a rollback onto an undersized legacy", "its capacity is proven before arming"),
    "tests/backends/engine/test_preflight.py::test_trying_the_way_back_changes_neither_side": (
        "vitess 16794: a switch with an unusable way back", "the reverse path is tried before arming"),
    "tests/backends/cutover/test_machine.py::test_whatever_happens_production_comes_home_and_two_never_write": (
        "argo 841, pgroll 468, 786: stuck, neither back nor forward", "every state has a way home"),
    "tests/backends/traffic/test_haproxy.py::test_a_reload_keeps_the_weights_that_were_saved": (
        "HAProxy 409, 2085: a reload forgets the weights", "they are saved, and are there after it"),
    "tests/backends/traffic/test_haproxy.py::test_what_a_cookie_binds_to_target_is_sent_away": (
        "HAProxy: `drain` keeps whom a cookie binds", "counted, and sent away"),
    "tests/backends/traffic/test_route53.py::test_identifiers_and_health_checks_of_records_that_were_there_stay": (
        "Route 53: weight 0 is answered with when all others are unhealthy", "told before arming, with its cure"),
}  # fmt: skip


def fault_case(case: str, outcome: str) -> pytest.MarkDecorator:
    """This test shows that `case` ends in `outcome`."""
    return pytest.mark.fault_case(case, outcome)


class Cases:
    """How many cases a test has tried."""

    def __init__(self, item: pytest.Item) -> None:
        self._item = item

    def count(self, number: int) -> None:
        self._item.user_properties.append((TRIED, number))


@dataclass(slots=True)
class Row:
    """One case and its outcome, over all tests that carry it."""

    case: str
    outcome: str
    passed: int = 0
    failed: list[str] = field(default_factory=list)
    skipped: int = 0

    @property
    def verdict(self) -> str:
        if self.failed:
            return f"FAIL {len(self.failed)} of {self.passed + len(self.failed)}"
        return f"pass {self.passed}" if self.passed else "skipped"


def note_case(item: pytest.Item) -> None:
    """Let the item's reports carry what it stands for."""
    callspec = getattr(item, "callspec", None)
    for mark in item.iter_markers(CASE):
        case, outcome = (text.format(**(callspec.params if callspec else {})) for text in mark.args)
        item.user_properties.append((CASE, f"{case}\t{outcome}"))
    if item.nodeid in ELSEWHERE:
        item.user_properties.append((CASE, "\t".join(ELSEWHERE[item.nodeid])))


def rows_of(reports: Iterable[Any]) -> list[Row]:
    """Rows from the reports of calls, and of set-ups that failed or were skipped; in the order of their first report."""
    rows: dict[str, Row] = {}
    for report in reports:
        if not isinstance(report, pytest.TestReport) or (report.when != "call" and report.passed):
            continue
        tried = sum(int(v) for k, v in report.user_properties if k == TRIED) or 1
        for text in (v for k, v in report.user_properties if k == CASE):
            row = rows.setdefault(text, Row(*text.split("\t")))
            if report.failed:
                row.failed.append(report.nodeid)
            elif report.skipped:
                row.skipped += 1
            else:
                row.passed += tried
    return sorted(rows.values(), key=lambda r: r.case)


def write_table(reporter: pytest.TerminalReporter) -> None:
    """Print the table, where a test that stands in it has run."""
    rows = rows_of(r for kind in ("passed", "failed", "error", "skipped") for r in reporter.stats.get(kind, ()))
    if not rows:
        return
    bad = [r for r in rows if r.failed]
    tried = sum(r.passed for r in rows)
    reporter.section(f"faults: {len(rows)} cases, {tried} times passed, {len(bad)} cases failed", red=bool(bad), green=not bad)
    width = min(76, max(len(r.case) for r in rows))
    for row in rows:
        reporter.line(f"{row.verdict:<12} {row.case:<{width}}  {row.outcome}", red=bool(row.failed))
    for row in bad:
        for name in row.failed[:5]:
            reporter.line(f"  failed: {name}", red=True)
