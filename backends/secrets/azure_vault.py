"""Azure Key Vault's secrets, by its REST interface and the usual chain of credentials.

Source: Key Vault REST API reference 7.4 (Get Secret, Set Secret).
"""

from __future__ import annotations

import asyncio
from urllib.parse import urlsplit

from backends.plan.references import Reference, vault_name
from backends.secrets import entra
from backends.secrets.errors import SecretDenied
from backends.secrets.web import ask

_VERSION = "api-version=7.4"
_HINT = "log in with az login, or give the engine's machine an identity"


class AzureVault:
    def read(self, reference: Reference) -> str:
        return asyncio.run(self._read(reference))

    def write(self, reference: Reference, value: str) -> None:
        asyncio.run(self._write(reference, value))

    async def _read(self, reference: Reference) -> str:
        name = vault_name(reference)
        version = f"/{name.version}" if name.version else ""
        url = f"{name.vault}/secrets/{name.secret}{version}?{_VERSION}"
        value = (await ask(reference.text, "GET", url, await _token(reference))).get("value")
        if not isinstance(value, str):
            raise SecretDenied(f"{reference.text}: the answer has no value")
        return value

    async def _write(self, reference: Reference, value: str) -> None:
        name = vault_name(reference)
        url = f"{name.vault}/secrets/{name.secret}?{_VERSION}"
        await ask(reference.text, "PUT", url, await _token(reference), {"value": value})


async def _token(reference: Reference) -> str:
    """For the cloud that the vault is in: each has its own resource."""
    host = urlsplit(vault_name(reference).vault).hostname or ""
    _, _, domain = host.partition(".")
    resource = f"https://{domain}" if domain.startswith("vault.") else "https://vault.azure.net"
    return await (await entra.chain(reference.text, resource, _HINT)()).get()
