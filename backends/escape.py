"""Text from outside, made harmless for the terminal, with nothing lost: what is odd is shown as an escape.

Object keys, remote output, host names and metric names pass through `plain` before they reach a screen, a log line
or an error message. Rich and Textual get `rich.text.Text(plain(x))`, never markup.
"""

from __future__ import annotations

import unicodedata

_ODD = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}


def plain(text: str | bytes, limit: int = 2000) -> str:
    r"""`text` on one line without control, format, private or unassigned characters, and without odd spaces.

    Newline becomes `\n`, ESC becomes `\x1b`, a right-to-left override becomes `\u202e`; a backslash stays as it is. Longer than
    `limit` characters is cut and ends in `…`.
    """
    if isinstance(text, bytes):
        text = text.decode("utf-8", "backslashreplace")
    if len(text) > limit:
        text = text[: limit - 1] + "…"
    if text.isascii() and text.isprintable():
        return text
    return "".join(_shown(c) for c in text)


def _shown(char: str) -> str:
    category = unicodedata.category(char)
    if char == " " or (category not in _ODD and category != "Zs"):
        return char
    return char.encode("unicode_escape").decode("ascii")
