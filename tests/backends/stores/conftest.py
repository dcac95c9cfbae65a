"""One real server of each kind a session; a bucket or a folder of its own a test."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path

import pytest
import pytest_asyncio

from backends.secrets.google import fixed
from backends.secrets.oauth import Tokens
from backends.ssh.pool import SshPool
from backends.stores.azure import AzureStore
from backends.stores.azure_credentials import AzureSigner, Credential, SharedKey
from backends.stores.base import Store
from backends.stores.gcs import GcsStore
from backends.stores.gcs_credentials import GcsSigner
from backends.stores.local import LocalStore
from backends.stores.object_client import ObjectClient, Place
from backends.stores.object_errors import azure_error, gcs_error
from backends.stores.s3 import S3Store
from backends.stores.s3_client import bucket_address
from backends.stores.s3_credentials import FixedCredentials
from backends.stores.sftp import SftpStore
from backends.stores.sigv4 import Credentials
from tests.peers.azurite import Azurite, azurite, azurite_path
from tests.peers.gcs_shim import GcsShim, gcs_shim
from tests.peers.ministack import MiniStack
from tests.peers.openssh import OpenSsh, openssh
from tests.peers.seaweedfs import SeaweedFs

_numbers = itertools.count()


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def blobs(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Azurite]:
    if azurite_path() is None:
        pytest.skip("server missing: azurite")
    async with azurite(tmp_path_factory.mktemp("azurite")) as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def google(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[GcsShim]:
    if find_spec("ministack") is None:
        pytest.skip("server missing: ministack")
    async with gcs_shim(tmp_path_factory.mktemp("gcs")) as server:
        yield server


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def sshd(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[OpenSsh]:
    async with openssh(tmp_path_factory.mktemp("sshd")) as server:
        yield server


def new_bucket() -> str:
    return f"test-bucket-{next(_numbers)}"


@asynccontextmanager
async def s3_store(
    server: SeaweedFs | MiniStack,
    bucket: str,
    *,
    prefix: str = "some/where/",
    keys: tuple[str, str] | None = None,
) -> AsyncIterator[S3Store]:
    """A store on that server; `keys` other than the server's own."""
    credentials = Credentials(*(keys or (server.access_key, server.secret_key)))
    address = bucket_address(bucket, endpoint=server.endpoint, region=server.region, path_style=None)
    store = S3Store("corpus", bucket, prefix, address, FixedCredentials(credentials), server.region)
    try:
        yield store
    finally:
        await store.close()


@asynccontextmanager
async def azure_store(
    server: Azurite, container: str, *, prefix: str = "some/where/", key: str | None = None
) -> AsyncIterator[AzureStore]:
    """A store on that server; `key` other than the account's own."""

    async def find() -> Credential:
        return SharedKey(key or server.key)

    signer = AzureSigner("corpus", server.account, find)
    client = ObjectClient("corpus", Place.of(server.endpoint, container), signer, azure_error)
    async with AzureStore("corpus", f"az://{server.account}/{container}/{prefix}", prefix, client) as store:
        yield store


@asynccontextmanager
async def gcs_store(
    server: GcsShim, bucket: str, *, prefix: str = "some/where/", token: str | None = None
) -> AsyncIterator[GcsStore]:
    """A store on that server; `token` other than the one it takes."""

    async def find() -> Tokens:
        return fixed(token or server.token)

    client = ObjectClient("corpus", Place.of(server.endpoint, bucket), GcsSigner(find), gcs_error)
    async with GcsStore("corpus", f"gs://{bucket}/{prefix}", prefix, client) as store:
        yield store


@asynccontextmanager
async def sftp_store(server: OpenSsh, root: Path) -> AsyncIterator[SftpStore]:
    async with SshPool(server.settings, [server.host("box")]) as pool, SftpStore("corpus", pool, "box", str(root)) as store:
        yield store


def _server(request: pytest.FixtureRequest, kind: str) -> object:
    """Of the kinds that have one. Outside of async fixtures: a session's server is started by its own loop."""
    fixture = {"sftp": "sshd", "seaweedfs": "weed", "ministack": "mini", "azurite": "blobs", "gcs": "google"}.get(kind)
    return request.getfixturevalue(fixture) if fixture else None


@pytest.fixture(params=["local", "sftp", "seaweedfs", "ministack", "azurite", "gcs"])
def any_server(request: pytest.FixtureRequest) -> object:
    return _server(request, request.param)


@pytest.fixture(params=["local", "sftp"])
def tree_server(request: pytest.FixtureRequest) -> object:
    return _server(request, request.param)


@pytest_asyncio.fixture
async def store(any_server: object, tmp_path: Path) -> AsyncIterator[Store]:
    """An empty store of each kind, ready to be written to."""
    if isinstance(any_server, SeaweedFs | MiniStack):
        # A prefix of its own, not a bucket: SeaweedFS grows volumes for each new bucket.
        async with s3_store(any_server, "contract", prefix=f"test-{next(_numbers)}/") as opened:
            await opened.create_bucket()
            yield opened
    elif isinstance(any_server, Azurite):
        async with azure_store(any_server, "contract", prefix=f"test-{next(_numbers)}/") as blobs:
            await blobs.create_bucket()
            yield blobs
    elif isinstance(any_server, GcsShim):
        async with gcs_store(any_server, "contract", prefix=f"test-{next(_numbers)}/") as google:
            await google.create_bucket()
            yield google
    else:
        async with _tree(any_server, tmp_path / "root") as found:
            await found.prepare()
            yield found


@pytest_asyncio.fixture
async def tree_store(tree_server: object, tmp_path: Path) -> AsyncIterator[Store]:
    """A store over `tmp_path/root`, which is not there yet."""
    async with _tree(tree_server, tmp_path / "root") as found:
        yield found


@asynccontextmanager
async def _tree(server: object, root: Path) -> AsyncIterator[Store]:
    if isinstance(server, OpenSsh):
        async with sftp_store(server, root) as remote:
            yield remote
    else:
        async with LocalStore("corpus", root) as local:
            yield local
