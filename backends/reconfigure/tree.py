"""Files of legacy's configuration written anew into a tree of their own: the originals are read and nothing else.

All is worked out in memory first; what is written is whole or not there. A file that is there already and differs is left, unless it is to be replaced.
"""

from __future__ import annotations

import difflib
import json
import stat
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from backends.errors import CouldNot, RefusedByRule
from backends.escape import plain
from backends.listed import listed
from backends.plan.literals import HIDDEN, credential_in, without_credentials
from backends.plan.models import ConfigTree
from backends.reconfigure.formats import BadFormat, edit, format_of
from backends.reconfigure.mapping import Mapping
from backends.whole_file import write_whole

MOST_FILES = 20_000
LARGEST = 4 << 20  # bytes of a file
_SECRET_NAMES = ("secret", "passw", "token", "apikey", "_key", "-key", "credential", "private")


@dataclass(frozen=True, slots=True)
class Left:
    """What still points at legacy, or should not stand in a file. `where` is `file:line` of what would be written."""

    where: str
    kind: str
    text: str


@dataclass(frozen=True, slots=True)
class Rewritten:
    """One file. `old` and `new` are its texts; equal where nothing is changed, and None for what is copied as it is (`reason`)."""

    source: Path
    target: Path
    mode: int
    old: str | None
    new: str | None
    data: bytes
    format: str = ""
    reason: str = ""
    secrets: frozenset[str] = field(
        default=frozenset(), repr=False
    )  # values whose name says that they are: hidden wherever they stand

    @property
    def is_changed(self) -> bool:
        return self.old != self.new

    def diff(self) -> list[str]:
        """Unified, secrets hidden."""
        if self.old is None or self.new is None or not self.is_changed:
            return []
        lines = difflib.unified_diff(
            self.old.splitlines(), self.new.splitlines(), plain(str(self.source)), plain(str(self.target)), lineterm="", n=1
        )
        return [_shown(line, self.secrets) for line in lines]


@dataclass(slots=True)
class Outcome:
    files: list[Rewritten] = field(default_factory=list)
    left: list[Left] = field(default_factory=list)
    passed_over: list[Left] = field(default_factory=list)  # what is not written: links, sockets, files that are too large

    @property
    def changed(self) -> int:
        return sum(f.is_changed for f in self.files)


def rewrite(trees: tuple[ConfigTree, ...], mapping: Mapping, base: Path) -> Outcome:
    """Everything, worked out and not written. Raises `CouldNot` where a tree is not there."""
    outcome = Outcome()
    for tree in trees:
        source, target = base / Path(tree.from_).expanduser(), base / Path(tree.to).expanduser()
        _refuse_overlap(source, target)
        if not source.exists():
            raise CouldNot(
                f"there is no {plain(str(source), 200)}", where="reconfigure.files", hint="paths are relative to the plan"
            )
        for path in _files(source, outcome):
            relative = path.relative_to(source) if path != source else Path()
            outcome.files.append(_one(path, target / relative if path != source else target, mapping, outcome))
    return outcome


def _refuse_overlap(source: Path, target: Path) -> None:
    a, b = source.resolve(), target.resolve()
    if a == b or a in b.parents or b in a.parents:
        message = (
            f"{plain(str(target), 200)} lies in {plain(str(source), 200)} or around it: nothing is written over the original"
        )
        raise RefusedByRule("ORIGINAL", message, where="reconfigure.files", hint="give another folder")


def _files(source: Path, outcome: Outcome) -> Iterator[Path]:
    found = 0
    todo = [source]
    while todo:
        path = todo.pop()
        try:
            mode = path.lstat().st_mode
            if stat.S_ISDIR(mode):
                todo += sorted(path.iterdir(), reverse=True)
                continue
        except OSError as error:
            outcome.passed_over.append(Left(str(path), "unreadable", error.strerror or ""))
            continue
        if not stat.S_ISREG(mode):
            outcome.passed_over.append(Left(str(path), "link" if stat.S_ISLNK(mode) else "special", "not followed, not written"))
            continue
        found += 1
        if found > MOST_FILES:
            raise CouldNot(
                f"{plain(str(source), 200)} has over {MOST_FILES} files", hint="name the folders that hold configuration"
            )
        yield path


def _one(path: Path, target: Path, mapping: Mapping, outcome: Outcome) -> Rewritten:
    try:
        data = path.read_bytes() if path.stat().st_size <= LARGEST else b""
        mode = stat.S_IMODE(path.stat().st_mode)
        if path.stat().st_size > LARGEST:
            outcome.passed_over.append(Left(str(path), "large", f"over {LARGEST >> 20} MiB: not written"))
            return Rewritten(path, target, mode, None, None, b"", reason="large")
    except OSError as error:
        outcome.passed_over.append(Left(str(path), "unreadable", error.strerror or ""))
        return Rewritten(path, target, 0o600, None, None, b"", reason="unreadable")
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        if b"\0" not in data and mapping.left(data.decode("latin-1")):
            outcome.left.append(Left(str(target), "encoding", "names legacy and is not UTF-8: change it by hand"))
        return Rewritten(path, target, mode, None, None, data, reason="not text")
    if "\0" in text:
        return Rewritten(path, target, mode, None, None, data, reason="not text")
    kind = format_of(path.name, text)
    secrets: set[str] = set()

    def change(key: str, value: str) -> str:
        changed = mapping.change(key, value)
        secrets.update(one for one in (value, changed) if _is_secret(key, one))
        return changed

    try:
        new = edit(path.name, text, change)
    except BadFormat as error:
        outcome.left.append(Left(f"{target}:{error.line}" if error.line else str(target), "format", f"{error}: not changed"))
        new = text
    _look(target, new, mapping, outcome)
    return Rewritten(path, target, mode, text, new, new.encode("utf-8"), kind, secrets=frozenset(secrets))


def _look(target: Path, text: str, mapping: Mapping, outcome: Outcome) -> None:
    for number, line in enumerate(text.splitlines(), 1):
        where = f"{target}:{number}"
        outcome.left += [Left(where, f.kind, f.text) for f in mapping.left(line)]
        if (kind := credential_in(line)) != "":
            outcome.left.append(Left(where, "credential", f"{kind}: put a reference or a variable in its place"))


def _is_secret(key: str, value: str) -> bool:
    """By the last name of where it stands; a reference is none."""
    name = key.rpartition(".")[2].lower()
    return len(value) > 2 and "${" not in value and any(word in name for word in _SECRET_NAMES)


def _shown(line: str, secrets: frozenset[str]) -> str:
    """A line of a diff: what a name says is a secret is hidden, and what looks like one."""
    for value in secrets:
        for piece in value.splitlines():
            for written in {piece.strip(), json.dumps(piece.strip())[1:-1]} - {""}:
                line = line.replace(written, HIDDEN)
    head, equals, _ = line.partition("=")
    if not equals:
        head, equals, _ = line.partition(":")
    if equals and any(word in head.lower() for word in _SECRET_NAMES) and "${" not in line:
        line = f"{head}{equals} {HIDDEN}"
    return plain(without_credentials(line))


# writing


def write(outcome: Outcome, *, replace: bool = False) -> int:
    """Write what is not there yet; returns how many files. Raises `RefusedByRule` where one is there and differs, with nothing written."""
    wanted = [f for f in outcome.files if f.reason not in ("large", "unreadable")]
    other = [f.target for f in wanted if _differs(f)]
    if other and not replace:
        names = listed([plain(str(p), 120) for p in other], 5)
        raise RefusedByRule(
            "ORIGINAL", f"there already, and other than what would be written: {names}", hint="--replace writes them anew"
        )
    written = 0
    for one in wanted:
        if one.target.exists() and not _differs(one):
            continue
        try:
            one.target.parent.mkdir(parents=True, exist_ok=True)
            write_whole(one.target, one.data, mode=one.mode)
        except OSError as error:
            raise CouldNot(
                f"{plain(str(one.target), 200)}: {error.strerror}", hint="run it again: what is written stays"
            ) from error
        written += 1
    return written


def _differs(one: Rewritten) -> bool:
    try:
        return one.target.read_bytes() != one.data if not one.target.is_symlink() else True
    except FileNotFoundError:
        return False
    except OSError:
        return True
