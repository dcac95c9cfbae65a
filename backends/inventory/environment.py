"""Variables of an environment as a draft tells them: names, and where a name or a value looks like a secret, a keyed hash of the value.

The key is made for the one look and then forgotten: equal hashes in a draft are equal secrets, and nobody can try values against them later.
"""

from __future__ import annotations

from collections.abc import Mapping

from backends.plan.literals import credential_in
from backends.probes.agent.work import SECRET_NAME, USERINFO, hash_of


def is_secret_like(name: str, value: str) -> bool:
    """By the name, by the forms that known services give their credentials, or by a user and password in a URL."""
    return bool(value and (SECRET_NAME.search(name) or credential_in(value) or USERINFO.search(value)))


def hashed(variables: Mapping[str, str], key: bytes) -> dict[str, str]:
    """By name: the hash of what is secret-like, nothing of what is not."""
    return {name: hash_of(value, key) if is_secret_like(name, value) else "" for name, value in variables.items()}


def environment_text(variables: Mapping[str, str], most: int = 60) -> str:
    """For a comment: `A, TOKEN (hash 3f0c…)`."""
    shown = [f"{name} (hash {told})" if told else name for name, told in sorted(variables.items())[:most]]
    more = [f"{len(variables) - most} more"] if len(variables) > most else []
    return ", ".join((*shown, *more))
