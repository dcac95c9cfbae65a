"""The engine's API: JSON over HTTP on a Unix socket. The peer's uid is checked with SO_PEERCRED; nothing listens on TCP."""

from __future__ import annotations

import asyncio
import os
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web
from prometheus_client import generate_latest
from prometheus_client.exposition import CONTENT_TYPE_PLAIN_0_0_4

from backends.engine.callers import Roles, caller_of
from backends.engine.commands import error_body
from backends.engine.metrics import metrics_of
from backends.engine.once import run_command
from backends.engine.snapshots import snapshot_of
from backends.errors import CouldNot, CutoverError, UsageError
from backends.escape import plain
from backends.snapshot import Snapshot

if TYPE_CHECKING:
    from backends.engine.core import Engine

FASTEST = 0.25  # seconds between two snapshots of a stream: at most 4 a second
LARGE = (
    1.0  # the same for a large fleet where only measurements moved: its hosts are sampled once a second, and a snapshot is 200 kB
)
SLOWEST = 2.0  # a stream says so often that it lives
BODY_LIMIT = 1 << 20
_STATUS = {2: 400, 3: 409, 4: 502}
KEY = "Idempotency-Key"
_PATHS = "GET /v1/snapshot, GET /v1/events, GET /v1/hosts/NAME, POST /v1/commands/NAME, GET /metrics"


class Api:
    """One engine's socket."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._runner: web.AppRunner | None = None
        self._cached: tuple[float, Snapshot, bytes] | None = None
        self._stream_ends = asyncio.Event()
        self._roles = Roles(engine.plan)

    async def start(self, path: Path) -> None:
        """Listen: socket 0600 in a folder 0700; with an `operators_group` 0660 and 0750."""
        app = web.Application(middlewares=[self._guarded], client_max_size=BODY_LIMIT)
        app.router.add_get("/v1/snapshot", self._snapshot)
        app.router.add_get("/v1/events", self._events)
        app.router.add_post("/v1/commands/{name}", self._command)
        app.router.add_get("/v1/hosts/{name}", self._host)
        app.router.add_get("/metrics", self._metrics)
        self._runner = web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=2.0)
        await self._runner.setup()
        path.unlink(missing_ok=True)
        old = os.umask(0o177)
        try:
            await web.UnixSite(self._runner, str(path)).start()
        finally:
            os.umask(old)
        os.chmod(path, 0o600)
        open_to_group(self._engine.state_dir, path, self._roles.gid)

    async def stop(self) -> None:
        self._stream_ends.set()
        if self._runner is not None:
            await self._runner.cleanup()

    @web.middleware
    async def _guarded(self, request: web.Request, handler: Any) -> web.StreamResponse:
        """Only who has a role here; every error as the contract's object."""
        caller = caller_of(request)
        if self._roles.of(caller) == "none":
            who = f"{plain(caller.user)} (uid {caller.uid})"
            body = {"error": {"code": "denied", "message": f"{who} is no operator of this migration", "where": "", "hint": ""}}
            return web.json_response(body, status=403)
        try:
            answer: web.StreamResponse = await handler(request)
            return answer
        except CutoverError as error:
            return web.json_response(error_body(error), status=_STATUS.get(error.exit_code, 400))
        except web.HTTPException as error:
            return web.json_response(error_body(UsageError(f"{request.path}: {error.reason}", hint=_PATHS)), status=error.status)
        except Exception as error:  # noqa: BLE001 - the API's boundary: who asked is told, and does not take the engine for gone
            traceback.print_exc()
            text = f"a fault of the engine itself: {type(error).__name__}: {plain(str(error), 300)}"
            return web.json_response(error_body(CouldNot(text, hint="engine.log has the place")), status=500)

    def _current(self) -> tuple[Snapshot, bytes]:
        """A snapshot, and its JSON; made at most 4 times a second, however many watch."""
        now = asyncio.get_running_loop().time()
        if self._cached is None or now - self._cached[0] >= FASTEST:
            snapshot = snapshot_of(self._engine)
            self._cached = (now, snapshot, snapshot.model_dump_json().encode())
        return self._cached[1], self._cached[2]

    async def _snapshot(self, request: web.Request) -> web.Response:
        self._cached = None
        return web.Response(body=self._current()[1] + b"\n", content_type="application/json")

    async def _events(self, request: web.Request) -> web.StreamResponse:
        reply = web.StreamResponse(headers={"Content-Type": "application/jsonl"})
        await reply.prepare(request)
        sent, sent_at, seq = -1, 0.0, -1
        try:
            while not self._stream_ends.is_set():
                now = asyncio.get_running_loop().time()
                may_wait = self._engine.world.fleet.is_large and self._engine.migration.seq == seq
                is_due = not may_wait or now - sent_at >= LARGE - FASTEST / 2
                if (self._engine.version != sent and is_due) or now - sent_at >= SLOWEST:
                    sent, sent_at, seq = self._engine.version, now, self._engine.migration.seq
                    await reply.write(self._current()[1] + b"\n")
                await asyncio.sleep(FASTEST)
        except (ConnectionResetError, BrokenPipeError):
            return reply  # the one who watched has gone
        return reply

    async def _command(self, request: web.Request) -> web.Response:
        try:
            body = await request.json() if request.can_read_body else {}
        except ValueError as error:
            raise UsageError("the command's body is no JSON") from error
        name = request.match_info["name"]
        caller, key = caller_of(request), request.headers.get(KEY, "")
        given = run_command(self._engine, name, caller, body, key=key, acts=self._roles.of(caller) == "acts")
        task = self._engine.spawn(given, f"command {plain(name, 40)}")
        # The tail is detached from the client: one who hangs up stops nothing.
        return web.json_response(await asyncio.shield(task))

    async def _host(self, request: web.Request) -> web.Response:
        """One host with all that is known of it: the snapshot of a large fleet leaves most of that out."""
        name = request.match_info["name"]
        view = self._engine.world.fleet.view(name, self._engine.stamp())
        if view is None:
            raise UsageError(f"the plan has no host {plain(name, 80)}", hint="GET /v1/snapshot names them")
        return web.Response(body=view.model_dump_json().encode() + b"\n", content_type="application/json")

    async def _metrics(self, request: web.Request) -> web.Response:
        snapshot, _ = self._current()
        failed = self._engine.notifier.failed if self._engine.notifier is not None else 0
        body = generate_latest(metrics_of(snapshot, notifications_failed=failed))
        return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE_PLAIN_0_0_4})


def open_to_group(folder: Path, socket: Path, gid: int | None) -> None:
    """Let the operators' group reach the socket, and nothing else in the folder; without one it is the owner's alone."""
    if gid is None:
        os.chmod(folder, 0o700)
        return
    for path in folder.iterdir():
        if path.is_file() and path != socket:
            os.chmod(path, 0o600)
    places = [(socket, 0o660), (folder, 0o750)]
    if socket.parent != folder:  # its path was too long: it lies in a short private folder, which a file here names
        places += [(socket.parent, 0o750), (folder / "socket.path", 0o640)]
    try:
        for path, mode in places:
            os.chown(path, -1, gid)
            os.chmod(path, mode)
    except PermissionError as error:
        hint = "be a member of the operators_group, or leave it out of the plan"
        raise CouldNot(f"the group {gid} cannot be given {error.filename}", where="operators_group", hint=hint) from error
