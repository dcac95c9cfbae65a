"""The small world with sides that are machines: each has a network namespace, a probe over HTTP, an sshd on the host where its writer
runs and another one where its store lies. Links are cut, machines die, and come back.

The engine runs where the bastion is; clients and the routes' authorities are elsewhere, and no fault of a side is theirs.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import psutil

from backends.vocabulary import SIDES, SideName
from tests.faults.small_world import SmallWorld, start
from tests.peers.network import ADDRESSES, Network
from tests.peers.openssh import OpenSsh, prepare
from tests.peers.process import free_ports, running
from tests.peers.wall_clock import WallClock

# While the file PATH.ACT.wait is there, the command is under way, and PATH.ACT.came says so.
GATE = """
import time
here = path + "." + act
if os.path.exists(here + ".wait"): open(here + ".came", "w").close()
while os.path.exists(here + ".wait"): time.sleep(0.02)
"""


class Server:
    """A process that can be killed, with all that it has started, and started again."""

    def __init__(self, argv: list[str], log: Path, ready: str) -> None:
        self._argv, self._log, self._ready = argv, log, ready
        self._stack = contextlib.AsyncExitStack()
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        async def ready() -> bool:
            return self._ready in self._log.read_text()

        self._process = await self._stack.enter_async_context(running(self._argv, log=self._log, ready=ready, seconds=30))

    async def kill(self) -> None:
        """As a machine that ends: its sessions end with it."""
        if self._process is None:
            return
        process, self._process = self._process, None
        with contextlib.suppress(psutil.NoSuchProcess):
            sessions = psutil.Process(process.pid).children(recursive=True)
            process.kill()
            for session in sessions:
                with contextlib.suppress(psutil.NoSuchProcess):
                    session.kill()
        await process.wait()
        await self._stack.aclose()


class SidesWorld(SmallWorld):
    """`servers` are a side's `probe`, `host` and `store`, by side and name."""

    def __init__(self, folder: Path, net: Network) -> None:
        super().__init__(folder)
        self.net = net
        self.clock: WallClock | None = None
        self.servers: dict[tuple[SideName, str], Server] = {}
        self.ports: dict[tuple[SideName, str], int] = {}
        self.sshds: dict[tuple[SideName, str], OpenSsh] = {}
        script = folder / "writer.py"
        lines = script.read_text().partition("path, act = sys.argv[1:3]\n")
        script.write_text(lines[0] + lines[1] + GATE.lstrip() + lines[2])
        (folder / "empty").mkdir()
        for side in SIDES:
            self._fit(side)

    def _fit(self, side: SideName) -> None:
        for name, port in zip(("probe", "host", "store"), free_ports(3), strict=True):
            self.ports[side, name] = port
        probe = ["-u", "-m", "http.server", str(self.ports[side, "probe"]), "--bind", ADDRESSES[side]]
        argv = [*self.net.on(side), sys.executable, *probe, "--directory", str(self.folder / "empty")]
        self.servers[side, "probe"] = Server(argv, self.folder / f"probe-{side}.log", "Serving HTTP")
        for name in ("host", "store"):
            sshd = OpenSsh(self.folder / f"sshd-{side}-{name}", self.ports[side, name], address=ADDRESSES[side])
            argv = [*self.net.on(side), *prepare(sshd, {})]
            self.servers[side, name] = Server(argv, sshd.folder / "log", "Server listening")
            self.sshds[side, name] = sshd

    @contextlib.asynccontextmanager
    async def machines(self) -> AsyncIterator[None]:
        """All of them, while they run."""
        try:
            for server in self.servers.values():
                await server.start()
            yield
        finally:
            for server in self.servers.values():
                await server.kill()

    def write_plan(self, port: int, **more: Any) -> None:
        super().write_plan(port)
        plan = json.loads(self.plan.read_text())
        files = {"config": "config", "known_hosts": "known_hosts"}
        (self.folder / "known_hosts").write_text("".join(s.known_hosts.read_text() for s in self.sshds.values()))
        keys = "".join(f"  IdentityFile {s.folder}/id_ed25519\n" for s in self.sshds.values())
        (self.folder / "config").write_text(f"Host *\n{keys}  IdentitiesOnly yes\n")
        plan["ssh"] = files | {"connect_timeout": "2s"}
        for side in SIDES:
            hosts = [self._host(side, name) for name in ("host", "store")]
            plan[side] |= {"hosts": hosts}
            plan["stores"][side] = {"url": f"ssh://{side}-store{self.folder}/{side}/ckpt/"}
        train = plan["workloads"][1]
        script, way = str(self.folder / "writer.py"), train["quiesce"]
        for side in SIDES:
            path = str(self.folder / f"writer-{side}")
            acts = {"command": "stop", "resume": "start", "status": "status"}
            way[side] = {k: [script, path, v] for k, v in acts.items()} | {"on": "hosts", "timeout": "8s"}
        train["quiesce"] = way["legacy"] | {"legacy": way["legacy"], "target": way["target"]}
        train["runs_on"] = {side: [f"{side}-host"] for side in SIDES}
        urls = {side: f"http://{ADDRESSES[side]}:{self.ports[side, 'probe']}/" for side in SIDES}
        for route in plan["routes"]:
            route["probe"] = urls | {"timeout": "1s"}
        self.plan.write_text(json.dumps(plan | more, indent=1))

    def _host(self, side: SideName, name: str) -> dict[str, Any]:
        sshd = self.sshds[side, name]
        return {"name": f"{side}-{name}", "address": sshd.address, "port": sshd.port, "user": sshd.user}

    def start_engine(self, failpoint: str | None = None) -> None:
        """Where the bastion is, under the wall clock that the test has; to be killed at `failpoint`."""
        before = os.environ.copy()
        os.environ.update(self.clock.env if self.clock is not None else {})
        try:
            self.net.from_bastion(lambda: start(self, failpoint))
        finally:
            os.environ.clear()
            os.environ.update(before)
