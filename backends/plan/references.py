"""References to secrets in a plan: `${env:NAME}`, `${file:PATH}`, `${aws-secret:ID#KEY}` and the like.

`parse_references` only reads their form and is all that an offline check does; `resolve` fetches, late, where the value is
needed. Values appear in no message, and a reference inside a value is not resolved again.
"""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from pathlib import Path

from backends.errors import NotYetSupported
from backends.escape import plain
from backends.plan.errors import ResolveError
from backends.plan.nearest import name_hint

KINDS = ("env", "file", "aws-secret", "gcp-secret", "azure-secret", "azure-keyvault")
_BUILT = ("env", "file")
_START = "${"
_ENV_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_SECRET = 64 << 10


@dataclass(frozen=True, slots=True)
class Reference:
    """One `${kind:what}` in a text; `start` and `end` are where it stands there."""

    kind: str
    what: str
    start: int
    end: int

    @property
    def text(self) -> str:
        return f"${{{self.kind}:{plain(self.what, 120)}}}"

    @property
    def is_built(self) -> bool:
        """Can it be resolved yet?"""
        return self.kind in _BUILT


class ReferenceForm(ValueError):
    """A reference that is not written as one. `hint` says how it may have been meant."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint


def parse_references(text: str) -> tuple[Reference, ...]:
    """The references in `text`, in order. Raises `ReferenceForm` on one that is unclosed, unknown or empty."""
    found: list[Reference] = []
    position = 0
    while (start := text.find(_START, position)) >= 0:
        end = text.find("}", start)
        if end < 0:
            raise ReferenceForm("found `${` without its `}`", "write it as ${env:NAME} or ${file:PATH}")
        found.append(_reference(text[start + 2 : end], start, end + 1))
        position = end + 1
    return tuple(found)


def _reference(inner: str, start: int, end: int) -> Reference:
    kind, colon, what = inner.partition(":")
    if not colon:
        hint = f"did you mean ${{env:{inner}}}?" if _ENV_NAME.fullmatch(inner) else "write it as ${env:NAME}"
        raise ReferenceForm(f"found `${{{plain(inner, 60)}}}`, expected `${{kind:name}}`", hint)
    if kind not in KINDS:
        raise ReferenceForm(
            f"found a reference of kind `{plain(kind, 40)}`, expected one of {', '.join(KINDS)}",
            name_hint(kind, KINDS, "kinds"),
        )
    if not what.strip():
        raise ReferenceForm(f"found `${{{kind}:}}`, expected a name after the colon")
    if kind == "env" and not _ENV_NAME.fullmatch(what):
        raise ReferenceForm(f"found `${{env:{plain(what, 60)}}}`, expected the name of a variable")
    return Reference(kind, what, start, end)


def is_literal(text: str) -> bool:
    """Is it a value of its own, without any reference?"""
    return _START not in text


def resolve(text: str, *, base: Path) -> str:
    """`text` with each reference replaced by what stands behind it; relative files are relative to `base`.

    Reads the environment and small local files only. Raises `ResolveError`, and `NotYetSupported` for secrets kept by a cloud.
    """
    try:
        references = parse_references(text)
    except ReferenceForm as error:
        raise ResolveError(str(error), hint=error.hint) from None
    out, position = "", 0
    for reference in references:
        out += text[position : reference.start] + _value_of(reference, base)
        position = reference.end
    return out + text[position:]


def _value_of(reference: Reference, base: Path) -> str:
    if reference.kind == "env":
        value = os.environ.get(reference.what)
        if value is None:
            raise ResolveError(f"{reference.text}: the variable is not set", hint=f"export {reference.what}=…")
        return value
    if reference.kind == "file":
        return _file_value(reference, base)
    raise NotYetSupported(
        f"{reference.text}: secrets kept by a cloud are not yet supported", hint="use ${env:NAME} or ${file:PATH}"
    )


def _file_value(reference: Reference, base: Path) -> str:
    path = base / reference.what
    try:
        path = base / Path(reference.what).expanduser()
        if not path.is_file():
            raise ResolveError(f"{reference.text}: there is no such file", where=str(path))
        with path.open("rb") as file:
            raw = file.read(_MAX_SECRET + 1)
        if len(raw) > _MAX_SECRET:
            raise ResolveError(f"{reference.text}: found more than {_MAX_SECRET} bytes, expected a secret")
        return raw.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ResolveError(f"{reference.text}: found bytes that are not UTF-8, expected text") from None
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it cannot be read"
        raise ResolveError(f"{reference.text}: {reason}", where=str(path), hint="check that you may read it") from None
