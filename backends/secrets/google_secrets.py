"""Google Secret Manager, by its REST interface and the usual chain of credentials.

Every value travels with its CRC32C. Another endpoint is what `CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER` says, as for gcloud.
Source: Secret Manager API reference (secrets.create, secrets.addVersion, versions.access), "Data integrity assurance".
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import os
from typing import Any

from backends.plan.references import Reference, google_name
from backends.secrets import google
from backends.secrets.errors import SecretDenied, SecretMissing, SecretUnreachable
from backends.secrets.web import ask

_ENDPOINT = "https://secretmanager.googleapis.com"
_SCOPE = "https://www.googleapis.com/auth/cloud-platform"


class GoogleSecrets:
    def read(self, reference: Reference) -> str:
        return asyncio.run(self._read(reference))

    def write(self, reference: Reference, value: str) -> None:
        asyncio.run(self._write(reference, value))

    async def _read(self, reference: Reference) -> str:
        name = google_name(reference)
        path = f"projects/{name.project}/secrets/{name.secret}/versions/{name.version}:access"
        said = await ask(reference.text, "GET", _url(path), await _token(reference))
        payload = said.get("payload")
        data = payload.get("data") if isinstance(payload, dict) else None
        try:
            raw = base64.b64decode(str(data), validate=True)
            value = raw.decode("utf-8")
        except (binascii.Error, ValueError) as error:
            raise SecretDenied(f"{reference.text}: found bytes that are not UTF-8, expected text") from error
        told = payload.get("dataCrc32c") if isinstance(payload, dict) else None
        if told is not None and str(told) != str(_crc32c(raw)):
            raise SecretUnreachable(f"{reference.text}: the value came spoilt: its CRC32C is not what was told")
        return value

    async def _write(self, reference: Reference, value: str) -> None:
        name = google_name(reference)
        token = await _token(reference)
        raw = value.encode()
        payload = {"payload": {"data": base64.b64encode(raw).decode(), "dataCrc32c": str(_crc32c(raw))}}
        secrets = f"projects/{name.project}/secrets"
        add = f"{secrets}/{name.secret}:addVersion"
        try:
            await ask(reference.text, "POST", _url(add), token, payload)
        except SecretMissing:
            made: dict[str, Any] = {"replication": {"automatic": {}}}
            await ask(reference.text, "POST", _url(f"{secrets}?secretId={name.secret}"), token, made)
            await ask(reference.text, "POST", _url(add), token, payload)


async def _token(reference: Reference) -> str:
    return await (await google.chain(reference.text, _SCOPE)()).get()


def _url(path: str) -> str:
    endpoint = os.environ.get("CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER") or _ENDPOINT
    return f"{endpoint.rstrip('/')}/v1/{path}"


def _crc32c(raw: bytes) -> int:
    from backends.crc import crc32c  # loads a library: only for who asks Google

    return crc32c(raw)
