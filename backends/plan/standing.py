"""What a plan says of its sides, hosts, workloads, stores and datasets, field by field, with the remark that stands beside each: in a draft of
`cutover inventory` that is from what it was inferred, or that it is not known."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import Literal

from backends.escape import plain
from backends.plan.document import Entry, Node, read_document
from backends.plan.excerpt import Excerpts
from backends.plan.literals import HIDDEN
from backends.vocabulary import SideName

Kind = Literal["plan", "side", "host", "workload", "store", "dataset"]

NOT_KNOWN = "not known"
_OPEN = (NOT_KNOWN, "not told")  # words of a remark about what somebody has still to find out
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
    """One side, host, workload, store or dataset, or the plan itself with what no other is told of. `notes` are its remarks on lines of their own;
    `side` is a host's."""

    kind: Kind
    name: str
    side: SideName | None
    line: int
    facts: tuple[Fact, ...]
    notes: tuple[str, ...]

    @property
    def unknown(self) -> tuple[str, ...]:
        """What somebody has still to find out, in the draft's words."""
        fields = [
            f"{fact.field}: {piece}" for fact in told_once(self.facts) for piece in fact.remark.split("; ") if is_open(piece)
        ]
        return (*fields, *(note for note in self.notes if is_open(note)))

    def value(self, field: str) -> str:
        """A field's value, "" where it is not written."""
        return next((fact.value for fact in self.facts if fact.field == field), "")


def is_open(remark: str) -> bool:
    """Does it tell of something that is still to be found out?"""
    return any(word in remark for word in _OPEN)


def told_once(facts: tuple[Fact, ...]) -> tuple[Fact, ...]:
    """Fields of one mapping with one remark as one: `gpus`, `type A100-SXM4-80GB, count 8`."""
    out: list[Fact] = []
    for field, together in groupby(facts, lambda fact: (fact.field.rpartition(".")[0] or fact.field, fact.remark)):
        members = list(together)
        if len(members) == 1 or not field[1]:
            out += members
        else:
            parts = (f"{fact.field.rpartition('.')[2]} {fact.value}" for fact in members)
            out.append(Fact(field[0], ", ".join(parts), field[1]))
    return tuple(out)


def standing(text: str) -> tuple[Item, ...]:
    """What the plan holds, what is told of all of it first, then legacy's hosts; nothing where it is no YAML. Secrets are hidden as in its excerpts."""
    root = read_document(text).root
    if root is None:
        return ()
    lines = _Lines(text)
    found = [*_side(root, "legacy", lines), *_listed(root, "workloads", "workload", lines)]
    found += [*_named(root, "stores", "store", lines), *_listed(root, "datasets", "dataset", lines)]
    found += _side(root, "target", lines)
    rest = lines.rest()
    name = _child(root, "name")
    whole = [Item("plan", lines.value(name) if name is not None else "", None, 1, (), rest)] if rest else []
    return (*whole, *found)


class _Lines:
    """The plan's lines as written, and as they may be shown."""

    def __init__(self, text: str) -> None:
        self.written = text.removeprefix("\ufeff").splitlines()
        self._shown = Excerpts(text)
        self._given: set[int] = set()  # lines whose remark belongs to something

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
        below = [i for i in range(first + 1, end) if _indent(self.written[i]) > base]
        return tuple(self._taken([*range(top, first), *below]))

    def rest(self) -> tuple[str, ...]:
        """Remarks on lines of their own that were given to nothing so far."""
        return tuple(self._taken([i for i in range(len(self.written)) if i not in self._given]))

    def _taken(self, numbers: list[int]) -> Iterator[str]:
        for i in numbers:
            if (note := _WHOLE.fullmatch(self.written[i])) is not None and note[1]:
                self._given.add(i)
                yield plain(note[1], _LONGEST)


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
        facts = tuple(_facts(entry.node, lines))
        yield Item("side", side, side, entry.key_line, facts, ())  # the remarks below it are its hosts'
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
