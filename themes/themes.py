"""The themes: colours by meaning, one dark, one light, one of 16 colours, one that colour-blind operators can read.

`$pass`, `$held`, `$breach`, `$waiting`, `$legacy`, `$target`, `$stale`, `$track` and `$text-dim` are set by each; an app gives
`VARIABLE_DEFAULTS` from `App.get_theme_variable_defaults`, so that the TCSS also reads under a foreign theme.

The colour-blind theme is after Okabe and Ito (https://jfly.uni-koeln.de/color/): good is blue, held yellow, breach vermilion.
The one of 16 colours names only the terminal's own colours (`ansi=True`: what the operator set is what is drawn).
"""

from __future__ import annotations

from pathlib import Path

from textual.theme import Theme

DARK = Theme(
    name="cutover-dark",
    dark=True,
    primary="#5cb8e6",
    secondary="#c39ad0",
    accent="#5cb8e6",
    success="#5fd08a",
    warning="#f2b93b",
    error="#ff6257",
    foreground="#d7dce4",
    background="#0e1117",
    surface="#151a22",
    panel="#1b212b",
    variables={
        "pass": "#5fd08a",
        "held": "#f2b93b",
        "breach": "#ff6257",
        "waiting": "#93a4b8",
        "legacy": "#c39ad0",
        "target": "#5cb8e6",
        "stale": "#67707d",
        "track": "#3a4350",
        "text-dim": "#8792a1",
        "frame": "#323b48",
        "frame-focus": "#5cb8e6",
    },
)

LIGHT = Theme(
    name="cutover-light",
    dark=False,
    primary="#0a6aa0",
    secondary="#7c4593",
    accent="#0a6aa0",
    success="#187741",
    warning="#8f5a00",
    error="#c22424",
    foreground="#1d2430",
    background="#fafbfc",
    surface="#f1f3f6",
    panel="#e7ebf0",
    variables={
        "pass": "#187741",
        "held": "#8f5a00",
        "breach": "#c22424",
        "waiting": "#56657a",
        "legacy": "#7c4593",
        "target": "#0a6aa0",
        "stale": "#8b94a1",
        "track": "#c9d0d9",
        "text-dim": "#5b6675",
        "frame": "#c3cad4",
        "frame-focus": "#0a6aa0",
    },
)

SIXTEEN = Theme(
    name="cutover-16",
    dark=True,
    ansi=True,
    primary="ansi_blue",
    secondary="ansi_magenta",
    accent="ansi_cyan",
    success="ansi_green",
    warning="ansi_yellow",
    error="ansi_bright_red",
    foreground="ansi_default",
    background="ansi_default",
    surface="ansi_default",
    panel="ansi_default",
    boost="ansi_default",
    variables={
        "pass": "ansi_green",
        "held": "ansi_yellow",
        "breach": "ansi_bright_red",
        "waiting": "ansi_default",
        "legacy": "ansi_magenta",
        "target": "ansi_cyan",
        "stale": "ansi_bright_black",
        "track": "ansi_bright_black",
        "text-dim": "ansi_bright_black",
        "frame": "ansi_bright_black",
        "frame-focus": "ansi_cyan",
        "ansi-background": "ansi_black",
        "ansi-foreground": "ansi_white",
        "block-cursor-foreground": "ansi_black",
        "block-cursor-background": "ansi_cyan",
        "input-cursor-background": "ansi_white",
        "input-cursor-foreground": "ansi_black",
        "input-selection-background": "ansi_blue",
        "input-selection-foreground": "ansi_white",
        "screen-selection-background": "ansi_blue",
        "screen-selection-foreground": "ansi_white",
    },
)

COLOURBLIND = Theme(
    name="cutover-colourblind",
    dark=True,
    primary="#56b4e9",
    secondary="#d79bc0",
    accent="#d7dce4",
    success="#56b4e9",
    warning="#f0e442",
    error="#ff7a33",
    foreground="#e2e6ec",
    background="#0b0d12",
    surface="#13171e",
    panel="#1a1f28",
    variables={
        "pass": "#56b4e9",
        "held": "#f0e442",
        "breach": "#ff7a33",
        "waiting": "#a3adba",
        "legacy": "#d79bc0",
        "target": "#2fc39a",
        "stale": "#6d7683",
        "track": "#3a4350",
        "text-dim": "#909aa8",
        "frame": "#353d4a",
        "frame-focus": "#e2e6ec",
    },
)

THEMES: tuple[Theme, ...] = (DARK, LIGHT, SIXTEEN, COLOURBLIND)
VARIABLE_DEFAULTS: dict[str, str] = dict(DARK.variables)
FOLDER = Path(__file__).parent


def tcss(name: str) -> Path:
    """The TCSS file of a screen: `tcss("main")`."""
    return FOLDER / f"{name}.tcss"
