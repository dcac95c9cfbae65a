"""Questions to a manager over HTTPS with a bearer token, and what its answers mean."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

from pyreqwest.client import ClientBuilder
from pyreqwest.exceptions import PyreqwestError

from backends.escape import plain
from backends.secrets.errors import SecretDenied, SecretMissing, SecretUnreachable
from backends.secrets.oauth import json_object
from backends.secrets.protocol import SECONDS

TAKEN = 409  # there is one of that name already
_CONNECT_SECONDS = 5.0
_LONGEST_ANSWER = 1 << 20


async def ask(what: str, method: str, url: str, token: str, body: dict[str, Any] | None = None) -> dict[str, Any]:
    """The JSON object of a good answer; empty where the name is taken already. Raises by status; no value is in any message."""
    builder = ClientBuilder().follow_redirects(False).connect_timeout(timedelta(seconds=_CONNECT_SECONDS))
    async with builder.build() as client:
        request = client.request(method, url).headers({"authorization": f"Bearer {token}"}).timeout(timedelta(seconds=SECONDS))
        if body is not None:
            request = request.header("content-type", "application/json").body_bytes(json.dumps(body).encode())
        try:
            response = await request.build().send()
            raw = bytes(await response.bytes())
        except PyreqwestError as error:
            raise SecretUnreachable(f"{what}: no answer", hint="look at the network") from error
    said = json_object(raw) if len(raw) <= _LONGEST_ANSWER else {}
    if response.status == 200:
        return said
    if response.status == TAKEN:
        return {}
    message = f"{what}: status {response.status}{_reason(said)}"
    if response.status == 404:
        raise SecretMissing(message, hint="look at its name")
    if response.status == 429 or response.status >= 500:
        raise SecretUnreachable(message)
    raise SecretDenied(message, hint="look at the rights of who asks")


def _reason(said: dict[str, Any]) -> str:
    told = said.get("error")
    text = told.get("message") if isinstance(told, dict) else told
    return f": {plain(text, 200)}" if isinstance(text, str) and text else ""
