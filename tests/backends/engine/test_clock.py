"""Observed time: the boot clock's, whatever the wall clock does."""

from __future__ import annotations

import time

import pytest

from backends.engine import clock as module
from backends.engine.clock import ObservedClock, boot_id


class Clocks:
    """Both clocks, turned by hand."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.boot, self.wall = 500.0, 1_700_000_000.0
        monkeypatch.setattr(module, "boot_clock", lambda: self.boot)
        monkeypatch.setattr(time, "time", lambda: self.wall)

    def pass_(self, seconds: float) -> None:
        self.boot += seconds
        self.wall += seconds


@pytest.fixture
def clocks(monkeypatch: pytest.MonkeyPatch) -> Clocks:
    return Clocks(monkeypatch)


@pytest.mark.parametrize("jump", [-86400.0, -5.0, 5.0, 3.2e7])
def test_a_jump_of_the_wall_clock_moves_no_window_and_is_told_once(clocks: Clocks, jump: float) -> None:
    clock = ObservedClock(100.0)
    clocks.pass_(30.0)
    clocks.wall += jump
    assert clock.now() == 130.0
    assert clock.wall_jump() == pytest.approx(jump)
    assert clock.wall_jump() == 0.0
    clocks.pass_(10.0)
    assert clock.now() == 140.0
    assert clock.wall_jump() == 0.0


def test_small_corrections_of_the_wall_clock_are_no_jump(clocks: Clocks) -> None:
    clock = ObservedClock()
    for _ in range(3):
        clocks.pass_(60.0)
        clocks.wall += 0.3
        assert clock.wall_jump() == 0.0


def test_time_goes_on_from_what_the_journal_had_observed(clocks: Clocks) -> None:
    assert ObservedClock(7200.0).now() == 7200.0
    clock = ObservedClock(7200.0)
    clocks.boot += 3600.0  # asleep: the boot clock counts it
    assert clock.now() == 10800.0
    assert clock.uptime() == 3600.0


def test_the_kernels_boot_is_named() -> None:
    assert len(boot_id()) == 36
