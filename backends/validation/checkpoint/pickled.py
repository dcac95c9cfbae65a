"""The table of tensors in a torch pickle, read without unpickling.

A pickle is a program; unpickling runs it, and what it calls may be anything. Here the opcodes (decoded by the standard library's
`pickletools`, which runs nothing) are followed on a stack of our own: containers are built, calls are only written down
(`Called`), nothing is imported and nothing called. Opcodes that torch does not write are refused by name.
"""

from __future__ import annotations

import io
import pickletools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from backends.escape import plain
from backends.validation.errors import CheckpointRefused

MOST_PICKLE = 64 << 20  # bytes
_OPCODES = {opcode.code: opcode for opcode in pickletools.opcodes}
MOST_OPCODES = 10_000_000


@dataclass(frozen=True, slots=True)
class Named:
    """A class or function, by name only."""

    name: str


@dataclass(slots=True)
class Called:
    """A call that was not made. `state` is what the pickle would have given the object."""

    name: str
    args: tuple[Any, ...]
    state: Any = None


@dataclass(frozen=True, slots=True)
class Persistent:
    """A reference to what lies outside the pickle: torch's storages."""

    args: Any


@dataclass(slots=True)
class _Machine:
    where: str
    stack: list[Any] = field(default_factory=list)
    marks: list[list[Any]] = field(default_factory=list)
    memo: dict[int, Any] = field(default_factory=dict)

    def pop_mark(self) -> list[Any]:
        items, self.stack = self.stack, self.marks.pop()
        return items

    def run(self, data: bytes) -> Any:
        stream = io.BytesIO(data)
        for _ in range(MOST_OPCODES):
            at = stream.tell()
            opcode = _OPCODES[stream.read(1).decode("latin-1")]
            name = opcode.name
            if name not in _READ:
                hint = "torch.save writes no such opcode; it is not run here"
                raise CheckpointRefused(f"opcode {name} at byte {at} of the pickle is not read", where=self.where, hint=hint)
            if name == "GLOBAL":  # two lines; pickletools would undo escapes in them, which unpickling does not
                arg: Any = f"{_line(stream)}.{_line(stream)}"
            else:
                arg = opcode.arg.reader(stream) if opcode.arg is not None else None
            if name in _VALUES:
                self.stack.append(arg)
            elif name == "STOP":
                return self.stack.pop()
            elif (act := _ACTS.get(name)) is not None:
                act(self, arg)
        raise CheckpointRefused(f"more than {MOST_OPCODES:,} opcodes", where=self.where)

    # Each act takes the machine and the opcode's own argument.
    def mark(self, _: Any) -> None:
        self.marks.append(self.stack)
        self.stack = []

    def tuple_of_mark(self, _: Any) -> None:
        items = self.pop_mark()
        self.stack.append(tuple(items))

    def small_tuple(self, count: int) -> None:
        items = self.stack[len(self.stack) - count :]
        if len(items) != count:
            raise IndexError
        del self.stack[len(self.stack) - count :]
        self.stack.append(tuple(items))

    def remember(self, key: int) -> None:
        self.memo[key] = self.stack[-1]

    def memoize(self, _: Any) -> None:
        self.memo[len(self.memo)] = self.stack[-1]

    def recall(self, key: int) -> None:
        self.stack.append(self.memo[key])

    def named(self, arg: str) -> None:
        self.stack.append(Named(arg))

    def named_of_stack(self, _: Any) -> None:
        name, module = self.stack.pop(), self.stack.pop()
        self.stack.append(Named(f"{module}.{name}"))

    def persistent(self, _: Any) -> None:
        self.stack.append(Persistent(self.stack.pop()))

    def call(self, _: Any) -> None:
        args, function = self.stack.pop(), self.stack.pop()
        name = function.name if isinstance(function, Named) else "a call of what a call gave"
        if not isinstance(args, tuple):
            raise TypeError
        is_empty = name == "collections.defaultdict" or (name == "collections.OrderedDict" and not args)
        self.stack.append({} if is_empty else Called(name, args))

    def call_with_names(self, _: Any) -> None:
        names = self.stack.pop()
        self.call(None)
        if isinstance(self.stack[-1], Called):
            self.stack[-1].state = names

    def build(self, _: Any) -> None:
        state = self.stack.pop()
        if isinstance(self.stack[-1], Called):
            self.stack[-1].state = state  # of a dict: attributes such as `_metadata`, which hold no tensors

    def append(self, _: Any) -> None:
        item = self.stack.pop()
        self._extend([item])

    def appends(self, _: Any) -> None:
        items = self.pop_mark()
        self._extend(items)

    def _extend(self, items: list[Any]) -> None:
        there = self.stack[-1]
        if isinstance(there, Called):
            there.state = [*(there.state or ()), *items]
        else:
            there.extend(items)

    def set_item(self, _: Any) -> None:
        value, key = self.stack.pop(), self.stack.pop()
        self._update([key, value])

    def set_items(self, _: Any) -> None:
        self._update(self.pop_mark())

    def _update(self, items: list[Any]) -> None:
        there = self.stack[-1]
        pairs = zip(items[::2], items[1::2], strict=True)
        if isinstance(there, Called):
            there.state = [*(there.state or ()), *pairs]
            return
        for key, value in pairs:
            there[_key(key)] = value

    def pop(self, _: Any) -> None:
        self.stack.pop() if self.stack else self.pop_mark()

    def pop_to_mark(self, _: Any) -> None:
        self.pop_mark()

    def push_dict(self, _: Any) -> None:
        self.stack.append({})

    def push_list(self, _: Any) -> None:
        self.stack.append([])


def _line(stream: io.BytesIO) -> str:
    line = stream.readline()
    if not line.endswith(b"\n"):
        raise ValueError("no end of line")
    return line[:-1].decode()


def _key(key: Any) -> Any:
    """What a dict's key may be: a plain value, or a tuple of them."""
    if isinstance(key, str | int | float | bytes | None):
        return key
    if isinstance(key, tuple):
        return tuple(_key(part) for part in key)
    return plain(type(key).__name__) if not isinstance(key, Named) else key.name


_VALUES = {
    *("BININT", "BININT1", "BININT2", "LONG1", "LONG4", "BINFLOAT", "BINUNICODE", "SHORT_BINUNICODE", "BINUNICODE8"),
    *("BINSTRING", "SHORT_BINSTRING", "BINBYTES", "SHORT_BINBYTES", "BINBYTES8", "BYTEARRAY8"),
}
_Act = Callable[[_Machine, Any], None]


def _push(value: Any) -> _Act:
    return lambda machine, _: machine.stack.append(value)


def _tuple_of(count: int) -> _Act:
    return lambda machine, _: machine.small_tuple(count)


_ACTS: dict[str, _Act] = {
    **{"NONE": _push(None), "NEWTRUE": _push(True), "NEWFALSE": _push(False), "EMPTY_TUPLE": _push(())},
    **{"EMPTY_DICT": _Machine.push_dict, "EMPTY_LIST": _Machine.push_list, "EMPTY_SET": _Machine.push_list},
    **{f"TUPLE{n}": _tuple_of(n) for n in (1, 2, 3)},
    **{"MARK": _Machine.mark, "TUPLE": _Machine.tuple_of_mark, "FROZENSET": _Machine.tuple_of_mark},
    **{"BINPUT": _Machine.remember, "LONG_BINPUT": _Machine.remember, "MEMOIZE": _Machine.memoize},
    **{"BINGET": _Machine.recall, "LONG_BINGET": _Machine.recall},
    **{"GLOBAL": _Machine.named, "STACK_GLOBAL": _Machine.named_of_stack, "BINPERSID": _Machine.persistent},
    **{"REDUCE": _Machine.call, "NEWOBJ": _Machine.call, "NEWOBJ_EX": _Machine.call_with_names, "BUILD": _Machine.build},
    **{"APPEND": _Machine.append, "APPENDS": _Machine.appends, "ADDITEMS": _Machine.appends},
    **{"SETITEM": _Machine.set_item, "SETITEMS": _Machine.set_items},
    **{"POP": _Machine.pop, "POP_MARK": _Machine.pop_to_mark},
}
_READ = {*_VALUES, *_ACTS, "STOP", "PROTO", "FRAME"}


def read_pickle(data: bytes, where: str) -> Any:
    """What the pickle describes, of plain containers, `Called`, `Named` and `Persistent`. Raises `CheckpointRefused`."""
    if len(data) > MOST_PICKLE:
        raise CheckpointRefused(f"a pickle of {len(data):,} bytes; {MOST_PICKLE:,} are read", where=where)
    try:
        return _Machine(where).run(data)
    except (ValueError, IndexError, KeyError, TypeError, AttributeError, RecursionError, OverflowError) as error:
        raise CheckpointRefused(f"the pickle is broken: {type(error).__name__}", where=where) from error
