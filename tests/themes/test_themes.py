from __future__ import annotations

import re

import pytest
from rich.color import ColorType
from textual.color import Color

from backends.snapshot import Health, Level, State
from backends.verdict import Verdict
from tests.fixtures.snapshots import breach
from tests.widgets.stage import main_screen
from themes.meaning import (
    ASCII,
    UNICODE,
    level_of_health,
    level_of_host,
    level_of_state,
    level_of_verdict,
    speaks_unicode,
    to_ascii,
)
from themes.palette import palette_of
from themes.themes import COLOURBLIND, DARK, FOLDER, LIGHT, SIXTEEN, THEMES, VARIABLE_DEFAULTS

MEANINGS = ("pass", "held", "breach", "waiting", "legacy", "target", "stale", "track", "text-dim", "frame", "frame-focus")


def test_every_theme_gives_a_colour_to_every_meaning() -> None:
    for theme in THEMES:
        assert set(MEANINGS) <= set(theme.variables), theme.name


def test_every_variable_of_the_tcss_has_a_default() -> None:
    ours = set(VARIABLE_DEFAULTS) | {"background", "foreground", "surface", "panel", "primary", "accent"}
    for sheet in FOLDER.glob("*.tcss"):
        assert set(re.findall(r"\$([a-z-]+)", sheet.read_text())) <= ours, sheet.name


@pytest.mark.parametrize("theme", [DARK, LIGHT, COLOURBLIND], ids=lambda t: t.name)
def test_what_is_said_in_colour_can_be_read_on_its_ground(theme) -> None:  # type: ignore[no-untyped-def]
    ground = Color.parse(theme.background)
    for meaning in ("pass", "held", "breach", "waiting", "legacy", "target", "text-dim"):
        assert contrast(Color.parse(theme.variables[meaning]), ground) >= 4.5, meaning
    assert contrast(Color.parse(theme.variables["stale"]), ground) >= 2.5


def contrast(a: Color, b: Color) -> float:
    """The contrast ratio of WCAG 2."""
    light, dark = sorted((luminance(a), luminance(b)), reverse=True)
    return (light + 0.05) / (dark + 0.05)


def luminance(color: Color) -> float:
    """The relative luminance of WCAG 2."""
    parts = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in color.normalized]
    return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2]


def test_the_theme_of_sixteen_colours_names_no_other() -> None:
    palette = palette_of({**SIXTEEN.variables, "accent": "ansi_cyan", "background": "ansi_default", "panel": "ansi_default"})
    for style in (palette.good, palette.held, palette.breach, palette.legacy, palette.target, palette.stale, palette.alarm):
        assert style.color is None or style.color.type in (ColorType.STANDARD, ColorType.DEFAULT)


def test_an_alarm_is_reversed_so_that_it_is_seen_without_colour() -> None:
    for theme in THEMES:
        palette = palette_of(theme.variables)
        assert palette.alarm.reverse
        assert palette.caution.reverse


async def test_with_no_color_nothing_has_a_colour_and_the_alarm_still_stands_out(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    app = main_screen(breach(), "cutover-16")
    async with app.run_test(size=(80, 24)) as pilot:
        await pilot.pause()
        strips = app.screen._compositor.render_strips()
        styles = [segment.style for strip in strips for segment in strip if segment.style is not None]
        assert {s.color.type for s in styles if s.color is not None} <= {ColorType.DEFAULT}
        assert {s.bgcolor.type for s in styles if s.bgcolor is not None} <= {ColorType.DEFAULT}
        readiness = next(strip for strip in strips if "ROLLBACK BLOCKED" in strip.text)
        assert all(s.style is not None and s.style.reverse for s in readiness)


def test_the_four_meanings_have_four_signs_in_unicode_and_in_ascii() -> None:
    for glyphs in (UNICODE, ASCII):
        assert len({glyphs.of(level) for level in Level}) == 4
    assert all(ASCII.of(level).isascii() for level in Level)


def test_silence_is_never_good() -> None:
    assert level_of_verdict(Verdict.INCONCLUSIVE) is Level.WAITING
    assert level_of_verdict(None) is Level.WAITING
    assert level_of_verdict(Verdict.ERROR) is Level.HELD
    assert level_of_health(Health.UNKNOWN) is Level.WAITING
    assert level_of_host("silent") is Level.BREACH
    assert level_of_state(State.ROLLBACK_BLOCKED) is Level.BREACH


def test_ascii_keeps_the_width_of_a_line() -> None:
    text = "chat 10 → 25 % … ± · ✓ ✗ ↑"
    assert to_ascii(text).isascii()
    assert len(to_ascii(text)) == len(text)


def test_the_locale_decides_what_can_be_drawn() -> None:
    assert speaks_unicode({"LANG": "de_DE.UTF-8"})
    assert not speaks_unicode({"LANG": "C"})
    assert not speaks_unicode({"LANG": "en_US.UTF-8", "LC_ALL": "POSIX"})
    assert not speaks_unicode({"LANG": "en_US.UTF-8", "CUTOVER_ASCII": "1"})
