"""What a manager of secrets does for us, whichever cloud it is of. All calls block, and are made in a thread."""

from __future__ import annotations

from typing import Protocol

from backends.plan.references import Reference

LONGEST = 64 << 10  # bytes of a secret; the managers take less
SECONDS = 20.0  # for an answer


class Manager(Protocol):
    def read(self, reference: Reference) -> str:
        """The whole secret, whatever field is meant. Raises `SecretMissing`, `SecretDenied` or `SecretUnreachable`."""
        ...

    def write(self, reference: Reference, value: str) -> None:
        """As a new version, the secret made where there is none; earlier versions stay with the manager. Raises as `read`, and `SecretRefused`."""
        ...
