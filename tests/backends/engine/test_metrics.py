"""Metrics: parsed back by Prometheus's own parser, hostile names included; the text file appears whole."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from prometheus_client import generate_latest
from prometheus_client.parser import text_string_to_metric_families

from backends.engine.metrics import metrics_of, write_metrics
from backends.snapshot import Snapshot
from tests.fixtures.snapshots import hostile, nothing, rollback_blocked, soaking


def samples(snapshot: Snapshot, **more: int) -> dict[tuple[str, tuple[tuple[str, str], ...]], float]:
    text = generate_latest(metrics_of(snapshot, **more)).decode()
    return {(s.name, tuple(sorted(s.labels.items()))): s.value for f in text_string_to_metric_families(text) for s in f.samples}


def test_readiness_gap_verdicts_and_failures_are_figures() -> None:
    seen = samples(rollback_blocked(), notifications_failed=3)
    assert seen["cutover_rollback_ready", ()] == 0
    assert seen["cutover_rollback_blocked_by", ()] == 2
    assert seen["cutover_rollback_gap_bytes", ()] == 9 * (1 << 30)
    assert seen["cutover_trigger_verdict", (("trigger", "errors"), ("verdict", "BREACH"))] == 1
    assert seen["cutover_trigger_value", (("trigger", "errors"),)] == 0.0041
    assert seen["cutover_trigger_limit", (("trigger", "errors"),)] == 0.001
    assert seen["cutover_notifications_failed", ()] == 3
    assert samples(soaking())["cutover_rollback_seconds_to_safe", ()] == 42


def test_what_is_not_known_has_no_sample() -> None:
    names = {name for name, _ in samples(nothing())}
    assert "cutover_rollback_seconds_to_safe" not in names
    assert "cutover_rollback_gap_bytes" not in names


def test_hostile_names_stay_one_label() -> None:
    assert ("cutover_state", (("state", "soaking"),)) in samples(hostile())


def test_the_file_appears_whole_readable_and_a_folder_that_is_gone_is_no_fault(tmp_path: Path) -> None:
    path = tmp_path / "cutover.prom"
    assert write_metrics(path, b"a 1\n")
    assert write_metrics(path, b"a 2\n")
    assert (path.read_bytes(), stat.S_IMODE(path.stat().st_mode)) == (b"a 2\n", 0o644)
    assert os.listdir(tmp_path) == ["cutover.prom"]
    assert not write_metrics(tmp_path / "gone" / "cutover.prom", b"")
