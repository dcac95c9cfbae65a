"""What people read of the journal: text from outside is shown, and does nothing."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import replace
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from backends.cutover.events import Event, Kind
from backends.cutover.report import markdown, report
from backends.cutover.report_html import report_html
from backends.cutover.story import describe, view
from tests.backends.cutover.model_world import BEGINNING
from tests.backends.cutover.test_fold import WALK

NASTY = [
    "\x1b[2J\x1b]0;owned\x07",
    "a\nb",
    "[red]x[/red]",
    "<script>alert(1)</script>",
    "a|b",
    "`code`",
    "\u202egnp.exe",
    "![x](http://e)",
    "\udc80",
]
TEXT = st.one_of(st.sampled_from(NASTY), st.text(max_size=30))
# What a backslash takes its meaning from, left alone where no backslash stands before it.
BARE = re.compile(r"(?<!\\)(?:\\\\)*[`*_{}\[\]<>#|~&]")


def journal(name: str, reason: str) -> list[Event]:
    """One event of each kind, with `name` and `reason` wherever text from outside can be."""
    args: dict[str, Any] = {
        "route": name,
        "dataset": name,
        "workload": name,
        "side": "legacy",
        "weight": 5,
        "writer": "none",
        "epoch": 0,
    }
    data: dict[str, Any] = {
        "id": "o", "name": name, "path": name, "hash": "0" * 64, "plan_hash": "0" * 64, "text": reason, "reason": reason,
        "detail": reason, "by": name, "holder": name, "command": name, "rule": "SR1", "side": "legacy", "health": "dead",
        "args": args, "direction": "forward", "weights": {name: 5}, "dataset": name, "item": name, "verdict": "BREACH", "value": 1.0, "limit": 2.0,
        "steps": [{"kind": "weight", "args": args, "text": reason}], "mode": "graceful", "outcome": reason, "step": 0,
        "measures": [{"measure": name, "figures": []}], "workload": name, "number": 1, "good": False, "where": name, "listed": 1, "copied": 1, "failed": 1, "bytes": 1, "proven": 0, "objects_total": 1, "route": name, "count": 1, "pid": 1,
        "repaired": [{"key": name, "reason": reason}], "failures": [{"key": name, "reason": reason}],
        "state": "soaking", "phase": "cutover",
    }  # fmt: skip
    events = []
    for kind in Kind:
        for op in ("weight", "quiesce", "token", "last_round", "drain") if kind.value.startswith("op.") else ("rollback",):
            events.append(Event(len(events) + 1, BEGINNING, name, kind.value, data | {"kind": op}))
    error = {"dataset": name, "direction": "reverse", "error": reason or "no answer"}
    return [*events, Event(len(events) + 1, BEGINNING, name, Kind.ROUND.value, error)]


def is_harmless(text: str) -> bool:
    return all(c == "\n" or unicodedata.category(c) not in ("Cc", "Cf", "Cs", "Zl", "Zp") for c in text)


@settings(max_examples=60)
@given(TEXT, TEXT)
def test_a_story_is_one_line_without_a_control_character(name: str, reason: str) -> None:
    for event in journal(name, reason):
        text, _ = describe(event)
        assert "\n" not in text
        assert is_harmless(text)
        assert view(event).text == text


def _columns(line: str) -> int:
    return len(re.findall(r"(?<!\\)\|", line.replace("\\\\", "")))


@settings(max_examples=60)
@given(TEXT, TEXT)
def test_a_report_has_no_more_lines_or_columns_than_its_events(name: str, reason: str) -> None:
    told, plain = report(journal(name, reason)), report(journal("n", "r"))
    assert is_harmless(told)
    assert told.count("\n") == plain.count("\n")
    rows = [[_columns(line) for line in text.splitlines() if line.startswith("|")] for text in (told, plain)]
    assert rows[0] == rows[1]


@given(TEXT)
def test_markdown_escapes_everything_that_means_something(text: str) -> None:
    escaped = markdown(text)
    assert not BARE.search(escaped.replace("\\\\", ""))
    assert is_harmless(escaped)


def test_no_html_of_a_hostile_name_stands_in_the_report() -> None:
    told = report(journal("x`<script>alert(1)</script>`", "</table><img src=x>"))
    outside_code = re.sub(r"`[^`\n]*`", "", re.sub(r"\\.", "", told))
    assert "<" not in outside_code


def test_a_report_of_a_whole_migration_tells_its_weights_tokens_and_rollback() -> None:
    told = report(WALK)
    assert "| jobs | 100 % |" in told
    assert "dataset ckpt: writer target, epoch 1" not in told  # that is the journal's; the report's rollback has its own steps
    assert "dataset ckpt: writer legacy, epoch 2" in told
    assert re.search(r"graceful, by test: test; ended .* later: rolled\\_back", told)


def test_a_report_of_nothing_says_so() -> None:
    told = report([])
    assert "No traffic was moved." in told
    assert "There was none." in told
    assert "No round of sync has ended." in told


def test_every_kind_of_event_has_words_of_its_own() -> None:
    for event in journal("chat", "why"):
        assert describe(event)[0] != event.kind


@settings(max_examples=40)
@given(TEXT, TEXT)
def test_a_page_holds_no_tag_that_a_text_brought_with_it(name: str, reason: str) -> None:
    told, tame = report_html(journal(name, reason)), report_html(journal("n", "r"))
    assert re.findall(r"<[a-z/!][^ >]*", told) == re.findall(r"<[a-z/!][^ >]*", tame)
    assert is_harmless(told)


def test_a_page_stands_alone_and_allows_no_script() -> None:
    told = report_html(journal("x<script>alert(1)</script>", '"><img src=http://evil/ onerror=alert(1)>'))
    assert "default-src 'none'" in told
    assert "<script" not in told
    assert "<img" not in told
    assert not re.search(r"<(link|iframe|object|form)|url\(|@import", told)


def test_a_page_of_a_whole_migration_has_its_plots_its_rollback_and_its_lessons() -> None:
    lesson = replace(WALK[-1], seq=WALK[-1].seq + 1, kind="lesson", data={"text": "watch the loss at epoch 5"})
    told = report_html([*WALK, lesson])
    assert told.count("<svg") >= 1
    assert "dataset ckpt: writer legacy, epoch 2" in told
    assert "watch the loss at epoch 5" in told
    assert "watch the loss at epoch 5" in report([*WALK, lesson])


def test_shares_are_told_as_percent_and_a_trigger_that_was_judged_once_is_a_dot() -> None:
    data = {"name": "errors", "verdict": "PASS", "value": 0.0125, "limit": 0.02, "unit": "fraction", "reason": "few", "phase": ""}
    events = [*WALK, replace(WALK[-1], seq=WALK[-1].seq + 1, kind=Kind.TRIGGER.value, data=data)]
    told = report_html(events)
    assert '<td class="figure">1.25 %</td><td class="figure">2 %</td>' in told
    assert told.count("<circle") == 1
    assert "limit 2 %" in told
    assert "| 1.25 % | 2 % |" in report(events)
