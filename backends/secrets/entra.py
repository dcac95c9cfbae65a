"""Bearer tokens of Microsoft Entra ID for one resource of Azure, from the usual chain.

Sources: "Microsoft identity platform and the OAuth 2.0 client credentials flow", "How to use managed identities to acquire an
access token"; the order of the chain is that of the Azure SDKs' DefaultAzureCredential.
"""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import urlencode

from backends.errors import CutoverError
from backends.escape import plain
from backends.secrets.errors import SecretDenied
from backends.secrets.oauth import Token, Tokens, ask_token

_CLI_SECONDS = 30.0
_METADATA_CONNECT_SECONDS = 1.0  # elsewhere than on Azure nobody answers there


def chain(who: str, resource: str, hint: str) -> Callable[[], Awaitable[Tokens]]:
    """The environment, a workload's or a machine's identity, then the operator's `az login`. `hint` says what else may be given;
    `who` is named in errors. Raises `SecretDenied`.
    """

    async def find() -> Tokens:
        env = os.environ
        if env.get("AZURE_TENANT_ID") and env.get("AZURE_CLIENT_ID"):
            if env.get("AZURE_CLIENT_SECRET"):
                return Tokens(lambda: _by_secret(who, resource))
            if env.get("AZURE_FEDERATED_TOKEN_FILE"):
                return Tokens(lambda: _by_federated_token(who, resource))
        machine = Tokens(lambda: _by_machine(who, resource))
        try:
            await machine.get()
        except CutoverError as error:
            if shutil.which("az") is None:
                raise SecretDenied(f"{who}: no credentials found", hint=hint) from error
            return Tokens(lambda: _by_cli(who, resource))
        return machine

    return find


def _authority() -> str:
    host = os.environ.get("AZURE_AUTHORITY_HOST", "https://login.microsoftonline.com").rstrip("/")
    return f"{host}/{os.environ['AZURE_TENANT_ID']}/oauth2/v2.0/token"


async def _by_secret(who: str, resource: str) -> Token:
    form = {
        "grant_type": "client_credentials",
        "client_id": os.environ["AZURE_CLIENT_ID"],
        "client_secret": os.environ["AZURE_CLIENT_SECRET"],
        "scope": f"{resource}/.default",
    }
    return await ask_token(who, _authority(), form=form)


async def _by_federated_token(who: str, resource: str) -> Token:
    path = Path(os.environ["AZURE_FEDERATED_TOKEN_FILE"])
    try:
        assertion = await asyncio.to_thread(path.read_text)  # read each time: it is rotated
    except OSError as error:
        raise SecretDenied(f"{who}: AZURE_FEDERATED_TOKEN_FILE cannot be read: {error.strerror}") from error
    form = {
        "grant_type": "client_credentials",
        "client_id": os.environ["AZURE_CLIENT_ID"],
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": assertion.strip(),
        "scope": f"{resource}/.default",
    }
    return await ask_token(who, _authority(), form=form)


async def _by_machine(who: str, resource: str) -> Token:
    """The identity of an Azure machine, or of an app service."""
    env = os.environ
    query = {"resource": resource}
    if env.get("AZURE_CLIENT_ID"):
        query["client_id"] = env["AZURE_CLIENT_ID"]
    if env.get("IDENTITY_ENDPOINT") and env.get("IDENTITY_HEADER"):
        url = f"{env['IDENTITY_ENDPOINT']}?{urlencode({'api-version': '2019-08-01', **query})}"
        return await ask_token(who, url, headers={"x-identity-header": env["IDENTITY_HEADER"]})
    host = env.get("AZURE_POD_IDENTITY_AUTHORITY_HOST", "http://169.254.169.254").rstrip("/")
    url = f"{host}/metadata/identity/oauth2/token?{urlencode({'api-version': '2018-02-01', **query})}"
    return await ask_token(who, url, headers={"metadata": "true"}, connect_seconds=_METADATA_CONNECT_SECONDS)


async def _by_cli(who: str, resource: str) -> Token:
    argv = ("az", "account", "get-access-token", "--resource", resource, "--output", "json")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*argv, stdin=asyncio.subprocess.DEVNULL, stdout=pipe, stderr=pipe)
    try:
        async with asyncio.timeout(_CLI_SECONDS):
            out, err = await process.communicate()
    except TimeoutError as error:
        raise SecretDenied(f"{who}: az did not answer within {_CLI_SECONDS:g} s") from error
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    try:
        said = json.loads(out)
        return Token.lasting(said["accessToken"], float(said["expires_on"]) - datetime.now(UTC).timestamp())
    except (ValueError, KeyError, TypeError) as error:
        reason = plain(err.decode("utf-8", "replace").strip(), 200) or "no token in its answer"
        raise SecretDenied(f"{who}: az: {reason}", hint="log in with az login") from error
