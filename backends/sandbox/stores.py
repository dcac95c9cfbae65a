"""The two S3 stores: ministack, a process each on 127.0.0.1, and the seeded corpus of legacy.

What its command line leaves open when only `BIND_HOST` is set (0.0.0.0:2222 and :8883) is switched off. Objects are put with a
CRC64NVME: the store keeps it as a full-object checksum and gives it back for `x-amz-checksum-mode: ENABLED` (seen in 1.4.21).
"""

from __future__ import annotations

import asyncio
import base64
import math
import os
import random
import signal
import sys
import urllib.parse
from collections.abc import Iterator
from pathlib import Path

import aiohttp
from yarl import URL

from backends.crc import crc64nvme
from backends.sandbox.errors import SandboxError
from backends.sandbox.layout import Layout, write_json

BUCKETS = {"s3-old": "corpus-old", "s3-new": "corpus-new"}
PREFIX = "v3/"
OBJECTS = 400
LARGE_KEY = f"{PREFIX}weights/base-7b.safetensors"
LARGE_BYTES = 24 << 20
_ODD_KEYS = (f"{PREFIX}notes/read me first.txt", f"{PREFIX}notes/größe & maß.txt")
_SETTINGS = {
    "BIND_HOST": "127.0.0.1",
    "SERVICES": "s3",
    "SFTP_ENABLED": "0",
    "IOT_MTLS_ENABLED": "0",
    "S3_PERSIST": "1",  # objects lie in the sandbox's folder and are there again after a restart
    "PERSIST_STATE": "0",
    "LOG_LEVEL": "WARNING",
}


class StoreProcess:
    """One ministack."""

    def __init__(self, name: str, layout: Layout) -> None:
        self._name = name
        self._layout = layout
        self._process: asyncio.subprocess.Process | None = None

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process is not None else None

    async def start(self) -> None:
        """Start the process on the socket that is already bound."""
        sock = self._layout.sockets[self._name]
        environment = {k: os.environ[k] for k in ("PATH", "HOME", "LANG", "TZ") if k in os.environ}
        environment |= _SETTINGS | {"GATEWAY_PORT": str(self._layout.port(self._name)), "TMPDIR": str(self._tmp())}
        environment["S3_DATA_DIR"] = str(self._layout.path("s3") / self._name)
        with self.log_path.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "backends.sandbox.store_child",
                str(os.getpid()),
                str(sock.fileno()),
                pass_fds=[sock.fileno()],
                stdin=asyncio.subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=environment,
                start_new_session=True,
            )
        sock.close()  # else the port would go on listening after the store has ended

    @property
    def log_path(self) -> Path:
        return self._layout.path(f"{self._name}.log")

    def _tmp(self) -> Path:
        path = self._layout.path("tmp")
        path.mkdir(exist_ok=True)
        return path

    async def ready(self, session: aiohttp.ClientSession, deadline: float = 30.0) -> None:
        """Wait until it answers. Raises `SandboxError` with the end of its log."""
        url = self._layout.url(self._name) + "/_ministack/health"
        try:
            async with asyncio.timeout(deadline):
                while True:
                    if await self._answers(session, url):
                        return
                    await asyncio.sleep(0.03)
        except TimeoutError as error:
            raise SandboxError(f"the store {self._name} did not come up within {deadline:.0f} s", hint=self._log_end()) from error

    async def _answers(self, session: aiohttp.ClientSession, url: str) -> bool:
        if self._process is not None and self._process.returncode is not None:
            raise SandboxError(f"the store {self._name} ended with {self._process.returncode}", hint=self._log_end())
        try:
            async with session.get(url, timeout=aiohttp.ClientTimeout(total=10)) as answer:
                return answer.status == 200
        except (aiohttp.ClientError, TimeoutError):
            return False

    def _log_end(self) -> str:
        try:
            return self.log_path.read_text(errors="replace")[-600:]
        except OSError:
            return ""

    async def stop(self) -> None:
        """End it by its own process id."""
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            async with asyncio.timeout(1.5):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()


def corpus(seed: int) -> Iterator[tuple[str, bytes]]:
    """Key and content of each of legacy's objects, the same for the same seed."""
    rng = random.Random(f"{seed}:corpus")
    yield LARGE_KEY, rng.randbytes(LARGE_BYTES)
    for key in _ODD_KEYS:
        yield key, rng.randbytes(2048)
    for index in range(OBJECTS - 1 - len(_ODD_KEYS)):
        size = 1 << 20 if index % 130 == 7 else int(1024 * math.exp(rng.uniform(0.0, math.log(110))))
        yield f"{PREFIX}shards/shard-{index:05d}.bin", rng.randbytes(size)


def object_url(endpoint: str, bucket: str, key: str) -> URL:
    """The path-style address of an object."""
    return URL(f"{endpoint}/{bucket}/{urllib.parse.quote(key)}", encoded=True)


async def fill(layout: Layout, session: aiohttp.ClientSession) -> None:
    """Make both buckets and put legacy's corpus, unless an earlier run of this folder has done it to the end."""
    done = layout.path("corpus.json")
    if done.is_file():
        return
    for store, bucket in BUCKETS.items():
        await _put(session, URL(f"{layout.url(store)}/{bucket}"), b"", {})
    endpoint, bucket = layout.url("s3-old"), BUCKETS["s3-old"]
    at_once = asyncio.Semaphore(8)
    async with asyncio.TaskGroup() as group:
        for key, data in corpus(layout.seed):
            await at_once.acquire()
            task = group.create_task(_put_object(session, object_url(endpoint, bucket, key), data))
            task.add_done_callback(lambda _: at_once.release())
    write_json(done, {"objects": OBJECTS})


async def _put_object(session: aiohttp.ClientSession, url: URL, data: bytes) -> None:
    checksum = crc64nvme(data).to_bytes(8, "big")
    await _put(session, url, data, {"x-amz-checksum-crc64nvme": base64.b64encode(checksum).decode()})


async def _put(session: aiohttp.ClientSession, url: URL, data: bytes, headers: dict[str, str]) -> None:
    # The store takes any credentials; it wants to see some.
    credentials = {"Authorization": "AWS4-HMAC-SHA256 Credential=sandbox/20260101/us-east-1/s3/aws4_request"}
    async with session.put(url, data=data, headers=headers | credentials, timeout=aiohttp.ClientTimeout(total=30)) as answer:
        if answer.status != 200:
            raise SandboxError(f"the sandbox's store answered {answer.status} to PUT {url.path}")
