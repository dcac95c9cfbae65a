"""The command palette: every action by name, with its key; themes too."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from textual.command import DiscoveryHit, Hit, Hits, Provider

from console.keymap import KEYS
from themes.themes import THEMES


class CutoverCommands(Provider):
    """What the console can do."""

    def _commands(self) -> list[tuple[str, str, Callable[[], object]]]:
        made: list[tuple[str, str, Callable[[], object]]] = []
        for key in KEYS:
            if key.action != "command_palette":
                name = f"{key.label}  [{key.shown}]"
                made.append((name, key.help, partial(self.app.run_action, key.action)))
        for theme in THEMES:
            made.append((f"theme {theme.name}", "colours of the console", partial(self._set_theme, theme.name)))
        return made

    def _set_theme(self, name: str) -> None:
        self.app.theme = name

    async def discover(self) -> Hits:
        for name, text, call in self._commands():
            yield DiscoveryHit(_plain(name), call, text=name, help=text)

    async def search(self, query: str) -> Hits:
        matcher = self.matcher(query)
        for name, text, call in self._commands():
            score = matcher.match(f"{name} {text}")
            if score > 0:
                yield Hit(score, _plain(name), call, text=name, help=text)


def _plain(name: str) -> str:
    """Brackets are no markup here."""
    return name.replace("[", "\\[")
