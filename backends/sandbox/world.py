"""The sandbox as a whole: two providers, the front door, its clients and the scenario, in one process and two store processes."""

from __future__ import annotations

import asyncio
import functools
import json
import os
import time
from collections.abc import Callable, Coroutine
from contextlib import AsyncExitStack
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

import aiohttp
from aiohttp import web

from backends.sandbox.chat import ChatService
from backends.sandbox.clients import Clients, ParallelRun
from backends.sandbox.errors import SandboxError
from backends.sandbox.frontdoor import FrontDoor
from backends.sandbox.gpus import GpuBox
from backends.sandbox.hosts import SimulatedHost
from backends.sandbox.layout import HOSTS, Layout, claim, write_json
from backends.sandbox.listener import Listener, json_answer
from backends.sandbox.plan_file import PROVIDERS, plan_text
from backends.sandbox.scenario import Do, Player, load_scenario
from backends.sandbox.shell import Shell
from backends.sandbox.state import World
from backends.sandbox.stores import BUCKETS, StoreProcess, fill
from backends.sandbox.training import Training
from backends.sandbox.wire import Wire
from backends.vocabulary import SideName

SIDES: tuple[SideName, SideName] = ("legacy", "target")
_SCENARIO_TICK = 0.05
_GPU_TICK = 0.5


class _Server(Protocol):
    async def start(self) -> None: ...
    async def stop(self) -> None: ...


class Sandbox:
    """`async with Sandbox(dir, scenario, seed) as sandbox:` all is up inside; `sandbox.ready` is the contract's JSON.

    A part that fails ends the body with its error. Nothing is left running afterwards, and nothing in the folder is removed.
    """

    def __init__(self, folder: Path, scenario: str = "clean", seed: int = 0) -> None:
        self._folder = folder
        self._scenario = load_scenario(scenario)
        self._seed = seed
        self._world = World(seed)
        self._stack = AsyncExitStack()
        self._tasks: list[asyncio.Task[None]] = []
        self._stores: list[StoreProcess] = []
        self._hosts: list[SimulatedHost] = []
        self._boxes: list[GpuBox] = []
        self._training: dict[SideName, Training] = {}
        self._chat: dict[SideName, ChatService] = {}
        self._jobs: dict[SideName, Listener] = {}
        self._player: Player | None = None
        self._layout: Layout | None = None
        self._wire: Wire | None = None

    @property
    def layout(self) -> Layout:
        if self._layout is None:
            raise SandboxError("the sandbox is not up")
        return self._layout

    @property
    def plan_path(self) -> Path:
        return self.layout.path("plan.yaml")

    @property
    def ready(self) -> dict[str, Any]:
        """`{"ready": true, "plan": …, "legacy": {…}, "target": {…}, "front_door": URL, …}`"""
        layout = self.layout
        return {
            "ready": True,
            "plan": str(self.plan_path),
            "legacy": self._side_json("legacy", "s3-wire", "s3-old"),
            "target": self._side_json("target", "s3-new", "s3-new"),
            "front_door": layout.url("front") + "/",
            "admin": layout.url("admin"),
            "dir": str(layout.root),
            "ssh_config": str(layout.path("ssh_config")),
            "known_hosts": str(layout.path("known_hosts")),
            "scenario": self._scenario.name,
            "seed": self._seed,
            "pid": os.getpid(),
        }

    def _side_json(self, side: SideName, endpoint: str, store: str) -> dict[str, Any]:
        layout = self.layout
        hosts = {h.name: {"address": "127.0.0.1", "port": layout.port(h.name)} for h in HOSTS if h.side == side}
        s3 = {"endpoint": layout.url(endpoint), "bucket": BUCKETS[store]}
        return {"provider": PROVIDERS[side], "hosts": hosts, "chat": layout.url(f"chat-{side}") + "/", "s3": s3}

    async def __aenter__(self) -> Self:
        await self._stack.__aenter__()
        try:
            async with asyncio.timeout(60):
                await self._start()
        except BaseException:
            await self._stack.aclose()
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> bool | None:
        return await self._stack.__aexit__(kind, error, trace)

    async def _start(self) -> None:
        self._layout = layout = await asyncio.to_thread(claim, self._folder, self._seed)
        self._stack.callback(layout.close)
        self._stores = [StoreProcess(name, layout) for name in BUCKETS]
        for store in self._stores:
            self._stack.push_async_callback(store.stop)
            await store.start()
        self._build(layout)
        await asyncio.to_thread(self._prepare)
        clients = Clients(self._world, layout)
        front = FrontDoor(self._world, layout, clients.figures)
        await asyncio.to_thread(front.prepare)
        await self._open(front)
        async with aiohttp.ClientSession() as session:
            await asyncio.gather(*(store.ready(session) for store in self._stores))
            await fill(layout, session)
        self._player = player = Player(self._scenario, self._world, self._act, self._note)
        self._world.ready_at = time.monotonic()
        player.tick()
        group = await self._stack.enter_async_context(asyncio.TaskGroup())
        self._stack.callback(self._cancel)
        for work in self._work(clients, player):
            self._tasks.append(group.create_task(work))

    def _build(self, layout: Layout) -> None:
        self._wire = Wire(layout.sockets["s3-wire"], layout.port("s3-old"), self._damaged)
        for spec in HOSTS:
            root, side = layout.host_root(spec.name), self._world.side(spec.side)
            box = GpuBox(spec, self._world)
            self._boxes.append(box)
            training = None
            if spec.role == "training":
                training = Training(self._world, side, root, self._remember, self._tick_scenario)
                self._training[spec.side] = training
            else:
                self._chat[spec.side] = ChatService(self._world, side, layout, root)
            self._hosts.append(SimulatedHost(spec, layout, Shell(spec.name, root, box, training)))

        for name in SIDES:
            self._jobs[name] = Listener(functools.partial(self._jobs_health, name), layout.sockets[f"jobs-{name}"])

    async def _jobs_health(self, side: SideName, request: web.BaseRequest) -> web.StreamResponse:
        """What the submission queue's probes ask: does this side take jobs?"""
        return json_answer({"side": side, "ok": True, "writer": self._training[side].status})

    def _prepare(self) -> None:
        kept = self.layout.path("training.json")
        if kept.is_file():
            for side, writes in json.loads(kept.read_text()).items():
                self._world.side(side).writes_checkpoints = bool(writes)
        for training in self._training.values():
            training.prepare()
        for chat in self._chat.values():
            chat.prepare()
        self.plan_path.write_text(plan_text(self.layout))

    async def _open(self, front: FrontDoor) -> None:
        """Start every server of this process; each is stopped in reverse order."""
        if self._wire is None:
            raise SandboxError("the sandbox is not built")
        servers: list[_Server] = [self._wire, *self._hosts, *self._chat.values(), *self._jobs.values(), front]
        for server in servers:
            self._stack.push_async_callback(server.stop)
            await server.start()

    def _work(self, clients: Clients, player: Player) -> list[Coroutine[Any, Any, None]]:
        return [
            *(t.run() for t in self._training.values()),
            *(c.run() for c in self._chat.values()),
            clients.run(),
            ParallelRun(self._world, self.layout).run(),
            self._every(_SCENARIO_TICK, player.tick),
            self._every(_GPU_TICK, self._step_gpus),
        ]

    def _cancel(self) -> None:
        for task in self._tasks:
            task.cancel()

    async def _every(self, seconds: float, call: Callable[[], None]) -> None:
        while True:
            await asyncio.sleep(seconds)
            call()

    def _step_gpus(self) -> None:
        for box in self._boxes:
            box.step(_GPU_TICK)

    def _tick_scenario(self) -> None:
        if self._player is not None:
            self._player.tick()

    async def _remember(self) -> None:
        value = {side: self._world.side(side).writes_checkpoints for side in SIDES}
        await asyncio.to_thread(write_json, self.layout.path("training.json"), value)

    def _act(self, effect: Do) -> None:
        """The effects that are more than a number in the shared state."""
        if effect.kill is not None:
            self._world.side(effect.kill.side).is_dead = True
            self._chat[effect.kill.side].die()
            self._jobs[effect.kill.side].die()
            for host in self._hosts:
                if host.spec.side == effect.kill.side:
                    host.die()
        elif effect.damage is not None and self._wire is not None:
            self._wire.arm(BUCKETS["s3-old"], effect.damage.key)

    def _damaged(self, key: str) -> None:
        self._note({"damaged": key})

    def _note(self, what: dict[str, object]) -> None:
        line = json.dumps({"time": round(time.time(), 3)} | what) + "\n"
        with self.layout.path("scenario.jsonl").open("a") as file:
            file.write(line)
