"""Lines of a plan as they may be shown: what is written where a secret belongs is hidden, references to secrets stay."""

from __future__ import annotations

import re

from backends.escape import plain
from backends.plan.document import Node, Span, read_document
from backends.plan.literals import HIDDEN, without_credentials
from backends.plan.nearest import nearest_name
from backends.plan.problems import SECRET_FIELDS, without_userinfo

_SECRET_NAME = re.compile(r"(?i)secret|passw|passphrase|token|tsig|hook|credential|key|sas")
_REFERENCES_ONLY = re.compile(r"(\s|[\"']|\$\{[a-z-]+:[^}]*\})*")
_LINE_LIMIT = 400


class Excerpts:
    """The lines of one plan, by their numbers from 1."""

    def __init__(self, text: str) -> None:
        self._lines = text.removeprefix("\ufeff").splitlines()
        document = read_document(text)
        if document.root is None:
            self._lines = [_without_named_values(line) for line in self._lines]
        else:
            for span in sorted(_secret_spans(document.root), key=_position, reverse=True):
                self._hide(span)

    def line(self, number: int) -> str:
        """The line, harmless for a terminal; empty where there is none."""
        if not 1 <= number <= len(self._lines):
            return ""
        return plain(without_credentials(without_userinfo(self._lines[number - 1].rstrip().expandtabs(4))), _LINE_LIMIT)

    def _hide(self, span: Span) -> None:
        """From the last line to the first, so that columns of spans not yet hidden stay true."""
        for number in range(min(span.end_line, len(self._lines) - 1), span.line - 1, -1):
            line = self._lines[number]
            start = span.column if number == span.line else 0
            end = span.end_column if number == span.end_line else len(line)
            if not _REFERENCES_ONLY.fullmatch(line[start:end]):
                self._lines[number] = line[:start] + HIDDEN + line[end:]


def _position(span: Span) -> tuple[int, int]:
    return span.line, span.column


def _secret_spans(root: Node) -> set[Span]:
    """Where values stand whose name is that of a secret; whole lists and mappings of them too."""
    found: set[Span] = set()
    seen: set[int] = set()
    waiting = [root]
    while waiting:
        node = waiting.pop()
        if id(node) in seen:
            continue
        seen.add(id(node))
        if isinstance(node.value, list):
            waiting += node.value
        elif isinstance(node.value, dict):
            for key, entry in node.value.items():
                if _is_secret(key):
                    found.add(entry.node.span)
                else:
                    waiting.append(entry.node)
    return found


def _is_secret(name: str) -> bool:
    """By its name, one that is nearly that of a secret field included: a typing error shows nothing."""
    return _SECRET_NAME.search(name) is not None or nearest_name(name, SECRET_FIELDS) is not None


def _without_named_values(line: str) -> str:
    """For text that is no YAML: whatever follows the name of a secret on its line is hidden."""
    name = _SECRET_NAME.search(line)
    return line if name is None else f"{line[: name.end()]} {HIDDEN}"
