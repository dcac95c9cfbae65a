"""Secrets carried from one manager to another: proven by hash, the value in memory only, and only for as long as it takes.

What stands at `to` already and is another value stays, unless it is to be overwritten: the clouds' managers keep it as an earlier
version, a file does not.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import secrets
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from backends.errors import CutoverError
from backends.plan.models import SecretCopy
from backends.plan.references import CLOUD_KINDS, Reference
from backends.plan.rules.secrets import whole_reference
from backends.secrets.errors import SecretMissing, SecretRefused
from backends.secrets.resolve import field_of, file_path, json_fields, manager_of, resolve
from backends.whole_file import write_whole

State = Literal["equal", "copied", "differs", "missing", "unreadable"]


@dataclass(frozen=True, slots=True)
class Standing:
    """How one secret stands. `proof` is HMAC-SHA256 of the value under a key that `Salt` made for this run and keeps nowhere: equal
    proofs of one run are equal values, and tell nothing of them.
    """

    name: str
    from_: str
    to: str
    state: State
    reason: str = ""
    proof: str = ""
    error: CutoverError | None = None

    @property
    def is_good(self) -> bool:
        return self.state in ("equal", "copied")


class Salt:
    """One run's key."""

    def __init__(self) -> None:
        self._key = secrets.token_bytes(32)

    def proof(self, value: str) -> str:
        return hmac.new(self._key, value.encode(), hashlib.sha256).hexdigest()


def settle(copy: SecretCopy, salt: Salt, *, base: Path, write: bool = False, overwrite: bool = False) -> Standing:
    """Compare both sides, and with `write` carry the value over where it is not there. Blocking. Raises nothing that an operator should see instead."""
    source, target = whole_reference(copy.from_), whole_reference(copy.to)
    if source is None or target is None:
        raise ValueError("a plan that was checked holds one reference in each")

    def stands(state: State, reason: str = "", proof: str = "", error: CutoverError | None = None) -> Standing:
        return Standing(copy.name, source.text, target.text, state, reason, proof, error)

    try:
        wanted = _read(source, base)
    except CutoverError as error:
        return stands("unreadable", error.message, error=error)
    proof = salt.proof(wanted)
    try:
        there: str | None = _read(target, base)
    except SecretMissing:
        there = None
    except CutoverError as error:
        return stands("unreadable", error.message, proof, error)
    if there is not None and hmac.compare_digest(salt.proof(there), proof):
        return stands("equal", proof=proof)
    if not write:
        return stands("missing", proof=proof) if there is None else stands("differs", "target has another value", proof)
    if there is not None and not overwrite:
        return stands("differs", "target has another value, which was left as it is (--overwrite replaces it)", proof)
    try:
        _write(target, wanted, base)
        back = _read(target, base)
    except CutoverError as error:
        return stands("unreadable", error.message, proof, error)
    if not hmac.compare_digest(salt.proof(back), proof):
        return stands("differs", "what was read back is not what was written", proof)
    return stands("copied", proof=proof)


def _read(reference: Reference, base: Path) -> str:
    """Straight from where it is kept: nothing of it is held."""
    if reference.kind not in CLOUD_KINDS:
        return resolve(reference.source, base=base)
    return field_of(reference, manager_of(reference.kind).read(reference))


def _write(reference: Reference, value: str, base: Path) -> None:
    if reference.kind == "file":
        _write_file(reference, value, base)
        return
    manager = manager_of(reference.kind)
    if reference.field:
        try:
            fields = json_fields(reference, manager.read(reference))
        except SecretMissing:
            fields = {}
        fields[reference.field] = value
        value = json.dumps(fields)
    manager.write(reference, value)


def _write_file(reference: Reference, value: str, base: Path) -> None:
    """Whole or not at all, readable for its owner only."""
    path = file_path(reference, base)
    if value != value.rstrip("\r\n"):
        raise SecretRefused(
            f"{reference.text}: a file's last line break is dropped when it is read, and this value ends with one"
        )
    try:
        write_whole(path, value.encode())
    except OSError as error:
        raise SecretRefused(f"{reference.text}: {error.strerror or 'it cannot be written'}", where=str(path)) from error
