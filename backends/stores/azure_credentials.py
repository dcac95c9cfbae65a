"""What is shown to Azure Blob: an account's shared key, a shared access signature, or a bearer token; from the plan, else the usual chain.

Sources: Azure Storage REST, "Authorize with Shared Key" (2009-09-19 and later), "Authorize with Microsoft Entra ID"; the order of
the chain is that of the Azure SDKs' DefaultAzureCredential, with the environment of the storage tools (AZURE_STORAGE_…) before it.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import os
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from urllib.parse import parse_qsl

from backends.secrets import entra
from backends.secrets.oauth import Found, Tokens
from backends.stores.errors import StoreDenied
from backends.stores.object_client import Params, Request
from backends.stores.plan_secret import of_store

VERSION = "2023-11-03"  # of the REST interface
_RESOURCE = "https://storage.azure.com"
_KEYS = ("AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY")
_HINT = "give secret_key (the account's key) or session_token (a SAS) as ${env:…}, or log in with az login"
_SIGNED = (
    "content-encoding",
    "content-language",
    "content-length",
    "content-md5",
    "content-type",
    "date",
    "if-modified-since",
    "if-match",
    "if-none-match",
    "if-unmodified-since",
    "range",
)


@dataclass(frozen=True, slots=True)
class SharedKey:
    """The account's key. `key` is base64 as the portal shows it."""

    key: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Sas:
    """A shared access signature: query parameters that hold until they end."""

    params: Params = field(repr=False)

    @classmethod
    def of(cls, text: str) -> Sas:
        return cls(tuple(parse_qsl(text.lstrip("?"), keep_blank_values=True)))


Credential = SharedKey | Sas | Tokens


class AzureSigner:
    """Signs with what `find` gives, which is asked on the first request."""

    def __init__(self, store: str, account: str, find: Callable[[], Awaitable[Credential]]) -> None:
        self._store = store
        self._account = account
        self._found: Found[Credential] = Found(find)

    async def sign(self, request: Request) -> tuple[Mapping[str, str], Params]:
        with of_store():
            credential = await self._found.get()
            token = await credential.get() if isinstance(credential, Tokens) else ""
        headers = {
            **request.headers,
            "x-ms-date": format_datetime(datetime.now(UTC), usegmt=True),
            "x-ms-version": VERSION,
        }
        if isinstance(credential, Sas):
            return headers, request.params + credential.params
        if isinstance(credential, Tokens):
            return {**headers, "authorization": f"Bearer {token}"}, request.params
        text = string_to_sign(request, headers, self._account)
        try:
            key = base64.b64decode(credential.key, validate=True)
        except (binascii.Error, ValueError) as error:
            raise StoreDenied(f"{self._store}: the account's key is not base64", hint="copy it whole from the portal") from error
        signature = base64.b64encode(hmac.digest(key, text.encode(), "sha256")).decode("ascii")
        return {**headers, "authorization": f"SharedKey {self._account}:{signature}"}, request.params

    def forget(self) -> bool:
        return self._found.forget()


def string_to_sign(request: Request, headers: Mapping[str, str], account: str) -> str:
    """What the shared key signs of a request."""
    values = {**headers, "content-length": str(request.size) if request.size else ""}
    lines = [request.method, *(values.get(name, "") for name in _SIGNED)]
    lines += [f"{name}:{value.strip()}" for name, value in sorted(headers.items()) if name.startswith("x-ms-")]
    lines.append(f"/{account}{request.path}")
    lines += [f"{name.lower()}:{value}" for name, value in sorted(request.params)]
    return "\n".join(lines)


def chain(store: str, account: str) -> Callable[[], Awaitable[Credential]]:
    """The environment of the storage tools, then that of every Azure resource (`backends.secrets.entra`)."""

    async def find() -> Credential:
        env = os.environ
        if env.get("AZURE_STORAGE_ACCOUNT", account) == account:
            for name in _KEYS:
                if env.get(name):
                    return SharedKey(env[name].strip())
            if env.get("AZURE_STORAGE_SAS_TOKEN"):
                return Sas.of(env["AZURE_STORAGE_SAS_TOKEN"].strip())
        return await entra.chain(store, _RESOURCE, _HINT)()

    return find
