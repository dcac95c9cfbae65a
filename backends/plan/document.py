"""The plan's YAML as plain values, each with the line it stands on.

Reads the parser's events itself (YAML 1.2, core schema, one document), so that hostile input ends early: depth, number of
nodes and length are limited, aliases count as what they stand for, tags and complex keys are refused. Durations and dates
stay text. Problems found here carry a path and a line; only broken syntax stops the rest.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.events import (
    AliasEvent,
    DocumentStartEvent,
    Event,
    MappingEndEvent,
    MappingStartEvent,
    ScalarEvent,
    SequenceEndEvent,
    SequenceStartEvent,
    StreamEndEvent,
)
from ruamel.yaml.reader import ReaderError

from backends.escape import plain

MAX_BYTES = 4 << 20
MAX_DEPTH = 40
MAX_LINE = 32_768  # the parser takes time by the square of some lines
MAX_NODES = 20_000

Path = tuple[str | int, ...]

_INT = re.compile(r"[-+]?[0-9]{1,300}")
_BASED = re.compile(r"0o[0-7]{1,100}|0x[0-9a-fA-F]{1,100}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]{1,300}|[0-9]{1,300}(\.[0-9]{0,300})?)([eE][-+]?[0-9]{1,8})?")
_WORDS: dict[str, Any] = {"": None, "~": None} | {w: None for w in ("null", "Null", "NULL")}
_WORDS |= {w: True for w in ("true", "True", "TRUE")} | {w: False for w in ("false", "False", "FALSE")}
_WORDS |= {f"{sign}.{w}": float(f"{sign}inf") for sign in ("", "+", "-") for w in ("inf", "Inf", "INF")}
_WORDS |= {f".{w}": float("nan") for w in ("nan", "NaN", "NAN")}
_BIDI = set("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_LOOK = "that line or the one above it: a colon, a quote or a bracket is missing or too many, or the indentation is off"
_STR_TAGS = {None, "!", "tag:yaml.org,2002:str"}


@dataclass(frozen=True, slots=True)
class Span:
    """Where a value is written, lines and columns from 0, the end excluded."""

    line: int
    column: int
    end_line: int
    end_column: int


@dataclass(slots=True)
class Node:
    """A value as written. A mapping's keys carry their own lines; `value` is a scalar, a list of nodes or a dict of entries."""

    value: Any
    span: Span


@dataclass(slots=True)
class Entry:
    key_line: int  # from 1
    node: Node


@dataclass(frozen=True, slots=True)
class Place:
    """`line` from 1, 0 where the whole file is meant; `field` is a dotted path such as `routes[0].steps[2]`."""

    line: int = 0
    field: str = ""


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something wrong with the YAML itself. `is_fatal`: nothing could be read."""

    code: str
    message: str
    path: Path
    line: int
    hint: str  # its cure
    is_fatal: bool = False


@dataclass(slots=True)
class Document:
    root: Node | None = None
    troubles: list[Trouble] = field(default_factory=list)


@dataclass(slots=True)
class Places:
    """Where each path of the values stands in the file."""

    by_path: dict[Path, Place] = field(default_factory=dict)
    written: dict[Path, Path] = field(default_factory=dict)  # the path as it is in the file
    left_out: set[Path] = field(default_factory=set)  # written in the file, and not in the values

    def is_written(self, path: Path) -> bool:
        """Is there anything at `path` in the file, fitting or not?"""
        return path in self.by_path or path in self.left_out

    def find(self, path: Path) -> Place:
        """The place of `path`, else of its nearest parent that is written, with the rest of the field named."""
        for end in range(len(path), -1, -1):
            place = self.by_path.get(path[:end])
            if place is not None:
                rest = dotted(path[end:])
                joint = "." if place.field and rest and not rest.startswith("[") else ""
                return Place(place.line, f"{place.field}{joint}{rest}")
        return Place(0, dotted(path))


def dotted(path: Path) -> str:
    """`("routes", 0, "steps")` -> `routes[0].steps`."""
    out = ""
    for part in path:
        if isinstance(part, int):
            out += f"[{part}]"
        else:
            out += ("." if out else "") + plain(part, 80)
    return out


class _Stop(Exception):
    """Reading ends here."""

    def __init__(self, trouble: Trouble) -> None:
        super().__init__(trouble.message)
        self.trouble = trouble


def read_document(text: str) -> Document:
    """Read YAML text. Never raises: what is wrong is in `troubles`, and `root` is None where nothing could be read."""
    document = Document()
    for number, line in enumerate(text.splitlines(), 1):
        if len(line) > MAX_LINE:
            found = f"found a line of {len(line)} characters, expected at most {MAX_LINE}"
            document.troubles.append(Trouble("too_large", found, (), number, "break the line", is_fatal=True))
            return document
    try:
        _Reader(document).read(text.removeprefix("\ufeff"))
    except _Stop as stop:
        document.root = None
        document.troubles.append(stop.trouble)
    except MarkedYAMLError as error:
        document.root = None
        document.troubles.append(_syntax_trouble(error))
    except ReaderError as error:
        document.root = None
        at = text.count("\n", 0, int(error.position)) + 1
        found = f"found a character that YAML does not allow: {_code_point(error.character)}"
        document.troubles.append(Trouble("syntax", found, (), at, "remove or escape it", is_fatal=True))
    except (YAMLError, ValueError, OverflowError, ArithmeticError, LookupError, TypeError, AttributeError, AssertionError):
        # The parser itself stumbles over some malformed escapes and directives.
        document.root = None
        document.troubles.append(Trouble("syntax", "this is not YAML that can be read", (), 0, _LOOK, is_fatal=True))
    return document


def _code_point(character: object) -> str:
    return f"U+{ord(character):04X}" if isinstance(character, str) and len(character) == 1 else plain(str(character), 20)


def _syntax_trouble(error: MarkedYAMLError) -> Trouble:
    mark = error.problem_mark or error.context_mark
    parts = [plain(str(part), 200) for part in (error.context, error.problem) if part]
    message = "not YAML: " + (", ".join(parts) or "it cannot be parsed")
    column = f" (column {mark.column + 1})" if mark is not None else ""
    hint = "tabs may not indent: use spaces" if "'\\t'" in message else _LOOK
    return Trouble("syntax", message + column, (), mark.line + 1 if mark is not None else 0, hint, is_fatal=True)


class _Reader:
    """Composes nodes out of events, within limits."""

    def __init__(self, document: Document) -> None:
        self.document = document
        self.anchors: dict[str, Node] = {}
        self.open_anchors: set[str] = set()
        self.sizes: dict[str, int] = {}  # of anchors: values in it, itself included
        self.heights: dict[str, int] = {}
        self.count = 0
        self.deepest = 0
        self.events: Iterator[Event] = iter(())

    def read(self, text: str) -> None:
        self.events = iter(YAML(typ="safe", pure=True).parse(text))
        for event in self.events:
            if isinstance(event, DocumentStartEvent):
                if self.document.root is not None:
                    raise self.stop(
                        event, "more_than_one_document", "found a second YAML document, expected one plan", "a file for each plan"
                    )
                self.document.root = self.node(next(self.events), (), 0)
            elif isinstance(event, StreamEndEvent):
                return

    def stop(self, event: Event, code: str, message: str, hint: str) -> _Stop:
        return _Stop(Trouble(code, message, (), event.start_mark.line + 1, hint, is_fatal=True))

    def trouble(self, event: Event, path: Path, code: str, message: str, hint: str) -> None:
        self.document.troubles.append(Trouble(code, message, path, event.start_mark.line + 1, hint))

    def counted(self, event: Event, nodes: int = 1) -> None:
        self.count += nodes
        if self.count > MAX_NODES:
            raise self.stop(
                event,
                "too_large",
                f"found more than {MAX_NODES} values, expected a plan that a person can read",
                "values behind aliases (*name) count each time that they are used",
            )

    def node(self, event: Event, path: Path, depth: int) -> Node:
        if depth > MAX_DEPTH:
            raise self.too_deep(event)
        if isinstance(event, AliasEvent):
            return self.alias(event, depth)
        self.counted(event)
        self.deepest = max(self.deepest, depth)
        anchor = getattr(event, "anchor", None)
        return self.anchored(str(anchor), event, path, depth) if anchor else self.collection_or_scalar(event, path, depth)

    def anchored(self, anchor: str, event: Event, path: Path, depth: int) -> Node:
        before, deepest = self.count, self.deepest
        self.deepest = depth
        self.open_anchors.add(anchor)
        node = self.collection_or_scalar(event, path, depth)
        self.open_anchors.discard(anchor)
        self.anchors[anchor] = node
        self.sizes[anchor] = self.count - before + 1
        self.heights[anchor] = self.deepest - depth
        self.deepest = max(self.deepest, deepest)
        return node

    def collection_or_scalar(self, event: Event, path: Path, depth: int) -> Node:
        if not isinstance(event, ScalarEvent):
            self.refuse_tag(event, path)
        if isinstance(event, SequenceStartEvent):
            return self.sequence(event, path, depth)
        if isinstance(event, MappingStartEvent):
            return self.mapping(event, path, depth)
        assert isinstance(event, ScalarEvent)
        return self.scalar(event, path)

    def alias(self, event: AliasEvent, depth: int) -> Node:
        name = str(event.anchor)
        if name in self.open_anchors:
            raise self.stop(
                event, "alias_of_itself", f"found *{plain(name, 60)} inside the value that it stands for", "write the value out"
            )
        if name not in self.anchors:
            raise self.stop(
                event, "unknown_alias", f"found *{plain(name, 60)}, expected an anchor written before it", "write the value out"
            )
        self.counted(event, self.sizes[name])
        self.deepest = max(self.deepest, depth + self.heights[name])
        if self.deepest > MAX_DEPTH:
            raise self.too_deep(event)
        return self.anchors[name]

    def too_deep(self, event: Event) -> _Stop:
        return self.stop(
            event,
            "too_deep",
            f"found values nested deeper than {MAX_DEPTH} levels",
            "no field of a plan lies so deep: see docs/plan.md",
        )

    def sequence(self, start: Event, path: Path, depth: int) -> Node:
        items: list[Node] = []
        for event in self.events:
            if isinstance(event, SequenceEndEvent):
                return Node(items, _span(start, event))
            items.append(self.node(event, (*path, len(items)), depth + 1))
        raise self.stop(start, "syntax", "found a list that does not end", "close it with ]")

    def mapping(self, start: Event, path: Path, depth: int) -> Node:
        entries: dict[str, Entry] = {}
        for event in self.events:
            if isinstance(event, MappingEndEvent):
                return Node(entries, _span(start, event))
            key = self.key(event, path)
            here = (*path, key)
            node = self.node(next(self.events), here, depth + 1)
            line = event.start_mark.line + 1
            if key in entries:
                first = entries[key].key_line
                found = f"found `{plain(key, 80)}` a second time, the first is on line {first}"
                self.trouble(event, here, "duplicate_key", found, "keep one of them")
            else:
                entries[key] = Entry(line, node)
        raise self.stop(start, "syntax", "found a mapping that does not end", "close it with }")

    def key(self, event: Event, path: Path) -> str:
        self.counted(event)
        if isinstance(event, AliasEvent):
            node = self.alias(event, 0)
            if isinstance(node.value, str):
                return node.value
        elif isinstance(event, ScalarEvent):
            self.refuse_tag(event, path)
            self.refuse_odd(event, path)
            return str(event.value)
        raise self.stop(
            event,
            "key_not_text",
            "found a list or mapping as a key, expected a name",
            "NAME: VALUE; text with { or [ in it is quoted",
        )

    def scalar(self, event: ScalarEvent, path: Path) -> Node:
        self.refuse_tag(event, path)
        self.refuse_odd(event, path)
        is_plain = bool(event.implicit[0]) and event.tag is None
        value = _core_value(event.value) if is_plain else event.value
        return Node(value, _span(event, event))

    def refuse_tag(self, event: Event, path: Path) -> None:
        tag = getattr(event, "tag", None)
        tag = None if tag is None else str(tag)
        if tag not in _STR_TAGS:
            found = f"found the YAML tag {plain(str(tag), 80)}, expected plain values"
            self.trouble(event, path, "tag", found, "remove the tag")

    def refuse_odd(self, event: ScalarEvent, path: Path) -> None:
        odd = next((c for c in event.value if _is_odd(c)), None)
        if odd is not None:
            found = f"found the control character {_code_point(odd)} in the text, expected printable text"
            self.trouble(event, path, "control_character", found, "remove it")


def _is_odd(character: str) -> bool:
    if character in "\n\t":
        return False
    return character in _BIDI or unicodedata.category(character) in ("Cc", "Cs")


def _span(start: Event, end: Event) -> Span:
    a, b = start.start_mark, end.end_mark
    return Span(a.line, a.column, b.line, b.column)


def _core_value(text: str) -> Any:
    """A plain scalar by the core schema of YAML 1.2; what is nothing else is text."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.fullmatch(text):
        return int(text)
    if _BASED.fullmatch(text):
        return int(text, 0)
    return float(text) if _FLOAT.fullmatch(text) else text


def plain_values(root: Node, *, without: set[Path] | None = None) -> tuple[Any, Places]:
    """The values as dicts, tuples and scalars, with their places; paths in `without` are left out.

    Where a list loses an item, the rest move up: places keep the field and line as they are in the file.
    """
    places = Places()
    value = _build(root, (), (), root.span.line + 1, without or set(), places)
    return value, places


def _build(node: Node, path: Path, written: Path, line: int, without: set[Path], places: Places) -> Any:
    places.by_path[path] = Place(line, dotted(written))
    places.written[path] = written
    if isinstance(node.value, dict):
        out: dict[str, Any] = {}
        for key, entry in node.value.items():
            if (*written, key) in without:
                places.left_out.add((*path, key))
            else:
                out[key] = _build(entry.node, (*path, key), (*written, key), entry.key_line, without, places)
        return out
    if isinstance(node.value, list):
        items: list[Any] = []
        for index, item in enumerate(node.value):
            if (*written, index) not in without:
                where = item.span.line + 1
                items.append(_build(item, (*path, len(items)), (*written, index), where, without, places))
        return tuple(items)
    return node.value
