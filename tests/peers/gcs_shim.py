"""Google Cloud Storage's XML API, as a small proxy in front of ministack, which speaks S3's.

ministack holds the objects, lists them and joins their parts. The proxy adds what Cloud Storage does otherwise, as documented:
bearer tokens, generations and conditions on them, CRC32C checked and told (`x-goog-hash`), `x-goog-meta-…`, and the unpacking of
gzip for clients that do not say that they take it. It runs as a process of its own.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import gzip
import hashlib
import itertools
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, unquote, unquote_plus

import aiohttp
from aiohttp import web
from awscrt import checksums
from yarl import URL

from tests.peers.ministack import ministack
from tests.peers.process import accepts, free_ports, running

_PASSED = ("content-type", "cache-control", "content-disposition", "content-encoding", "content-language", "range")
_TOLD = (*_PASSED, "content-length", "content-range", "last-modified", "etag")


@dataclass(frozen=True, slots=True)
class GcsShim:
    endpoint: str
    token: str
    pid: int


@contextlib.asynccontextmanager
async def gcs_shim(folder: Path) -> AsyncIterator[GcsShim]:
    """A server that takes one bearer token; ministack's and its own log are below `folder`."""
    async with ministack(folder / "ministack") as upstream:
        (port,) = free_ports(1)
        token = "ya29.a-token-of-the-tests"
        root = Path(__file__).resolve().parents[2]
        environment = {"PATH": os.environ.get("PATH", os.defpath), "PYTHONPATH": str(root), "TOKEN": token}
        argv = [sys.executable, "-m", "tests.peers.gcs_shim", str(port), upstream.endpoint]

        async def ready() -> bool:
            return await accepts(port)

        async with running(argv, log=folder / "shim.log", ready=ready, env=environment, cwd=root) as process:
            yield GcsShim(f"http://127.0.0.1:{port}", token, process.pid)


@dataclass(frozen=True, slots=True)
class Kept:
    generation: int
    crc32c: str  # base64
    md5: str | None  # base64; None for what was made of parts

    @property
    def headers(self) -> dict[str, str]:
        md5 = f",md5={self.md5}" if self.md5 else ""
        return {"x-goog-generation": str(self.generation), "x-goog-hash": f"crc32c={self.crc32c}{md5}"}


def crc32c_of(body: bytes) -> str:
    return base64.b64encode(checksums.crc32c(body).to_bytes(4, "big")).decode()


def failed(status: int, code: str) -> web.Response:
    body = f"<?xml version='1.0' encoding='UTF-8'?><Error><Code>{code}</Code><Message>{code}, said the shim.</Message></Error>"
    return web.Response(status=status, text=body, content_type="application/xml")


class Shim:
    def __init__(self, upstream: str, token: str, session: aiohttp.ClientSession) -> None:
        self._upstream = upstream
        self._token = token
        self._session = session
        self._kept: dict[tuple[str, str], Kept] = {}
        self._generations = itertools.count(time.time_ns() // 1000)
        self._writing = asyncio.Lock()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        if request.headers.get("authorization") != f"Bearer {self._token}":
            return failed(401, "AuthenticationRequired")
        path, _, query = request.raw_path.partition("?")
        bucket, _, encoded = path.lstrip("/").partition("/")
        key = unquote(encoded)
        params = dict(item.partition("=")[::2] for item in query.split("&") if item)
        if not key:
            return await self._bucket(request, bucket, query)
        if request.method in ("GET", "HEAD") and "uploadId" not in params:
            return await self._read(request, bucket, key, params)
        async with self._writing:
            return await self._change(request, bucket, key, query, params)

    async def _bucket(self, request: web.Request, bucket: str, query: str) -> web.Response:
        status, _headers, body = await self._ask(request.method, bucket, "", query, {}, b"")
        text = body.decode()
        if "<ListBucketResult" in text:
            text = re.sub(r"<Key>([^<]*)</Key>", lambda found: found[0] + self._generation(bucket, found[1]), text)
        return web.Response(status=status, text=text, content_type="application/xml")

    def _generation(self, bucket: str, listed: str) -> str:
        kept = self._kept[(bucket, unquote_plus(listed))]
        return f"<Generation>{kept.generation}</Generation>"

    async def _read(self, request: web.Request, bucket: str, key: str, params: Mapping[str, str]) -> web.Response:
        kept = self._kept.get((bucket, key))
        if kept is None or params.get("generation", str(kept.generation)) != str(kept.generation):
            return failed(404, "NoSuchKey")
        if not self._holds(request, kept):
            return failed(412, "PreconditionFailed")
        status, headers, body = await self._ask(request.method, bucket, key, "", request.headers, b"")
        told = {**headers, **kept.headers}
        if headers.get("content-encoding") == "gzip":
            told["x-goog-stored-content-encoding"] = "gzip"
            told["x-goog-stored-content-length"] = headers.get("content-length", "")
            if "gzip" not in request.headers.get("accept-encoding", ""):
                del told["content-encoding"], told["content-length"]
                body = gzip.decompress(body) if body else b""
        if request.method == "HEAD":
            return web.Response(status=status, headers=told)
        told.pop("content-length", None)
        return web.Response(status=status, headers=told, body=body)

    async def _change(
        self, request: web.Request, bucket: str, key: str, query: str, params: Mapping[str, str]
    ) -> web.StreamResponse:
        body, kept = await request.read(), self._kept.get((bucket, key))
        if not self._holds(request, kept):
            return failed(412, "PreconditionFailed")
        if request.method == "DELETE" and "uploadId" not in params and self._kept.pop((bucket, key), None) is None:
            return failed(404, "NoSuchKey")
        promised = dict(item.partition("=")[::2] for item in request.headers.get("x-goog-hash", "").split(",") if item)
        if promised.get("crc32c", crc32c_of(body)) != crc32c_of(body):
            return failed(400, "BadDigest")
        status, headers, said = await self._ask(request.method, bucket, key, query, request.headers, body)
        told = dict(headers)
        told.pop("content-length", None)
        makes_whole = (request.method == "PUT" and not params) or (request.method == "POST" and "uploadId" in params)
        if makes_whole and status == 200 and b"<Error>" not in said:
            md5 = None
            if request.method == "PUT":
                md5 = base64.b64encode(hashlib.md5(body, usedforsecurity=False).digest()).decode()
            else:
                _, _, body = await self._ask("GET", bucket, key, "", {}, b"")
            self._kept[(bucket, key)] = Kept(next(self._generations), crc32c_of(body), md5)
            told |= self._kept[(bucket, key)].headers
        return web.Response(status=status, headers=told, body=said)

    def _holds(self, request: web.Request, kept: Kept | None) -> bool:
        wanted = request.headers.get("x-goog-if-generation-match")
        return wanted is None or int(wanted) == (kept.generation if kept is not None else 0)

    async def _ask(
        self, method: str, bucket: str, key: str, query: str, headers: Mapping[str, str], body: bytes
    ) -> tuple[int, dict[str, str], bytes]:
        passed = {}
        for name, value in ((n.lower(), v) for n, v in headers.items()):
            if name in _PASSED:
                passed[name] = value
            elif name.startswith("x-goog-meta-"):
                passed[name.replace("x-goog-meta-", "x-amz-meta-")] = value
        passed.setdefault("content-type", "application/octet-stream")
        path = f"/{bucket}" + (f"/{quote(key, safe='/~')}" if key else "")
        url = URL(f"{self._upstream}{path}{'?' + query if query else ''}", encoded=True)
        async with self._session.request(method, url, headers=passed, data=body or None) as response:
            data = await response.read()
            told = {n.lower(): v for n, v in response.headers.items()}
        meta = {n.replace("x-amz-meta-", "x-goog-meta-"): v for n, v in told.items() if n.startswith("x-amz-meta-")}
        return response.status, {n: v for n, v in told.items() if n in _TOLD} | meta, data


async def serve(port: int, upstream: str) -> None:
    timeout = aiohttp.ClientTimeout(total=60)
    async with aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session:
        shim = Shim(upstream, os.environ["TOKEN"], session)
        app = web.Application(client_max_size=1 << 30)
        app.router.add_route("*", "/{path:.*}", shim.answer)
        runner = web.AppRunner(app, auto_decompress=False)  # packed bodies come as they are
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(serve(int(sys.argv[1]), sys.argv[2]))
