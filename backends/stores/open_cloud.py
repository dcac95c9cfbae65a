"""Stores of Google Cloud Storage and Azure Blob from what the plan says of them.

`secret_key` is a service account's JSON key, or the Azure account's key; `session_token` is a bearer token, or a shared access
signature. Without either: the cloud's usual chain. Nothing is looked up before the first request.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from backends.errors import UsageError
from backends.escape import plain
from backends.plan.models import Store as StoreSpec
from backends.secrets import google
from backends.secrets.oauth import Tokens
from backends.stores import azure_credentials
from backends.stores.azure import AzureStore
from backends.stores.azure_credentials import AzureSigner, Credential, Sas, SharedKey
from backends.stores.errors import StoreDenied
from backends.stores.gcs import GcsStore
from backends.stores.gcs_credentials import SCOPE, GcsSigner
from backends.stores.object_client import ObjectClient, Place
from backends.stores.object_errors import azure_error, gcs_error
from backends.stores.plan_secret import plan_secret

_GCS = "https://storage.googleapis.com"


def open_gcs(name: str, spec: StoreSpec, bucket: str, prefix: str, *, base: Path) -> GcsStore:
    """`gs://BUCKET/PREFIX/`."""

    async def find() -> Tokens:
        secret = await _secret(name, spec, base)
        if secret is None:
            return await google.chain(name, SCOPE)()
        field, text = secret
        return google.from_key(name, text, SCOPE) if field == "secret_key" else google.fixed(text)

    place = Place.of(spec.endpoint or _GCS, bucket)
    return GcsStore(name, f"gs://{bucket}/{prefix}", prefix, ObjectClient(name, place, GcsSigner(find), gcs_error))


def open_azure(name: str, spec: StoreSpec, place: str, path: str, *, base: Path) -> AzureStore:
    """`az://ACCOUNT/CONTAINER/PREFIX/`, or `az://CONTAINER/PREFIX/` where the plan has `account`. Raises `UsageError`."""
    account, container, prefix = spec.account, place, path
    if account is None:
        account = place
        container, _, prefix = path.partition("/")
    if not container:
        raise UsageError(f"store {name}: url {plain(spec.url, 200)}: expected az://ACCOUNT/CONTAINER/")

    async def find() -> Credential:
        secret = await _secret(name, spec, base)
        if secret is None:
            return await azure_credentials.chain(name, account)()
        field, text = secret
        return SharedKey(text) if field == "secret_key" else Sas.of(text)

    signer = AzureSigner(name, account, find)
    where = Place.of(spec.endpoint or f"https://{account}.blob.core.windows.net", container)
    return AzureStore(name, f"az://{account}/{container}/{prefix}", prefix, ObjectClient(name, where, signer, azure_error))


async def _secret(name: str, spec: StoreSpec, base: Path) -> tuple[str, str] | None:
    """The one that the plan gives, by its field."""
    for field, text in (("secret_key", spec.secret_key), ("session_token", spec.session_token)):
        if text is not None:
            found = await asyncio.to_thread(plan_secret, name, field, text, base=base)
            if not found:
                raise StoreDenied(f"store {name}: {field} is empty")
            return field, found
    return None
