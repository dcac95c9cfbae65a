"""A migration small enough to be killed at every point: two local trees, a command route and a queue whose authorities are files, one
writing workload stopped and started by commands, and a data plane over HTTP with clients that count their errors.

Everything that the engine does here crosses a process boundary, as with real ones; only the sizes are small.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import stat
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from backends.cutover.fold import fold
from backends.cutover.migration import Migration
from backends.engine.client import EngineClient
from backends.engine.journal import read_events, verify_chain
from backends.engine.lock import is_locked
from backends.engine.paths import socket_of
from backends.engine.process import start_engine

ROUTE = """#!{python} -SE
import os, sys
path = sys.argv[1]
if sys.argv[2] == "get":
    print(open(path).read().strip())
else:
    new = path + ".new"
    open(new, "w").write(sys.argv[3])
    os.replace(new, path)
"""
WRITER = """#!{python} -SE
import os, sys
path, act = sys.argv[1:3]
if act == "status":
    running = open(path).read() == "running"
    print("running" if running else "quiesced")
    sys.exit(0 if running else 3)
new = path + ".new"
open(new, "w").write("running" if act == "start" else "quiesced")
os.replace(new, path)
"""


class SmallWorld:
    """Made in a folder; `served` serves its data plane while it is entered."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.state = folder / "state"
        self.plan = folder / "plan.yaml"
        for name in ("legacy/ckpt", "target/ckpt"):
            (folder / name).mkdir(parents=True)
        for number in range(6):
            (folder / "legacy" / "ckpt" / f"step-{number:03}.bin").write_bytes(random.Random(number).randbytes(4096))
        for name, text in (("chat", "0"), ("jobs", "0"), ("writer-legacy", "running"), ("writer-target", "quiesced")):
            (folder / name).write_text(text)
        for name, body in (("route", ROUTE), ("writer", WRITER)):
            script = folder / f"{name}.py"
            script.write_text(body.format(python=sys.executable))
            script.chmod(stat.S_IRWXU)
        self.errors = 0
        self.requests = 0
        self.dead: set[str] = set()  # sides whose own data plane answers wrongly
        self.silent: set[str] = set()  # sides whose own data plane does not answer
        self.slow = 0.0  # seconds that a side's own data plane takes to answer
        self.port = 0  # of its data plane, while it is served

    @property
    def weights(self) -> dict[str, int]:
        """What the authorities hold."""
        return {name: int((self.folder / name).read_text()) for name in ("chat", "jobs")}

    @property
    def writers(self) -> dict[str, bool]:
        """Whether each side's writer runs."""
        return {side: (self.folder / f"writer-{side}").read_text() == "running" for side in ("legacy", "target")}

    def journal(self) -> Migration:
        """The fold of the journal, its chain checked."""
        verify_chain(self.state)
        return fold(read_events(self.state))

    def write_plan(self, port: int, **more: Any) -> None:
        def route(name: str) -> dict[str, Any]:
            return {
                "set": ["./route.py", str(self.folder / name), "set", "{weight}"],
                "get": ["./route.py", str(self.folder / name), "get"],
            }

        def control(side: str) -> dict[str, Any]:
            path = str(self.folder / f"writer-{side}")
            acts = {"command": "stop", "resume": "start", "status": "status"}
            return {k: ["./writer.py", path, v] for k, v in acts.items()} | {"on": "engine", "timeout": "5s"}

        probe = {side: f"http://127.0.0.1:{port}/healthz/{side}" for side in ("legacy", "target")} | {"timeout": "1s"}
        plan = {
            "version": 1,
            "name": "small",
            "simulation": True,
            "legacy": {"provider": "old"},
            "target": {"provider": "new"},
            "stores": {s: {"url": f"file://{self.folder}/{s}/ckpt/"} for s in ("legacy", "target")},
            "datasets": [{"name": "ckpt", "from": "legacy", "to": "target", "reverse": True, "follow": "1s"}],
            "workloads": [
                {"name": "chat", "class": "batch"},
                {
                    "name": "train",
                    "class": "training",
                    "writes": ["ckpt"],
                    "quiesce": control("legacy") | {"legacy": control("legacy"), "target": control("target")},
                },
            ],
            "routes": [
                {
                    "name": "chat",
                    "workload": "chat",
                    "command": route("chat"),
                    "steps": [50, 100],
                    "soak": {"at_least": "300ms"},
                    "probe": probe,
                },
                {
                    "name": "jobs",
                    "workload": "train",
                    "command": route("jobs"),
                    "steps": [100],
                    "soak": {"at_least": "300ms"},
                    "probe": probe,
                },
            ],
            "gates": {phase: [] for phase in ("development", "testing", "staging", "cutover")},
            "windows": {"dual": "1s", "retire": "1s", "spacing": "300ms"},
        }
        self.plan.write_text(json.dumps(plan | more, indent=1))

    @contextmanager
    def served(self) -> Iterator[None]:
        """The data plane, with clients that ask it without end."""
        world = self

        class Door(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                probed = self.path.rpartition("/")[2]
                if probed in world.silent:
                    time.sleep(1.5)  # longer than the plan's probes wait
                    self.close_connection = True
                    return
                if probed in ("legacy", "target"):
                    time.sleep(world.slow)
                if probed in world.dead:
                    self.send_error(503)
                    return
                side = "target" if random.random() * 100 < world.weights["chat"] else "legacy"
                body = json.dumps({"side": side}).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: Any) -> None:
                """Quiet."""

        server = ThreadingHTTPServer(("127.0.0.1", 0), Door)
        server.daemon_threads = True
        self.port = port = server.server_address[1]
        self.write_plan(port)
        ended = threading.Event()
        threads = [
            threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}),
            threading.Thread(target=self._clients, args=(port, ended)),
        ]
        for thread in threads:
            thread.start()
        try:
            yield
        finally:
            ended.set()
            server.shutdown()
            for thread in threads:
                thread.join()
            server.server_close()
            self.end_engine()

    def end_engine(self) -> None:
        """A test that failed leaves no engine behind: it is ended by the process id that stands in its lock."""
        if (self.state / "lock").exists() and is_locked(self.state):
            found = re.search(r"pid (\d+)", (self.state / "lock").read_text())
            if found:
                kill_engine(int(found[1]))

    def _clients(self, port: int, ended: threading.Event) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
        while not ended.wait(0.02):
            self.requests += 1
            try:
                connection.request("GET", "/")
                reply = connection.getresponse()
                reply.read()
                self.errors += reply.status != 200
            except OSError:
                self.errors += 1
                connection.close()
        connection.close()


def start(world: SmallWorld, failpoint: str | None = None, log: Path | None = None) -> None:
    """Start the engine, to be killed at `failpoint`."""
    wanted = {"CUTOVER_FAILPOINT": failpoint, "CUTOVER_FAILPOINT_LOG": str(log) if log else None}
    before = {name: os.environ.pop(name, None) for name in wanted}
    os.environ.update({k: v for k, v in wanted.items() if v})
    try:
        start_engine(world.state, world.plan)
    finally:
        for name, value in before.items():
            os.environ.pop(name, None)
            if value is not None:
                os.environ[name] = value


def client_of(world: SmallWorld) -> EngineClient:
    return EngineClient(socket_of(world.state))


def wait_until_gone(world: SmallWorld, limit: float = 20.0) -> None:
    """Until no engine holds the folder."""
    deadline = time.monotonic() + limit
    while is_locked(world.state):
        assert time.monotonic() < deadline, "the engine still holds the folder"
        time.sleep(0.02)


def kill_engine(pid: int) -> None:
    subprocess.run(["kill", "-9", str(pid)], check=False)
