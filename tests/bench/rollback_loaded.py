"""A rollback while the engine is busy: 256 hosts probed once a second, a sync at full rate beside it, a route by HAProxy with clients, a lease on
a host of its own (sshd), and a writer that takes a few seconds to stop and to start, as real ones do."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp

from backends.cutover.events import Kind
from backends.engine.client import EngineClient
from backends.engine.journal import read_events
from backends.errors import RefusedByRule
from backends.snapshot import State
from tests.bench.rollback_latency import CUTOVER, LIMIT
from tests.faults.small_world import SmallWorld, client_of, start, wait_until_gone
from tests.peers.gpu_hosts import GpuHosts, gpu_hosts
from tests.peers.haproxy import Haproxy, haproxy
from tests.peers.openssh import OpenSsh, openssh, write_keys

TIMES = 9
PARTS = (64, 64, 64, 63)  # hosts by the process that plays them; the lease's is one more
WRITER = 2.0  # seconds that the writer takes to stop, and to start
FILES, FILE = 48, 8 << 20
PAUSE = 0.02  # seconds between two files that are written anew: more than any sync takes away
MEMORY = Path("/dev/shm")


@dataclass(frozen=True, slots=True)
class Loaded:
    """Seconds from the start of `cutover rollback`: to HAProxy's weight being 0, and to the last answer that a client had from target. Then
    the whole rollback as it was foretold and as it was."""

    first_effect: float
    seen: float
    foretold: float
    took: float


class LoadedWorld(SmallWorld):
    """`fast` is a folder in memory for what is copied throughout."""

    def __init__(self, folder: Path, fast: Path, proxy: Haproxy, hosts: list[GpuHosts], keeper: OpenSsh) -> None:
        super().__init__(folder)
        self.proxy, self.fast, self._hosts, self._keeper = proxy, fast, hosts, keeper
        self.answers: dict[str, float] = {}  # side -> when a client last had an answer from it
        for side in ("legacy", "target"):
            (fast / side).mkdir()
        script = folder / "writer.py"
        script.write_text(script.read_text().replace("new = path", f"import time; time.sleep({WRITER})\nnew = path"))

    def write_plan(self, port: int, **more: Any) -> None:
        super().write_plan(port)
        plan = json.loads(self.plan.read_text())
        plan["ssh"] = {"config": "ssh_config", "known_hosts": "known_hosts", "connect_timeout": "60s"}
        ports = [part.port for part, count in zip(self._hosts, PARTS, strict=True) for _ in range(count)]
        hosts = [{"name": f"h{n:03}", "address": "127.0.0.1", "user": "root", "port": port} for n, port in enumerate(ports)]
        plan["legacy"]["hosts"], plan["target"]["hosts"] = hosts[: len(hosts) // 2], hosts[len(hosts) // 2 :]
        keeper = {"name": "keeper", "address": "127.0.0.1", "user": self._keeper.user, "port": self._keeper.port}
        plan["target"]["hosts"].append(keeper)
        plan["lease"] = {"host": "keeper"}  # the made hosts have no shell
        plan["stores"] |= {f"bulk-{s}": {"url": f"file://{self.fast}/{s}/"} for s in ("legacy", "target")}
        plan["datasets"].append({"name": "bulk", "from": "bulk-legacy", "to": "bulk-target", "follow": "1s"})
        chat = plan["routes"][0]
        del chat["command"]
        chat["haproxy"] = {
            "socket": str(self.proxy.socket), "backend": "chat", "legacy": "l0", "target": "t0",
            "state_file": str(self.proxy.state_file), "drain": "5s",
        }  # fmt: skip
        chat["probe"] = {
            "url": self.proxy.url, "timeout": "1s",
            "legacy": f"http://127.0.0.1:{self.proxy.legacy[0]}/now", "target": f"http://127.0.0.1:{self.proxy.target[0]}/now",
        }  # fmt: skip
        train = plan["workloads"][1]["quiesce"]
        for way in (train, train["legacy"], train["target"]):
            way["timeout"] = "20s"
        self.plan.write_text(json.dumps(plan | more, indent=1))

    @contextlib.contextmanager
    def fed(self) -> Iterator[None]:
        """Files that are written anew without end."""
        ended = threading.Event()
        bodies = [random.Random(n).randbytes(FILE) for n in range(4)]

        def feed() -> None:
            number = 0
            while not ended.wait(PAUSE if number >= FILES else 0):
                path = self.fast / "legacy" / f"{number % FILES:03}.bin"
                new = self.fast / "new"
                new.write_bytes(number.to_bytes(8, "big") + bodies[number % len(bodies)])
                os.replace(new, path)
                number += 1

        thread = threading.Thread(target=feed)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()

    async def clients(self) -> None:
        """Keep-alive clients of HAProxy, until cancelled."""

        async def one(session: aiohttp.ClientSession) -> None:
            while True:
                async with session.get(self.proxy.url) as answer:
                    self.answers[(await answer.json())["side"]] = time.monotonic()
                await asyncio.sleep(0.01)

        async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=10)) as session, asyncio.TaskGroup() as group:
            for _ in range(4):
                group.create_task(one(session))


@contextlib.asynccontextmanager
async def loaded_world(folder: Path, fast: Path) -> AsyncIterator[LoadedWorld]:
    async with contextlib.AsyncExitStack() as stack:
        key, host_key = write_keys(folder, "id_ed25519"), write_keys(folder, "host_key")
        (folder / "authorized_keys").write_bytes(key.export_public_key())
        hosts = [await stack.enter_async_context(gpu_hosts(folder)) for _ in PARTS]
        proxy = await stack.enter_async_context(haproxy(folder / "ha"))
        keeper = await stack.enter_async_context(openssh(folder / "keeper"))
        with (keeper.folder / "authorized_keys").open("ab") as keys:
            keys.write(key.export_public_key())
        known = "".join(f"[127.0.0.1]:{part.port} {host_key.export_public_key().decode()}" for part in hosts)
        (folder / "known_hosts").write_text(known + keeper.known_hosts.read_text())
        (folder / "ssh_config").write_text(f"Host *\n  IdentityFile {folder}/id_ed25519\n  IdentitiesOnly yes\n")
        world = LoadedWorld(folder, fast, proxy, hosts, keeper)
        stack.enter_context(world.served())
        stack.enter_context(world.fed())
        clients = asyncio.create_task(world.clients())
        try:
            yield world
        finally:
            clients.cancel()
            await asyncio.gather(clients, return_exceptions=True)


async def _to_dual(client: EngineClient) -> None:
    async with asyncio.timeout(3 * LIMIT):
        while (await client.snapshot()).state is not State.DUAL:
            try:
                await client.command("advance", timeout=LIMIT)
            except RefusedByRule:
                await asyncio.sleep(0.2)  # soak, spacing and preflight take their time


async def _once(world: LoadedWorld, client: EngineClient) -> Loaded:
    if (await client.snapshot()).state is State.ROLLED_BACK:
        await client.command("resume", {"reason": "once more"})
    await _to_dual(client)
    foretold = (await client.preview("rollback")).seconds or 0.0
    began = time.monotonic()
    argv = [str(CUTOVER), "rollback", "--confirm", "small", "--state", str(world.state)]
    process = await asyncio.create_subprocess_exec(*argv, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL)
    async with asyncio.timeout(LIMIT):
        while "t0 127.0.0.1 2 0 0" not in await world.proxy.tell("show servers state chat"):  # noqa: ASYNC110 - HAProxy's own
            await asyncio.sleep(0.002)
    first = time.monotonic() - began
    if await asyncio.wait_for(process.wait(), LIMIT) != 0:
        raise RuntimeError(f"cutover rollback ended with {process.returncode}")
    run = (await client.snapshot()).run
    assert run is not None
    assert run.ended_at is not None
    return Loaded(first, world.answers["target"] - began, foretold, (run.ended_at - run.started_at).total_seconds())


async def _measured(world: LoadedWorld) -> list[Loaded]:
    await asyncio.to_thread(start, world)
    async with client_of(world) as client:
        async with asyncio.timeout(180):
            async for now in client.events():
                if now.hosts and all(host.health == "live" for host in now.hosts):
                    break
        found = []
        for _ in range(TIMES):
            found.append(await _once(world, client))
            print(f"  {found[-1]}", flush=True)
        hosts = (await client.snapshot()).hosts
        live = sum(host.health == "live" for host in hosts)
        await client.command("down", {"anyway": True})
    await asyncio.to_thread(wait_until_gone, world)
    rounds = [e.data for e in read_events(world.state) if e.kind == Kind.ROUND and e.data.get("dataset") == "bulk"]
    copied, seconds = sum(r.get("bytes", 0) for r in rounds), sum(r.get("seconds", 0.0) for r in rounds)
    print(
        f"beside it: {live} of {len(hosts)} hosts live, a sync of {copied / 1e9:.1f} GB at {copied / max(seconds, 1e-9) / 1e6:.0f} MB/s"
    )
    return found


async def bench_rollback_loaded() -> None:
    """The same while 256 hosts are probed and a sync runs at full rate: first effect, data plane, and how true the forecast is."""
    with tempfile.TemporaryDirectory(prefix="cutover-bench-") as folder:
        fast = tempfile.TemporaryDirectory(prefix="cutover-bench-", dir=MEMORY if MEMORY.is_dir() else None)
        with fast as memory:
            async with loaded_world(Path(folder), Path(memory)) as world:
                found = await _measured(world)
    for name in ("first_effect", "seen", "took"):
        values = sorted(getattr(f, name) for f in found)
        print(f"{name.replace('_', ' '):<13} median {median(values):.2f} s of {len(values)}, worst {values[-1]:.2f} s")
    off = [f.foretold / f.took - 1 for f in found]
    print("foretold against measured: " + ", ".join(f"{o:+.0%}" for o in off) + " (the first knows the way there alone)")
