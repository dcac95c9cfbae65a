"""Secrets taken out of texts by their value: what the plan's references resolve to, and what it holds literally in secret fields."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote, urlsplit

from pydantic import BaseModel

from backends.errors import CutoverError
from backends.plan.models import Plan
from backends.plan.references import is_literal, parse_references
from backends.secrets.resolve import resolved_before

SHORTEST = 6  # a shorter value would black out ordinary words
HIDDEN = "[redacted]"


class Redactor:
    """Learns the values late, as references are resolved late; forgets none, so that a rotated one stays hidden."""

    def __init__(self, plan: Plan, base: Path) -> None:
        self._texts = tuple(dict.fromkeys(_secret_texts(plan)))
        self._base = base
        self._values: set[str] = set()
        self._pattern: re.Pattern[str] | None = None

    def learn(self) -> None:
        """Resolve what can be resolved now. Blocking: reads small files."""
        found = {value for text in self._texts for value in self._of(text)}
        if not found <= self._values:
            self._values |= found
            forms = {form for value in self._values for form in (value, quote(value, safe=""), quote(value))}
            self._pattern = re.compile("|".join(re.escape(f) for f in sorted(forms, key=len, reverse=True)))

    def _of(self, text: str) -> Iterator[str]:
        try:
            value = text if is_literal(text) else resolved_before(text, base=self._base)
            parts = [value, *value.splitlines()]
            # Of an address the path and the user are the secret, and each long part of them.
            url = urlsplit(value) if "://" in value else None
        except (CutoverError, ValueError):
            return
        if url is not None:
            parts += [url.password or "", url.path, url.query, *url.path.split("/")[1:]]
        yield from (part for part in parts if len(part) >= SHORTEST)

    def clean(self, text: str) -> str:
        """`text` without any of the values."""
        return self._pattern.sub(HIDDEN, text) if self._pattern is not None else text


def _secret_texts(part: object) -> Iterator[str]:
    """Strings with a reference in them, and fields that are not shown (`repr=False`)."""
    if isinstance(part, BaseModel):
        for name, field in type(part).model_fields.items():
            value = getattr(part, name)
            if isinstance(value, str):
                if not field.repr or _has_reference(value):
                    yield value
            else:
                yield from _secret_texts(value)
    elif isinstance(part, dict):
        for value in part.values():
            yield from _secret_texts(value)
    elif isinstance(part, tuple):
        for value in part:
            if isinstance(value, str):
                if _has_reference(value):
                    yield value
            else:
                yield from _secret_texts(value)


def _has_reference(text: str) -> bool:
    try:
        return bool(parse_references(text))
    except ValueError:
        return False
