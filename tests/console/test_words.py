"""What dialogs say, from the engine's own models."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from backends.snapshot import Lag, PreviewView, RunView, StepView
from backends.verdict import Verdict
from console.attach import last_line
from console.fields import detail_rows
from console.keymap import ACTS, KEYS, LOOKS
from console.words import gap_words, refusal_words, run_result, what_changed
from tests.fixtures.snapshots import AT, EVIL, rolled_back, soaking
from widgets.plan_gates import PlanEntry
from widgets.readiness import gap_words as readiness_words

DOCS = Path(__file__).resolve().parents[2] / "docs" / "keys.md"


def preview(*texts: str, **more: object) -> PreviewView:
    return PreviewView(command="rollback", steps=tuple(StepView(text=t) for t in texts), **more)  # type: ignore[arg-type]


def test_a_gap_that_is_not_known_is_not_called_none() -> None:
    assert gap_words(Lag()) == "gap -"
    assert gap_words(Lag(objects=0, bytes=0)) == "no gap"
    assert gap_words(Lag(objects=0, bytes=0, age=31.0, may_be_more=True)) == "no gap 31 s ago"
    assert readiness_words(Lag(objects=0, bytes=0, age=31.0, may_be_more=True)) == "none 31s ago"
    assert readiness_words(Lag(objects=3, bytes=2048, age=31.0, may_be_more=True)) == "3+ objects 2.00 KiB"


def test_what_changed_names_the_steps() -> None:
    assert what_changed(preview("a", "b"), preview("b", "c")) == "no longer: a; now: c"
    assert what_changed(preview("a", "b"), preview("b", "a")) == "the order of the steps"
    assert what_changed(preview("a"), preview("a", allowed=False)) == "it is refused now"
    assert what_changed(preview("a"), preview("a")) == "the plan or the routes"


def test_a_refusal_from_outside_shows_as_text() -> None:
    assert "\x1b" not in refusal_words(preview(allowed=False, refused_by=EVIL, reason=EVIL, would_allow=EVIL))


def test_a_run_that_was_blocked_is_not_called_done() -> None:
    run = RunView(kind="rollback", started_at=AT - timedelta(seconds=9), ended_at=AT, outcome="rollback_blocked")
    assert "BLOCKED" in run_result(soaking().model_copy(update={"run": run, "state": "rollback_blocked"}))
    assert "production is home" in run_result(rolled_back())


def test_every_field_of_a_row_is_shown_with_its_unit() -> None:
    rows = dict(detail_rows(soaking().datasets[0]))
    assert rows["bytes total"] == "12.0 TiB"
    assert rows["lag seconds"] == "41 min"
    assert rows["reverse lag"] == "-"
    assert "shard-000417" in rows["slowest 1"]
    gate = dict(detail_rows(PlanEntry(gate=soaking().gates[0])))
    assert gate["verdict"] == Verdict.PASS


def test_the_last_line_says_how_to_come_back_and_how_to_take_it_back(tmp_path: Path) -> None:
    line = last_line("chat-2026", tmp_path / "a b")
    assert "the engine goes on" in line
    assert f"cutover attach --state '{tmp_path}/a b'" in line
    assert f"cutover rollback --state '{tmp_path}/a b'" in line


def test_the_last_line_after_a_lost_engine_names_what_brings_it_back(tmp_path: Path) -> None:
    line = last_line("chat-2026", tmp_path, gone=True, plan="/home/ops/chat.yaml")
    assert f"the engine is gone. back: cutover up /home/ops/chat.yaml --state {tmp_path}" in line


def test_lower_case_looks_and_capitals_act() -> None:
    assert all(key.shown.isupper() for key in ACTS)
    assert not any(key.shown.isalpha() and key.shown.isupper() for key in LOOKS)
    assert len({key.key for key in KEYS}) == len(KEYS)


def test_every_key_is_in_the_docs() -> None:
    text = DOCS.read_text()
    missing = [key.shown for key in KEYS if f"| `{key.shown}` |" not in text]
    assert not missing
