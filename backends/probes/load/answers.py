"""Do both sides give the same answer to the same request? Status, JSON field by field, else text; similarity where a model samples."""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass, field
from typing import Any

import orjson

from backends.escape import plain
from backends.probes.load.connection import Exchange

MOST_WAITING = 4096  # answers of one side that wait for the other's
MOST_EXAMPLES = 5
MOST_FIELDS = 400
TEXT_COMPARED = 4000


@dataclass(frozen=True, slots=True)
class Sameness:
    """How alike answers must be. `ignore`: JSON paths such as `id` or `usage.total_tokens`; `text`: the share of a text (difflib's ratio)
    that must agree, 1 for all of it; `number`: the relative difference that numbers may have."""

    ignore: frozenset[str] = frozenset()
    text: float = 1.0
    number: float = 0.0


@dataclass(slots=True)
class Answers:
    """Pairs by the request's index. `agreed` and `differed` count pairs, `examples` say how."""

    rule: Sameness
    agreed: int = 0
    differed: int = 0
    examples: list[str] = field(default_factory=list)
    _waiting: dict[int, tuple[str, Exchange]] = field(default_factory=dict)

    def take(self, side: str, exchange: Exchange) -> None:
        """An answer whose body was kept. Its partner may have come already."""
        if exchange.error:
            self._waiting.pop(exchange.index, None)
            return
        other = self._waiting.pop(exchange.index, None)
        if other is None:
            if len(self._waiting) >= MOST_WAITING:
                self._waiting.pop(next(iter(self._waiting)))
            self._waiting[exchange.index] = side, exchange
            return
        pair = (other[1], exchange) if side == "target" else (exchange, other[1])
        found = difference(pair[0].status, bytes(pair[0].body), pair[1].status, bytes(pair[1].body), self.rule)
        if found is None:
            self.agreed += 1
            return
        self.differed += 1
        if len(self.examples) < MOST_EXAMPLES:
            self.examples.append(f"request {exchange.index}: {found}")


def difference(old_status: int, old: bytes, new_status: int, new: bytes, rule: Sameness) -> str | None:
    """The first thing in which target's answer is not legacy's, in words; None where they agree."""
    if old_status != new_status:
        return f"status {old_status} on legacy, {new_status} on target"
    parsed = _parsed(old), _parsed(new)
    if parsed[0] is not None and parsed[1] is not None:
        return _json_difference(parsed[0][0], parsed[1][0], rule)
    return _text_difference("the answer", old.decode("utf-8", "replace"), new.decode("utf-8", "replace"), rule)


def _parsed(body: bytes) -> tuple[Any] | None:
    try:
        return (orjson.loads(body),)
    except orjson.JSONDecodeError:
        return None


def _json_difference(old: Any, new: Any, rule: Sameness) -> str | None:
    pairs, seen = [("", old, new)], 0
    while pairs and seen < MOST_FIELDS:
        path, a, b = pairs.pop()
        seen += 1
        if path in rule.ignore:
            continue
        if isinstance(a, dict) and isinstance(b, dict):
            keys = [k for k in sorted({*a, *b}, reverse=True) if f"{path}.{k}".lstrip(".") not in rule.ignore]
            missing = next((k for k in keys if (k in a) != (k in b)), None)
            if missing is not None:
                where = "legacy" if missing in a else "target"
                return f"{plain(f'{path}.{missing}'.lstrip('.'), 80)} only on {where}"
            pairs += [(f"{path}.{k}".lstrip("."), a[k], b[k]) for k in keys]
        elif isinstance(a, list) and isinstance(b, list):
            if len(a) != len(b):
                return f"{plain(path or 'the answer', 80)}: {len(a)} entries on legacy, {len(b)} on target"
            pairs += [(f"{path}.{n}".lstrip("."), x, y) for n, (x, y) in reversed(list(enumerate(zip(a, b, strict=True))))]
        elif isinstance(a, str) and isinstance(b, str):
            if (found := _text_difference(path or "the answer", a, b, rule)) is not None:
                return found
        elif not _same_scalar(a, b, rule):
            return f"{plain(path or 'the answer', 80)}: {plain(str(a), 40)} on legacy, {plain(str(b), 40)} on target"
    return None


def _same_scalar(a: Any, b: Any, rule: Sameness) -> bool:
    if isinstance(a, bool) or isinstance(b, bool) or not isinstance(a, (int, float)) or not isinstance(b, (int, float)):
        return type(a) is type(b) and bool(a == b)
    return a == b or math.isclose(a, b, rel_tol=rule.number)


def _text_difference(path: str, old: str, new: str, rule: Sameness) -> str | None:
    if old == new:
        return None
    shown = plain(path, 80)
    if rule.text >= 1.0:
        at = next((n for n, (x, y) in enumerate(zip(old, new, strict=False)) if x != y), min(len(old), len(new)))
        part = slice(max(0, at - 10), at + 20)
        return f"{shown}: differs from character {at}: …{plain(old[part], 40)}… on legacy, …{plain(new[part], 40)}… on target"
    ratio = difflib.SequenceMatcher(None, old[:TEXT_COMPARED], new[:TEXT_COMPARED], autojunk=False).ratio()
    return None if ratio >= rule.text else f"{shown}: {ratio:.0%} alike, at least {rule.text:.0%} is wanted"
