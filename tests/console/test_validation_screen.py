"""The validation screen as pictures: a measure with its table, curves and band, and two checkpoints with the tensors that differ."""

from __future__ import annotations

from typing import Any

import pytest
from textual.pilot import Pilot

from tests.console.console_pilot import SIZES, until
from tests.console.link import MadeLink
from tests.console.test_app_snapshots import drawn, made_app
from tests.fixtures.snapshots import breach
from widgets.validation_plot import ValidationPlot


async def validation_open(pilot: Pilot[Any]) -> None:
    await drawn(pilot)
    await pilot.press("4")
    await until(pilot, lambda: bool(pilot.app.screen.query(ValidationPlot)))
    await pilot.pause()


async def checkpoints_open(pilot: Pilot[Any]) -> None:
    await validation_open(pilot)
    await pilot.press("end")
    await pilot.pause()


@pytest.mark.parametrize("size", SIZES)
def test_both_curves_with_the_places_and_the_band_that_is_allowed(snap_compare: Any, size: tuple[int, int]) -> None:
    assert snap_compare(made_app(link=MadeLink(breach())), terminal_size=size, run_before=validation_open)


@pytest.mark.parametrize("size", SIZES)
def test_the_tensors_of_two_checkpoints_that_differ_most(snap_compare: Any, size: tuple[int, int]) -> None:
    assert snap_compare(made_app(link=MadeLink(breach())), terminal_size=size, run_before=checkpoints_open)
