"""Errors of secrets; none shows a value.

ResolveError (of the plan)
├── SecretDenied       who asks may not, there is no such secret, or no credentials were found
├── SecretUnreachable  nobody answered, or nonsense: it may be asked again
└── SecretRefused      the manager or the file does not take the value
"""

from __future__ import annotations

from backends.plan.errors import ResolveError


class SecretDenied(ResolveError):
    """Asking again helps only once rights or names have changed."""

    code = "secret_denied"


class SecretMissing(SecretDenied):
    """There is no such secret, or not that field of it."""

    code = "secret_missing"


class SecretUnreachable(ResolveError):
    """Network, or a server that is not well."""

    code = "secret_unreachable"


class SecretRefused(ResolveError):
    """A value was not written."""

    code = "secret_refused"
