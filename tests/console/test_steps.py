"""The steps that are confirmed are shown in full."""

from __future__ import annotations

from backends.snapshot import StepView
from console.screens.steps import first_shown, full_rows
from tests.fixtures.snapshots import EVIL
from themes.palette import palette_of
from themes.themes import VARIABLE_DEFAULTS

PALETTE = palette_of(VARIABLE_DEFAULTS)


def steps(*status: str) -> tuple[StepView, ...]:
    return tuple(StepView(text=f"step {i}", status=s) for i, s in enumerate(status))  # type: ignore[arg-type]


def test_a_long_step_takes_as_many_lines_as_it_needs_and_loses_no_word() -> None:
    words = [f"word{i}" for i in range(60)]
    rows = full_rows((StepView(text=" ".join(words), seconds=3),), PALETTE, 60)
    text = " ".join(row.text for row in rows)
    assert all(word in text for word in words)
    assert all(row.cell_length <= 60 for row in rows)


def test_a_step_with_signs_from_outside_shows_them_as_text() -> None:
    text = "".join(row.text for row in full_rows((StepView(text=EVIL * 9),), PALETTE, 60))
    assert "\\x1b[31m" in text
    assert not set(text) & set("\x1b\x07\n\u202e")


def test_what_is_under_way_is_seen_and_at_the_end_the_end() -> None:
    assert first_shown(steps(*["waiting"] * 20), 8) == 0
    assert first_shown(steps(*["confirmed"] * 10, "running", *["waiting"] * 9), 8) == 6
    assert first_shown(steps(*["confirmed"] * 20), 8) == 12
