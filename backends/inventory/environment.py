"""Variables of an environment as a draft tells them: names, and where a name or a value looks like a secret, a keyed hash of the value.

The key is made for the one look and then forgotten: equal hashes in a draft are equal secrets, and nobody can try values against them later.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Mapping

from backends.plan.literals import credential_in

SECRET_NAME = re.compile(
    r"(?i)(?:^|_)(?:api_?key|access_?key|account_?key|auth|credentials?|dsn|key|pass|passwd|password|pat|private|pwd|secrets?|token|webhook)"
    r"(?:_|\d|$)|(?:password|passwd|secret|token|apikey)"
)
_SHOWN = 12  # hexadecimal digits: enough to tell the secrets of one draft apart


def is_secret_like(name: str, value: str) -> bool:
    """By the name, by the forms that known services give their credentials, or by a user and password in a URL."""
    return bool(SECRET_NAME.search(name) or credential_in(value) or re.search(r"://[^/\s:@]*:[^/\s@]+@", value))


def hash_of(value: str, key: bytes) -> str:
    return hmac.new(key, value.encode("utf-8", "surrogateescape"), hashlib.sha256).hexdigest()[:_SHOWN]


def hashed(variables: Mapping[str, str], key: bytes) -> dict[str, str]:
    """By name: the hash of what is secret-like, nothing of what is not."""
    return {name: hash_of(value, key) if is_secret_like(name, value) else "" for name, value in variables.items()}


def environment_text(variables: Mapping[str, str], most: int = 60) -> str:
    """For a comment: `A, TOKEN (hash 3f0c…)`."""
    shown = [f"{name} (hash {told})" if told else name for name, told in sorted(variables.items())[:most]]
    more = [f"{len(variables) - most} more"] if len(variables) > most else []
    return ", ".join((*shown, *more))
