"""The colours of the active theme as Rich styles, with the signs that go with them: what pure drawing functions are given."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from functools import lru_cache
from typing import Any

from rich.color import ColorType
from rich.style import Style
from textual.app import App
from textual.color import Color, ColorParseError

from backends.snapshot import Level, SideName
from themes.meaning import ASCII, UNICODE, Glyphs


@dataclass(frozen=True, slots=True)
class Palette:
    """Styles by meaning. None but the alarms has a background: panels lie on whatever the screen has."""

    glyphs: Glyphs
    text: Style
    strong: Style
    muted: Style
    legacy: Style
    target: Style
    good: Style
    waiting: Style
    held: Style
    breach: Style
    stale: Style
    track: Style
    accent: Style
    alarm: Style  # the loudest: reversed breach
    caution: Style  # reversed held
    note: Style  # reversed accent: SIMULATION
    cursor: Style

    def of(self, level: Level | None) -> Style:
        """The style of a meaning; none is plain text."""
        if level is None:
            return self.text
        return {
            Level.GOOD: self.good,
            Level.WAITING: self.waiting,
            Level.HELD: self.held,
            Level.BREACH: self.breach,
        }[level]

    def side(self, side: SideName) -> Style:
        """The colour of a side."""
        return self.legacy if side == "legacy" else self.target

    @property
    def is_true_colour(self) -> bool:
        """Is no ink or ground one of the terminal's own sixteen, and none dimmed?"""
        return all(is_true_colour(style) for field in fields(self) if isinstance(style := getattr(self, field.name), Style))


def is_true_colour(style: Style) -> bool:
    """Is neither its ink nor its ground one of the terminal's own sixteen, and is it not dimmed?"""
    return not style.dim and all(color is None or color.triplet is not None for color in (style.color, style.bgcolor))


def palette_of(variables: Mapping[str, str], *, ascii_only: bool = False) -> Palette:
    """The palette of a theme's variables (`App.theme_variables`)."""
    wanted = tuple(variables.get(name, "") for name in _NAMES)
    return _palette(wanted, ascii_only)


def palette_in(app: App[Any]) -> Palette:
    """The palette of an app's active theme. An app says with `ascii_only = True` that the terminal draws nothing else."""
    return palette_of(app.theme_variables, ascii_only=bool(getattr(app, "ascii_only", False)))


_NAMES = ("pass", "held", "breach", "waiting", "legacy", "target", "stale", "track", "accent", "text-dim", "background", "panel")
_FALLBACK = ("green", "yellow", "red", "", "magenta", "cyan", "", "", "blue", "", "", "")


@lru_cache(maxsize=32)
def _palette(wanted: tuple[str, ...], ascii_only: bool) -> Palette:
    inks = dict(zip(_NAMES, (_ink(w) or _ink(f) for w, f in zip(wanted, _FALLBACK, strict=True)), strict=True))
    ground = inks["background"]
    bold = Style(bold=True)
    quiet = Style(dim=True)

    def loud(name: str) -> Style:
        ink = inks[name] or Style()
        return Style(color=ink.color, bgcolor=ground.color if ground else None, reverse=True, bold=True)

    def ink(name: str, otherwise: Style) -> Style:
        return inks[name] or otherwise

    return Palette(
        glyphs=ASCII if ascii_only else UNICODE,
        text=Style(),
        strong=bold,
        muted=ink("text-dim", quiet),
        legacy=ink("legacy", Style()),
        target=ink("target", Style()),
        good=ink("pass", Style()),
        waiting=ink("waiting", Style()),
        held=ink("held", Style()) + bold,
        breach=ink("breach", Style()) + bold,
        stale=ink("stale", quiet),
        track=ink("track", quiet),
        accent=ink("accent", Style()),
        alarm=loud("breach"),
        caution=loud("held"),
        note=loud("accent"),
        cursor=_cursor(inks["panel"]),
    )


def _cursor(ink: Style | None) -> Style:
    """A quiet ground under the line; reversed where the terminal sets its own colours."""
    if ink is not None and ink.color is not None and ink.color.type is ColorType.TRUECOLOR:
        return Style(bgcolor=ink.color)
    return Style(reverse=True)


def _ink(value: str) -> Style | None:
    """A foreground of a theme's variable; None where it says nothing that is a plain colour."""
    if not value:
        return None
    try:
        color = Color.parse(value)
    except ColorParseError:
        return None
    return None if color.a == 0 else Style(color=color.rich_color)
