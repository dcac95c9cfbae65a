"""What every Textual app of ours is: the project's themes, drawn as the terminal can."""

from __future__ import annotations

from typing import Generic, TypeVar

from textual.app import App

from console.terminal import Terminal
from themes.themes import THEMES, VARIABLE_DEFAULTS

T = TypeVar("T")
USUAL = Terminal(theme="cutover-dark", mouse=True, ascii_only=False, no_colour=False)


class ThemedApp(App[T], Generic[T]):
    """`terminal` says what the terminal can do; a theme that it names and nobody knows is the dark one."""

    def __init__(self, terminal: Terminal | None = None) -> None:
        self.terminal = terminal or USUAL
        # Textual chooses its NO_COLOR filter here and never again: it must know by now that the theme is ANSI.
        super().__init__(ansi_color=True if self.terminal.no_colour else None)
        self.ascii_only = self.terminal.ascii_only
        for theme in THEMES:
            self.register_theme(theme)
        self.theme = self.terminal.theme if self.terminal.theme in self.available_themes else USUAL.theme

    def get_theme_variable_defaults(self) -> dict[str, str]:
        """Colours by meaning, so that the TCSS also reads under a theme that is not ours."""
        return VARIABLE_DEFAULTS
