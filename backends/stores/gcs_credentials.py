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
from backends.stores.errors import StoreDenied, StoreUnreachable
from backends.stores.oauth import Found, Token, Tokens, ask_token
from backends.stores.object_client import Params, Request

_SCOPE = "https://www.googleapis.com/auth/devstorage.read_write"
_TOKEN_URI = "https://oauth2.googleapis.com/token"
_HOUR = 3600
_METADATA_CONNECT_SECONDS = 1.0  # elsewhere than on Google's machines nobody answers there
_HINT = (
    "give secret_key (a service account's JSON key) or session_token (a token) as ${file:…} or ${env:…}, or log in with gcloud"
)


class GcsSigner:
    """Shows the token of what `find` gives, which is asked on the first request."""

    def __init__(self, find: Callable[[], Awaitable[Tokens]]) -> None:
        self._found = Found(find)

    async def sign(self, request: Request) -> tuple[Mapping[str, str], Params]:
        token = await (await self._found.get()).get()
        return {**request.headers, "authorization": f"Bearer {token}"}, request.params

    def forget(self) -> bool:
        return self._found.forget()


def fixed(token: str) -> Tokens:
    """A token that a plan names; when it ends nothing renews it."""

    async def give() -> Token:
        return Token(token, float("inf"))

    return Tokens(give)


def from_key(store: str, text: str) -> Tokens:
    """From a JSON key: a service account's, or what `gcloud auth application-default login` leaves. Raises `StoreDenied`."""
    try:
        key = json.loads(text)
    except ValueError as error:
        raise StoreDenied(f"{store}: the credentials are not JSON", hint=_HINT) from error
    kind = key.get("type") if isinstance(key, dict) else None
    if kind == "service_account":
        return Tokens(lambda: _by_service_account(store, key))
    if kind == "authorized_user":
        return Tokens(lambda: _by_refresh(store, key))
    raise StoreDenied(f"{store}: credentials of type {plain(str(kind), 60)} are not supported", hint=_HINT)


def chain(store: str) -> Callable[[], Awaitable[Tokens]]:
    """The file that the environment names, the one that gcloud leaves, then the machine's own account."""

    async def find() -> Tokens:
        for path in _files():
            text = await asyncio.to_thread(_read, store, path)
            if text is not None:
                return from_key(store, text)
        machine = Tokens(lambda: _by_machine(store))
        try:
            await machine.get()
        except (StoreDenied, StoreUnreachable) as error:
            raise StoreDenied(f"{store}: no credentials found", hint=_HINT) from error
        return machine

    return find


def _files() -> list[Path]:
    named = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    if named:
        return [Path(named)]
    folder = os.environ.get("CLOUDSDK_CONFIG")
    return [(Path(folder) if folder else Path("~/.config/gcloud").expanduser()) / "application_default_credentials.json"]


def _read(store: str, path: Path) -> str | None:
    try:
        return path.read_text()
    except FileNotFoundError as error:
        if os.environ.get("GOOGLE_APPLICATION_CREDENTIALS"):
            raise StoreDenied(f"{store}: GOOGLE_APPLICATION_CREDENTIALS names a file that is not there") from error
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise StoreDenied(f"{store}: {plain(str(path), 200)} cannot be read", hint="look at its rights") from error


async def _by_service_account(store: str, key: Mapping[str, object]) -> Token:
    uri = _text(store, key, "token_uri", _TOKEN_URI)
    assertion = await asyncio.to_thread(_assertion, store, key, uri)
    form = {"grant_type": "urn:ietf:params:oauth:grant-type:jwt-bearer", "assertion": assertion}
    return await ask_token(store, uri, form=form)


def _assertion(store: str, key: Mapping[str, object], uri: str) -> str:
    """A JWT, signed with RS256."""
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import padding, rsa

    now = int(time.time())
    email = _text(store, key, "client_email")
    head = {"alg": "RS256", "typ": "JWT", "kid": key.get("private_key_id", "")}
    claims = {"iss": email, "scope": _SCOPE, "aud": uri, "iat": now, "exp": now + _HOUR}
    signed = b".".join(base64.urlsafe_b64encode(json.dumps(part).encode()).rstrip(b"=") for part in (head, claims))
    try:
        private = serialization.load_pem_private_key(_text(store, key, "private_key").encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise StoreDenied(f"{store}: the service account's private key cannot be read") from error
    if not isinstance(private, rsa.RSAPrivateKey):
        raise StoreDenied(f"{store}: the service account's private key is not RSA")
    signature = private.sign(signed, padding.PKCS1v15(), hashes.SHA256())
    return (signed + b"." + base64.urlsafe_b64encode(signature).rstrip(b"=")).decode("ascii")


async def _by_refresh(store: str, key: Mapping[str, object]) -> Token:
    form = {"grant_type": "refresh_token"} | {n: _text(store, key, n) for n in ("client_id", "client_secret", "refresh_token")}
    return await ask_token(store, _text(store, key, "token_uri", _TOKEN_URI), form=form)


async def _by_machine(store: str) -> Token:
    host = os.environ.get("GCE_METADATA_HOST", "169.254.169.254")
    url = f"http://{host}/computeMetadata/v1/instance/service-accounts/default/token"
    return await ask_token(store, url, headers={"metadata-flavor": "Google"}, connect_seconds=_METADATA_CONNECT_SECONDS)


def _text(store: str, key: Mapping[str, object], name: str, default: str | None = None) -> str:
    value = key.get(name, default)
    if not isinstance(value, str) or not value:
        raise StoreDenied(f"{store}: the credentials lack {name}", hint=_HINT)
    return value
