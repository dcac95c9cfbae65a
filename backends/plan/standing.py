"""What a plan says of its sides, hosts, workloads, stores and datasets, field by field, with the remark that stands beside each: in a draft of
`cutover inventory` that is from what it was inferred, or that it is not known."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Literal

from backends.escape import plain
from backends.plan.document import Entry, Node, read_document
from backends.plan.excerpt import Excerpts
from backends.plan.literals import HIDDEN
from backends.vocabulary import SideName

Kind = Literal["side", "host", "workload", "store", "dataset"]

NOT_KNOWN = "not known"
_REMARK = re.compile(r"[\s,\]}]*(?<=[\s,\]}])#\s*(.*)")
_WHOLE = re.compile(r"\s*#\s*(.*)")
_LONGEST = 300
_PARTS = 8  # entries of a list that are shown


@dataclass(frozen=True, slots=True)
class Fact:
    """A field as it is written, dotted, and the remark on its line."""

    field: str
    value: str
    remark: str = ""


@dataclass(frozen=True, slots=True)
class Item:
    """One side, host, workload, store or dataset. `notes` are its remarks on lines of their own; `side` is a host's."""

    kind: Kind
    name: str
    side: SideName | None
    line: int
    facts: tuple[Fact, ...]
    notes: tuple[str, ...]

    @property
    def unknown(self) -> tuple[str, ...]:
        """What somebody has still to find out, in the draft's words."""
        fields = [f"{fact.field}: {fact.remark}" for fact in self.facts if fact.remark.startswith(NOT_KNOWN)]
        return (*fields, *(note for note in self.notes if NOT_KNOWN in note))

    def value(self, field: str) -> str:
        """A field's value, "" where it is not written."""
        return next((fact.value for fact in self.facts if fact.field == field), "")


def standing(text: str) -> tuple[Item, ...]:
    """What the plan holds, legacy's hosts first; nothing where it is no YAML. Secrets are hidden as in its excerpts."""
    root = read_document(text).root
    if root is None:
        return ()
    lines = _Lines(text)
    found = [*_side(root, "legacy", lines), *_listed(root, "workloads", "workload", lines)]
    found += [*_named(root, "stores", "store", lines), *_listed(root, "datasets", "dataset", lines)]
    return (*found, *_side(root, "target", lines))


class _Lines:
    """The plan's lines as written, and as they may be shown."""

    def __init__(self, text: str) -> None:
        self.written = text.removeprefix("\ufeff").splitlines()
        self._shown = Excerpts(text)

    def value(self, node: Node) -> str:
        """A scalar as it may be shown: what its line hides stays hidden."""
        if isinstance(node.value, list):
            parts = [self.value(part) for part in node.value[:_PARTS]]
            more = len(node.value) - _PARTS
            return ", ".join([*parts, f"and {more} more"] if more > 0 else parts)
        text = "" if node.value is None else str(node.value).lower() if isinstance(node.value, bool) else str(node.value)
        shown = plain(text, _LONGEST)
        return shown if shown and shown in self._shown.line(node.span.line + 1) else HIDDEN if shown else ""

    def remark(self, node: Node) -> str:
        """What is written behind a value on its line."""
        if not node.span.end_line < len(self.written):
            return ""
        found = _REMARK.match(self.written[node.span.end_line][node.span.end_column :])
        return plain(found[1], _LONGEST) if found is not None else ""

    def notes(self, first: int, end: int) -> tuple[str, ...]:
        """Remarks on lines of their own that belong to what begins on line `first` (from 0) and ends before `end`: just above it, as far in
        as it is, and below it, further in."""
        base = _indent(self.written[first])
        top = first
        while top > 0 and _WHOLE.fullmatch(self.written[top - 1]) and _indent(self.written[top - 1]) == base:
            top -= 1
        below = [line for line in self.written[first + 1 : end] if _indent(line) > base]
        found = (_WHOLE.fullmatch(line) for line in (*self.written[top:first], *below))
        return tuple(plain(note[1], _LONGEST) for note in found if note is not None)


def _indent(line: str) -> int:
    return len(line) - len(line.lstrip())


def _entries(node: Node | None) -> dict[str, Entry]:
    return node.value if node is not None and isinstance(node.value, dict) else {}


def _child(node: Node, key: str) -> Node | None:
    entry = _entries(node).get(key)
    return entry.node if entry is not None else None


def _side(root: Node, side: SideName, lines: _Lines) -> Iterator[Item]:
    entry = _entries(root).get(side)
    if entry is not None:
        yield replace(_item("side", side, side, entry.node, lines, entry.key_line), notes=())  # those below it are its hosts'
        yield from _listed(entry.node, "hosts", "host", lines, side)


def _listed(under: Node, key: str, kind: Kind, lines: _Lines, side: SideName | None = None) -> Iterator[Item]:
    node = _child(under, key)
    for part in node.value if node is not None and isinstance(node.value, list) else ():
        name = _child(part, "name")
        yield _item(kind, lines.value(name) if name is not None else "", side, part, lines)


def _named(under: Node, key: str, kind: Kind, lines: _Lines) -> Iterator[Item]:
    for name, entry in _entries(_child(under, key)).items():
        yield _item(kind, plain(name, 80), None, entry.node, lines, entry.key_line)


def _item(kind: Kind, name: str, side: SideName | None, node: Node, lines: _Lines, line: int | None = None) -> Item:
    first = node.span.line if line is None else line - 1
    last = max(node.span.end_line, first + 1)
    return Item(kind, name, side, first + 1, tuple(_facts(node, lines)), lines.notes(first, last))


def _facts(node: Node, lines: _Lines, prefix: str = "") -> Iterator[Fact]:
    for key, entry in _entries(node).items():
        field = f"{prefix}{plain(key, 40)}"
        if isinstance(entry.node.value, dict):
            inner = list(_facts(entry.node, lines, f"{field}."))
            remark = lines.remark(entry.node)
            yield from (Fact(f.field, f.value, f.remark or remark) for f in inner)
        elif not isinstance(entry.node.value, list) or not any(isinstance(part.value, dict) for part in entry.node.value):
            yield Fact(field, lines.value(entry.node), lines.remark(entry.node))
