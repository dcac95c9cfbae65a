"""The three managers, where our code finds them by the clouds' own variables; nothing is held between tests."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from backends.secrets.resolve import HELD, manager_of
from tests.peers.ministack import MiniStack, ministack
from tests.peers.secret_managers import Kept, azure_key_vault, google_secret_manager, token_source

_NAMES = (
    "AZURE_TENANT_ID",
    "AZURE_CLIENT_ID",
    "IDENTITY_ENDPOINT",
    "IDENTITY_HEADER",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "CLOUDSDK_CONFIG",
    "AWS_PROFILE",
)


@pytest.fixture(autouse=True)
def clean(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    for name in _NAMES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(tmp_path))
    manager_of.cache_clear()  # a client keeps the endpoint it was made with
    HELD.forget()
    yield
    HELD.forget()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def stack(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[MiniStack]:
    async with ministack(tmp_path_factory.mktemp("secrets"), "secretsmanager,sts") as server:
        yield server


@pytest.fixture
def aws(stack: MiniStack, monkeypatch: pytest.MonkeyPatch) -> MiniStack:
    monkeypatch.setenv("AWS_ENDPOINT_URL_SECRETS_MANAGER", stack.endpoint)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", stack.access_key)
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", stack.secret_key)
    monkeypatch.setenv("AWS_DEFAULT_REGION", stack.region)
    return stack


@pytest_asyncio.fixture
async def google(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Kept]:
    async with token_source() as tokens, google_secret_manager() as kept:
        monkeypatch.setenv("GCE_METADATA_HOST", tokens.endpoint.removeprefix("http://"))
        monkeypatch.setenv("CLOUDSDK_API_ENDPOINT_OVERRIDES_SECRETMANAGER", kept.http.endpoint)
        yield kept


@pytest_asyncio.fixture
async def azure(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Kept]:
    async with token_source() as tokens, azure_key_vault() as kept:
        monkeypatch.setenv("AZURE_POD_IDENTITY_AUTHORITY_HOST", tokens.endpoint)
        yield kept
