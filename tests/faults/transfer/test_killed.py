"""kill -9 of a real `cutover sync` at random moments, then the same command again: nothing lost, nothing wrong, little sent twice.

The moment is a request that the proxy before the target hears: the process dies with it in the air. What the second run sends that
had been answered in the first is counted by the proxy, not by us.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from backends.stores import s3_probe
from tests.faults.transfer.rig import Rig, assert_same, is_begin, is_complete, is_part, is_put, put
from tests.peers.fault_proxy import Request, Seen

CUTOVER = [sys.executable, "-c", "from console.main import main; main()"]
PART = 8 << 20  # of the real command
PARALLEL = 6
OBJECTS = {f"set/{i:03}": random.Random(i).randbytes(1500 + 37 * i) for i in range(60)} | {
    "set/010-big": random.Random(77).randbytes(3 * PART + 99)
}


@dataclass
class Command:
    """`cutover sync` and `verify` of the rig's two stores, as processes."""

    rig: Rig
    folder: Path

    def write_plan(self) -> None:
        keys = 'access_key: "${env:KEY}", secret_key: "${env:SECRET}"'
        stores = "".join(
            f'  {side}: {{url: "s3://faults/{self.rig.prefix}{side}/", endpoint: "{endpoint}", {keys}}}\n'
            for side, endpoint in (("old", self.rig.legacy.endpoint), ("new", self.rig.other.endpoint))
        )
        (self.folder / "plan.yaml").write_text(
            "version: 1\nname: killed\nlegacy: {provider: a}\ntarget: {provider: b}\n"
            f"stores:\n{stores}datasets:\n  - {{name: d, from: old, to: new}}\ntransfer: {{parallel: {PARALLEL}}}\n"
        )

    async def start(self, command: str, *args: str) -> asyncio.subprocess.Process:
        env = {**os.environ, "KEY": self.rig.server.access_key, "SECRET": self.rig.server.secret_key}
        state = ["--state", str(self.folder / "state"), "--json"]
        argv = [*CUTOVER, command, str(self.folder / "plan.yaml"), *state, *args]
        return await asyncio.create_subprocess_exec(*argv, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)

    async def to_end(self, command: str, *args: str) -> dict[str, Any]:
        process = await self.start(command, *args)
        out, err = await process.communicate()
        assert process.returncode == 0, f"{out.decode()}{err.decode()}"
        found: dict[str, Any] = json.loads(out)["datasets"][0]
        return found

    async def killed_at(self, when: Callable[[Request], bool], after: int, *, answered: bool) -> bool:
        """Kill it at the request number `after` that fits; False where it came to its end before."""
        process = await self.start("sync")

        def kill(request: Request) -> None:
            os.kill(process.pid, signal.SIGKILL)

        rule = self.rig.other.add("call_after" if answered else "call", when, after=after, then=kill)
        await process.communicate()
        self.rig.other.rules.remove(rule)
        return rule.struck == 1


@pytest_asyncio.fixture
async def command(rig: Rig, tmp_path: Path) -> AsyncIterator[Command]:
    made = Command(rig, tmp_path)
    made.write_plan()
    yield made


def arrived(seen: list[Seen]) -> set[tuple[str, str]]:
    """(path, part number) of each body that the store had taken."""
    return {_what(s.request) for s in seen if _is_body(s.request) and s.status == 200}


def _is_body(request: Request) -> bool:
    return is_put(request) or is_part(request)


def _what(request: Request) -> tuple[str, str]:
    return request.path, request.query.get("partNumber", "")


async def check(command: Command, *, streams: int = PARALLEL) -> None:
    """The second run, and all that must be true after it."""
    rig = command.rig
    before = arrived(rig.other.seen)
    rig.other.seen.clear()
    second = await command.to_end("sync")
    twice = [s.request for s in rig.other.seen if _is_body(s.request) and _what(s.request) in before]
    sent_again = sum(len(request.body) for request in twice)
    assert len(twice) <= streams
    assert sent_again <= second["resent_bytes"] + PART
    assert (second["failed"], second["lag"]["objects"]) == (0, 0)
    await assert_same(rig.new, OBJECTS)
    assert await rig.new.list_uploads() == []
    verified = await command.to_end("verify", "--re-read")
    assert (verified["checked"], verified["equal"]) == (len(OBJECTS), len(OBJECTS))


@pytest.mark.parametrize("answered", [True, False], ids=["answered", "unheard"])
@pytest.mark.parametrize("when", [lambda r: is_begin(r) and not is_probe(r), is_complete], ids=["begin", "complete"])
async def test_a_death_at_the_beginning_or_end_of_an_upload_leaves_none_open(
    command: Command, when: Callable[[Request], bool], answered: bool
) -> None:
    """Between CreateMultipartUpload's answer and our note of its id, too."""
    await put(command.rig.old, OBJECTS)
    assert await command.killed_at(when, 0, answered=answered)
    await check(command)


async def test_the_upload_of_a_probe_that_was_killed_is_ended_by_a_later_probe(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    key = ".cutover-probe/left"
    await put(rig.new, {key: b""})
    upload = await rig.new.create_upload(key)
    assert await rig.new.list_parts(key, upload) == []
    monkeypatch.setattr(s3_probe, "_STALE", timedelta(hours=-1))  # as if it had been begun long ago
    await rig.target.prepare()
    assert await rig.new.list_parts(key, upload) is None
    assert await rig.new.head(key) is None


def is_probe(request: Request) -> bool:
    """Of what finds out at the start of a run what the store can do."""
    return "cutover-probe" in request.path


async def test_an_upload_that_somebody_else_has_open_is_left_alone(command: Command) -> None:
    """Of the same key, begun before, with a part in it; and of another key."""
    rig = command.rig
    await put(rig.old, OBJECTS)
    theirs = await rig.new.create_upload("set/010-big")
    await rig.new.write_part("set/010-big", theirs, 1, 0, b"theirs", crc64nvme=_crc(b"theirs"))
    other = await rig.new.create_upload("elsewhere")
    assert await command.killed_at(lambda r: is_begin(r) and not is_probe(r), 0, answered=True)
    second = await command.to_end("sync")
    assert (second["failed"], second["lag"]["objects"]) == (0, 0)
    assert sorted(await rig.new.list_uploads()) == sorted([("set/010-big", theirs), ("elsewhere", other)])
    await assert_same(rig.new, OBJECTS)


def _crc(body: bytes) -> str:
    from backends.stores.checksum import crc64nvme

    return crc64nvme(body)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(20))
async def test_kill_9_at_a_random_moment(command: Command, number: int) -> None:
    rig, chance = command.rig, random.Random(number)
    await put(rig.old, OBJECTS)
    requests = len(OBJECTS) + 6  # to the target: a write each, and those of the large one
    moment, answered = chance.randrange(requests), chance.random() < 0.5
    killed = await command.killed_at(lambda request: True, moment, answered=answered)
    print(
        f"killed at request {moment}, {'answered' if answered else 'unheard'}: {killed}; arrived {len(arrived(rig.other.seen))}"
    )
    assert killed
    await check(command)


@pytest.mark.slow
async def test_killed_again_and_again_it_still_comes_to_its_end(command: Command) -> None:
    """Every run dies a little later than the one before."""
    await put(command.rig.old, OBJECTS)
    kills = 0
    while await command.killed_at(_is_body, 9, answered=bool(kills % 2)):
        kills += 1
        assert kills <= len(OBJECTS)
    assert kills >= 4
    await check(command)
