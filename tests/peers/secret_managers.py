"""Google Secret Manager and Azure Key Vault, as far as their REST references tell, in memory: no emulator of either is published as a package.

Both take the token that `token_source` gives and no other. A wrong `dataCrc32c` is refused as Google's own does.
"""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from urllib.parse import parse_qs, urlsplit

from awscrt import checksums

from tests.peers.scripted_http import Asked, ScriptedHttp, answer, scripted_http

TOKEN = "the-token"


@dataclass
class Kept:
    """Versions by secret, oldest first. `refuse` is the status that is given instead of answering."""

    secrets: dict[str, list[str]] = field(default_factory=dict)
    refuse: int = 0
    spoil: bool = False
    http: ScriptedHttp = field(default_factory=ScriptedHttp)

    def said(self, asked: Asked) -> bytes | None:
        """What both do alike: tokens, and days on which they are not well."""
        if self.refuse:
            return _error(self.refuse, "not today")
        if asked.headers.get("authorization") != f"Bearer {TOKEN}":
            return _error(401, "who are you?")
        return None


@contextlib.asynccontextmanager
async def token_source() -> AsyncIterator[ScriptedHttp]:
    """The machine's identity of both clouds."""
    said = json.dumps({"access_token": TOKEN, "expires_in": "3600"})
    async with scripted_http(lambda _: answer(200, said)) as server:
        yield server


@contextlib.asynccontextmanager
async def google_secret_manager() -> AsyncIterator[Kept]:
    kept = Kept()

    def script(asked: Asked) -> bytes:
        return kept.said(asked) or _google(kept, asked)

    async with scripted_http(script) as kept.http:
        yield kept


@contextlib.asynccontextmanager
async def azure_key_vault() -> AsyncIterator[Kept]:
    kept = Kept()

    def script(asked: Asked) -> bytes:
        return kept.said(asked) or _azure(kept, asked)

    async with scripted_http(script) as kept.http:
        yield kept


def _google(kept: Kept, asked: Asked) -> bytes:
    url = urlsplit(asked.target)
    if asked.method == "POST" and url.path == "/v1/projects/proj/secrets":
        name = parse_qs(url.query)["secretId"][0]
        if "replication" not in json.loads(asked.body):
            return _error(400, "replication is required")
        if name in kept.secrets:
            return _error(409, "taken")
        kept.secrets[name] = []
        return answer(200, "{}")
    if found := re.fullmatch(r"/v1/projects/proj/secrets/([\w-]+):addVersion", url.path):
        if found[1] not in kept.secrets:
            return _error(404, "no such secret")
        payload = json.loads(asked.body)["payload"]
        raw = base64.b64decode(payload["data"])
        if str(checksums.crc32c(raw)) != payload["dataCrc32c"]:
            return _error(400, "the checksum is wrong")
        kept.secrets[found[1]].append(raw.decode())
        return answer(200, "{}")
    if found := re.fullmatch(r"/v1/projects/proj/secrets/([\w-]+)/versions/(\w+):access", url.path):
        versions = kept.secrets.get(found[1], [])
        number = len(versions) if found[2] == "latest" else int(found[2])
        if not 1 <= number <= len(versions):
            return _error(404, "no such version")
        raw = versions[number - 1].encode()
        told = str(checksums.crc32c(raw))
        data = base64.b64encode(raw + b"!" if kept.spoil else raw).decode()
        return answer(200, json.dumps({"payload": {"data": data, "dataCrc32c": told}}))
    return _error(404, "no such path")


def _azure(kept: Kept, asked: Asked) -> bytes:
    url = urlsplit(asked.target)
    found = re.fullmatch(r"/secrets/([A-Za-z0-9-]+)(?:/([0-9a-f]{32}))?", url.path)
    if found is None or parse_qs(url.query).get("api-version") != ["7.4"]:
        return _error(400, "no such question")
    versions = kept.secrets.setdefault(found[1], []) if asked.method == "PUT" else kept.secrets.get(found[1], [])
    if asked.method == "PUT":
        versions.append(json.loads(asked.body)["value"])
    number = int(found[2], 16) if found[2] else len(versions)
    if not 1 <= number <= len(versions):
        return _error(404, "SecretNotFound")
    return answer(200, json.dumps({"value": versions[number - 1], "id": f"https://v/secrets/{found[1]}/{number:032x}"}))


def _error(status: int, text: str) -> bytes:
    return answer(status, json.dumps({"error": {"code": status, "message": text}}))
