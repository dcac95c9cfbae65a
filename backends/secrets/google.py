"""Bearer tokens of Google Cloud: from the plan, else the usual chain ("Application Default Credentials").

Sources: AIP-4110 (the order of the chain), AIP-4112 (authorized users), AIP-4115 (machines' metadata); Google Identity, "Using
OAuth 2.0 for server to server applications".
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
import time
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path

from backends.escape import plain
from backends.secrets.errors import SecretDenied, SecretUnreachable
from backends.secrets.oauth import Token, Tokens, ask_token

_TOKEN_URI = "https://oauth2.googleapis.com/token"
_HOUR = 3600
_METADATA_CONNECT_SECONDS = 1.0  # elsewhere than on Google's machines nobody answers there
_HINT = (
    "give secret_key (a service account's JSON key) or session_token (a token) as ${file:…} or ${env:…}, or log in with gcloud"
)


def fixed(token: str) -> Tokens:
    """A token that a plan names; when it ends nothing renews it."""

    async def give() -> Token:
        return Token(token, float("inf"))

    return Tokens(give)


def from_key(who: str, text: str, scope: str) -> Tokens:
    """From a JSON key: a service account's, or what `gcloud auth application-default login` leaves. `who` is named in errors. Raises `SecretDenied`."""
    try:
        key = json.loads(text)
    except ValueError as error:
        raise SecretDenied(f"{who}: the credentials are not JSON", hint=_HINT) from error
    kind = key.get("type") if isinstance(key, dict) else None
    if kind == "service_account":
        return Tokens(lambda: _by_service_account(who, key, scope))
    if kind == "authorized_user":
        return Tokens(lambda: _by_refresh(who, key))
    raise SecretDenied(f"{who}: credentials of type {plain(str(kind), 60)} are not supported", hint=_HINT)


def chain(who: str, scope: str) -> Callable[[], Awaitable[Tokens]]:
    """The file that the environment names, the one that gcloud leaves, then the machine's own account."""

    async def find() -> Tokens:
        for path in _files():
            text = await asyncio.to_thread(_read, who, path)
            if text is not None:
                return from_key(who, text, scope)
        machine = Tokens(lambda: _by_machine(who))
        try:
            await machine.get()
        except (SecretDenied, SecretUnreachable) as error:
            raise SecretDenied(f"{who}: no credentials found", hint=_HINT) from error
        return machine

    return find


def _files() -> list[Path]:
    named = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    if named:
        return [Path(named)]
    folder = os.environ.get("CLOUDSDK_CONFIG")
    return [(Path(folder) if folder else Path("~/.config/gcloud").expanduser()) / "application_default_credentials.json"]


def _read(who: str, path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError as error:
        if os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
            raise SecretDenied(f"{who}: GOOGLE_APPLICATION_CREDENTIALS names a file that is not there") from error
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise SecretDenied(f"{who}: {plain(str(path), 200)} cannot be read", hint="look at its rights") from error


async def _by_service_account(who: str, key: Mapping[str, object], scope: str) -> Token:
    uri = _text(who, key, "token_uri", _TOKEN_URI)
    assertion = await asyncio.to_thread(_assertion, who, key, uri, scope)
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
    return await ask_token(who, uri, form=form)


def _assertion(who: str, key: Mapping[str, object], uri: str, scope: str) -> str:
    """A JWT, signed with RS256."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    now = int(time.time())
    email = _text(who, key, "client_email")
    head = {"alg": "RS256", "typ": "JWT", "kid": key.get("private_key_id", "")}
    claims = {"iss": email, "scope": scope, "aud": uri, "iat": now, "exp": now + _HOUR}
    signed = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (head, claims))
    try:
        private = serialization.load_pem_private_key(_text(who, key, "private_key").encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise SecretDenied(f"{who}: the service account's private key cannot be read") from error
    if not isinstance(private, rsa.RSAPrivateKey):
        raise SecretDenied(f"{who}: the service account's private key is not RSA")
    signature = private.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode("ascii")


async def _by_refresh(who: str, key: Mapping[str, object]) -> Token:
    form = {"grant_type": "refresh_token"} | {n: _text(who, key, n) for n in ("client_id", "client_secret", "refresh_token")}
    return await ask_token(who, _text(who, key, "token_uri", _TOKEN_URI), form=form)


async def _by_machine(who: str) -> Token:
    host = os.environ.get("GCE_METADATA_HOST", "169.254.169.254")
    url = f"http://{host}/computeMetadata/v1/instance/service-accounts/default/token"
    return await ask_token(who, url, headers={"metadata-flavor": "Google"}, connect_seconds=_METADATA_CONNECT_SECONDS)


def _text(who: str, key: Mapping[str, object], name: str, default: str | None = None) -> str:
    value = key.get(name, default)
    if not isinstance(value, str) or not value:
        raise SecretDenied(f"{who}: the credentials lack {name}", hint=_HINT)
    return value
