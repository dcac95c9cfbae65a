"""The screens by name. Each is imported when it is first looked at, so that the first frame does not wait for the others."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from functools import partial

from textual.screen import Screen

from console.screens.base import CutoverScreen

WHERE: dict[str, tuple[str, str]] = {
    "overview": ("console.screens.overview", "OverviewScreen"),
    "transfer": ("console.screens.transfer", "TransferScreen"),
    "gpus": ("console.screens.gpus", "GpusScreen"),
    "validation": ("console.screens.validation", "ValidationScreen"),
    "traffic": ("console.screens.traffic", "TrafficScreen"),
    "hosts": ("console.screens.hosts", "HostsScreen"),
    "plan": ("console.screens.plan", "PlanScreen"),
    "events": ("console.screens.events", "EventsScreen"),
    "run": ("console.screens.run", "RunScreen"),
}


def make_screen(mode: str) -> CutoverScreen:
    """A new screen of this name."""
    module, name = WHERE[mode]
    made = getattr(importlib.import_module(module), name)()
    assert isinstance(made, CutoverScreen)
    return made


MODES: dict[str, str | Callable[[], Screen[None]]] = {mode: partial(make_screen, mode) for mode in WHERE}
