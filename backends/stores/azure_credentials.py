"""What is shown to Azure Blob: an account's shared key, a shared access signature, or a bearer token; from the plan, else the usual chain.

Sources: Azure Storage REST, "Authorize with Shared Key" (2009-09-19 and later), "Authorize with Microsoft Entra ID"; the order of
the chain is that of the Azure SDKs' DefaultAzureCredential, with the environment of the storage tools (AZURE_STORAGE_…) before it.
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import json
import os
import shutil
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import format_datetime
from pathlib import Path
from urllib.parse import parse_qsl, urlencode

from backends.errors import CutoverError
from backends.escape import plain
from backends.stores.errors import StoreDenied
from backends.stores.oauth import Found, Token, Tokens, ask_token
from backends.stores.object_client import Params, Request

VERSION = "2023-11-03"  # of the REST interface
_RESOURCE = "https://storage.azure.com"
_SCOPE = f"{_RESOURCE}/.default"
_KEYS = ("AZURE_STORAGE_KEY", "AZURE_STORAGE_ACCOUNT_KEY", "AZURE_STORAGE_ACCESS_KEY")
_CLI_SECONDS = 30.0
_METADATA_CONNECT_SECONDS = 1.0  # elsewhere than on Azure nobody answers there
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
        credential = await self._found.get()
        headers = {
            **request.headers,
            "x-ms-date": format_datetime(datetime.now(UTC), usegmt=True),
            "x-ms-version": VERSION,
        }
        if isinstance(credential, Sas):
            return headers, request.params + credential.params
        if isinstance(credential, Tokens):
            return {**headers, "authorization": f"Bearer {await credential.get()}"}, request.params
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
    """The environment, a workload's or a machine's identity, then the operator's `az login`."""

    async def find() -> Credential:
        env = os.environ
        if env.get("AZURE_STORAGE_ACCOUNT", account) == account:
            for name in _KEYS:
                if env.get(name):
                    return SharedKey(env[name].strip())
            if env.get("AZURE_STORAGE_SAS_TOKEN"):
                return Sas.of(env["AZURE_STORAGE_SAS_TOKEN"].strip())
        if env.get("AZURE_TENANT_ID") and env.get("AZURE_CLIENT_ID"):
            if env.get("AZURE_CLIENT_SECRET"):
                return Tokens(lambda: _by_secret(store))
            if env.get("AZURE_FEDERATED_TOKEN_FILE"):
                return Tokens(lambda: _by_federated_token(store))
        machine = Tokens(lambda: _by_machine(store))
        try:
            await machine.get()
        except CutoverError as error:
            if shutil.which("az") is None:
                hint = "give secret_key (the account's key) or session_token (a SAS) as ${env:…}, or log in with az login"
                raise StoreDenied(f"{store}: no credentials found", hint=hint) from error
            return Tokens(lambda: _by_cli(store))
        return machine

    return find


def _authority() -> str:
    host = os.environ.get("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com").rstrip("/")
    return f"{host}/{os.environ['AZURE_TENANT_ID']}/oauth2/v2.0/token"


async def _by_secret(store: str) -> Token:
    form = {
        "grant_type": "client_credentials",
        "client_id": os.environ["AZURE_CLIENT_ID"],
        "client_secret": os.environ["AZURE_CLIENT_SECRET"],
        "scope": _SCOPE,
    }
    return await ask_token(store, _authority(), form=form)


async def _by_federated_token(store: str) -> Token:
    path = Path(os.environ["AZURE_FEDERATED_TOKEN_FILE"])
    try:
        assertion = await asyncio.to_thread(path.read_text)  # read each time: it is rotated
    except OSError as error:
        raise StoreDenied(f"{store}: AZURE_FEDERATED_TOKEN_FILE cannot be read: {error.strerror}") from error
    form = {
        "grant_type": "client_credentials",
        "client_id": os.environ["AZURE_CLIENT_ID"],
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": assertion.strip(),
        "scope": _SCOPE,
    }
    return await ask_token(store, _authority(), form=form)


async def _by_machine(store: str) -> Token:
    """The identity of an Azure machine, or of an app service."""
    env = os.environ
    query = {"resource": _RESOURCE}
    if env.get("AZURE_CLIENT_ID"):
        query["client_id"] = env["AZURE_CLIENT_ID"]
    if env.get("IDENTITY_ENDPOINT") and env.get("IDENTITY_HEADER"):
        url = f"{env['IDENTITY_ENDPOINT']}?{urlencode({'api-version': '2019-08-01', **query})}"
        return await ask_token(store, url, headers={"x-identity-header": env["IDENTITY_HEADER"]})
    host = env.get("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://169.254.169.254").rstrip("/")
    url = f"{host}/metadata/identity/oauth2/token?{urlencode({'api-version': '2018-02-01', **query})}"
    return await ask_token(store, url, headers={"metadata": "true"}, connect_seconds=_METADATA_CONNECT_SECONDS)


async def _by_cli(store: str) -> Token:
    argv = ("az", "account", "get-access-token", "--resource", _RESOURCE, "--output", "json")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe)
    try:
        async with asyncio.timeout(_CLI_SECONDS):
            out, err = await process.communicate()
    except TimeoutError as error:
        raise StoreDenied(f"{store}: az did not answer within {_CLI_SECONDS:g} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        said = json.loads(out)
        return Token.lasting(said["accessToken"], float(said["expires_on"]) - datetime.now(UTC).timestamp())
    except (ValueError, KeyError, TypeError) as error:
        reason = plain(err.decode("utf-8", "replace").strip(), 200) or "no token in its answer"
        raise StoreDenied(f"{store}: az: {reason}", hint="log in with az login") from error
