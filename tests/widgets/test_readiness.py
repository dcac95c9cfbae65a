from __future__ import annotations

import pytest
from textual.strip import Strip

from backends.snapshot import EngineView, ReadinessView, State
from tests.fixtures import snapshots as made
from tests.widgets.stage import PALETTE
from widgets.readiness import readiness_line


def is_loud(line: Strip, width: int) -> bool:
    """Whether the line is reversed from edge to edge."""
    return line.cell_length == width and all(s.style is not None and s.style.reverse for s in line)


def test_ready_is_calm_and_says_gap_time_and_legacy() -> None:
    line = readiness_line(made.soaking(), PALETTE, 80)
    assert line.text.startswith(" ✓ ROLLBACK READY  42 s to safe")
    assert "gap 3 objects 1.20 MiB" in line.text
    assert "legacy ok,  4 s ago" in line.text
    assert not any(s.style is not None and s.style.reverse for s in line)


def test_blocked_is_the_loudest_line_and_names_what_blocks_it() -> None:
    line = readiness_line(made.breach(), PALETTE, 80)
    assert is_loud(line, 80)
    assert "✗ ROLLBACK BLOCKED  legacy silent 71 s" in line.text


def test_an_engine_that_is_gone_is_loud_and_says_how_to_roll_back_all_the_same() -> None:
    line = readiness_line(made.soaking(), PALETTE, 80, gone="no answer for 9 s")
    assert is_loud(line, 80)
    assert "ENGINE GONE" in line.text
    assert "cutover rollback chat-2026" in line.text


def test_recovering_is_not_ready() -> None:
    engine = EngineView(pid=1, started=made.AT, socket="s", recovering=True)
    line = readiness_line(made.soaking().model_copy(update={"engine": engine}), PALETTE, 80)
    assert is_loud(line, 80)
    assert "RECOVERING" in line.text


def test_before_anything_moved_nothing_is_said_loudly() -> None:
    for snapshot in (made.planned(), made.preparing(), made.nothing()):
        line = readiness_line(snapshot, PALETTE, 80)
        assert "nothing to take back" in line.text
        assert not is_loud(line, 80)


def test_a_rollback_under_way_counts_its_confirmed_steps() -> None:
    assert "2 of 5 steps confirmed" in readiness_line(made.rolling_back(), PALETTE, 80).text


def test_rolled_back_says_that_production_is_home() -> None:
    assert "✓ ROLLED BACK  production is on legacy" in readiness_line(made.rolled_back(), PALETTE, 80).text


def test_after_the_end_the_line_says_that_there_is_no_way_back() -> None:
    over = made.soaking().model_copy(update={"state": State.DECOMMISSIONED, "rollback": ReadinessView(possible=False)})
    assert "NO WAY BACK" in readiness_line(over, PALETTE, 80).text


@pytest.mark.parametrize("seconds", [4.0, 42.0, 99.0])
def test_figures_do_not_move_their_neighbours(seconds: float) -> None:
    base = made.soaking()
    ready = base.rollback.model_copy(update={"seconds_to_safe": seconds, "legacy_age": seconds / 5})
    text = readiness_line(base.model_copy(update={"rollback": ready}), PALETTE, 120).text
    assert text.index("gap ") == 36
    assert text.index("legacy ok") == 61


def test_unfenced_and_warnings_are_shown_beside_readiness() -> None:
    base = made.soaking()
    ready = base.rollback.model_copy(update={"unfenced": True, "warnings": ("no backup",)})
    text = readiness_line(base.model_copy(update={"rollback": ready}), PALETTE, 160).text
    assert "! unfenced" in text
    assert "! no backup" in text
