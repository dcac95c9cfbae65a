"""What the references in a text stand for: looked up late, held in memory only, shown nowhere.

`resolve` blocks: files, and for the clouds' managers the network; async callers hand it to a thread. What a manager gave is held for
`HELD_SECONDS`, and longer where the manager cannot be asked then: a rollback must not wait for one that has died. A caller whose
value was refused asks `anew`. A reference inside a value is not resolved again.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any

from backends.plan.errors import ResolveError
from backends.plan.references import CLOUD_KINDS, Reference, ReferenceForm, parse_references
from backends.secrets.errors import SecretMissing
from backends.secrets.protocol import LONGEST, Manager

HELD_SECONDS = 900.0


@cache
def manager_of(kind: str) -> Manager:
    """The one of a kind of reference, imported when it is first asked: each brings its cloud's libraries."""
    if kind == "aws-secret":
        from backends.secrets.aws_secrets import AwsSecrets

        return AwsSecrets()
    if kind == "gcp-secret":
        from backends.secrets.google_secrets import GoogleSecrets

        return GoogleSecrets()
    from backends.secrets.azure_vault import AzureVault

    return AzureVault()


class Held:
    """The whole secrets that managers gave, by kind and name, and when."""

    def __init__(self) -> None:
        self._values: dict[tuple[str, str], tuple[str, float]] = {}
        self._locks: dict[tuple[str, str], threading.Lock] = {}
        self._guard = threading.Lock()

    def get(self, reference: Reference, *, anew: bool = False) -> str:
        """Asked once where many threads want it. Raises as the manager does where it gives none and none is held."""
        key = reference.kind, reference.name
        with self._guard:
            lock = self._locks.setdefault(key, threading.Lock())
        with lock:
            value, at = self._values.get(key, ("", float("-inf")))
            if not anew and time.monotonic() - at < HELD_SECONDS:
                return value
            try:
                value = manager_of(reference.kind).read(reference)
            except ResolveError:
                if at == float("-inf"):
                    raise
                # Asked again in a minute and not at every use: each may wait for its timeout.
                self._values[key] = value, max(at, time.monotonic() - HELD_SECONDS + 60.0)
                return value
            if len(value.encode()) > LONGEST:
                raise ResolveError(f"{reference.text}: found more than {LONGEST} bytes, expected a secret")
            self._values[key] = value, time.monotonic()
            return value

    def known(self, reference: Reference) -> str | None:
        """What is held, without asking anybody."""
        found = self._values.get((reference.kind, reference.name))
        return found[0] if found is not None else None

    def forget(self) -> None:
        self._values.clear()


HELD = Held()


def resolve(text: str, *, base: Path, anew: bool = False) -> str:
    """`text` with each reference replaced by what stands behind it; relative files are relative to `base`. Raises `ResolveError`."""
    return _replaced(text, lambda reference: _value_of(reference, base, anew))


def resolved_before(text: str, *, base: Path) -> str:
    """The same, of managers only what is held already: for taking secrets out of texts. Raises `ResolveError`."""

    def value_of(reference: Reference) -> str:
        if reference.kind not in CLOUD_KINDS:
            return _value_of(reference, base, anew=False)
        value = HELD.known(reference)
        if value is None:
            raise ResolveError(f"{reference.text}: not asked for yet")
        return field_of(reference, value)

    return _replaced(text, value_of)


def _replaced(text: str, value_of: Callable[[Reference], str]) -> str:
    out, position = "", 0
    for reference in _references(text):
        out += text[position : reference.start] + value_of(reference)
        position = reference.end
    return out + text[position:]


def _references(text: str) -> Iterator[Reference]:
    try:
        yield from parse_references(text)
    except ReferenceForm as error:
        raise ResolveError(str(error), hint=error.hint) from None


def _value_of(reference: Reference, base: Path, anew: bool) -> str:
    if reference.kind == "env":
        value = os.environ.get(reference.what)
        if value is None:
            raise ResolveError(f"{reference.text}: the variable is not set", hint=f"export {reference.what}=…")
        return value
    if reference.kind == "file":
        return _file_value(reference, base)
    return field_of(reference, HELD.get(reference, anew=anew))


def field_of(reference: Reference, value: str) -> str:
    """Of a whole secret what the reference means. Raises `ResolveError`; the names of fields are told, no value is."""
    if not reference.field:
        return value
    fields = json_fields(reference, value)
    if reference.field not in fields:
        has = ", ".join(sorted(fields)[:20]) or "none"
        raise SecretMissing(f"{reference.text}: the secret has no such field", hint=f"it has: {has}")
    found = fields[reference.field]
    return found if isinstance(found, str) else json.dumps(found)


def json_fields(reference: Reference, value: str) -> dict[str, Any]:
    try:
        fields = json.loads(value)
    except ValueError:
        fields = None
    if not isinstance(fields, dict):
        raise ResolveError(
            f"{reference.text}: found a plain value, expected a JSON object", hint="leave out the part from `#` on"
        )
    return fields


def file_path(reference: Reference, base: Path) -> Path:
    """Where a `${file:…}` leads."""
    return base / Path(reference.what).expanduser()


def _file_value(reference: Reference, base: Path) -> str:
    path = base / reference.what
    try:
        path = file_path(reference, base)
        if not path.is_file():
            raise SecretMissing(f"{reference.text}: there is no such file", where=str(path))
        with path.open("rb") as file:
            raw = file.read(LONGEST + 1)
        if len(raw) > LONGEST:
            raise ResolveError(f"{reference.text}: found more than {LONGEST} bytes, expected a secret")
        return raw.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise ResolveError(f"{reference.text}: found bytes that are not UTF-8, expected text") from None
    except (OSError, ValueError, RuntimeError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it cannot be read"
        raise ResolveError(f"{reference.text}: {reason}", where=str(path), hint="check that you may read it") from None
