"""The submission queue as a route: partitions of a real Slurm, over a real sshd."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from backends.children import Children
from backends.plan.models import Route as RouteSpec
from backends.ssh.pool import SshPool
from backends.traffic.base import ForeignChange, Route, RouteError
from backends.traffic.open import open_route
from tests.backends.traffic.asked import refused_before_the_change
from tests.peers.openssh import openssh
from tests.peers.slurm import Slurm, slurm


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Slurm]:
    async with slurm(tmp_path_factory.mktemp("slurm")) as running:
        yield running


@pytest.fixture
async def pool(cluster: Slurm, tmp_path: Path) -> AsyncIterator[SshPool]:
    async with openssh(tmp_path / "sshd", env=cluster.env) as server, SshPool(server.settings, [server.host()]) as opened:
        yield opened
    await cluster.reset()


def queue(pool: SshPool, base: Path, **more: object) -> Route:
    spec = {"legacy": "old", "target": "new", "hosts": {"legacy": "box", "target": "box"}} | more
    model = RouteSpec.model_validate({"name": "jobs", "workload": "w", "slurm": spec, "steps": [100]})
    return open_route(model, base=base, children=Children(), pool=pool)


async def test_new_jobs_go_to_one_side_and_then_to_the_other(cluster: Slurm, pool: SshPool, tmp_path: Path) -> None:
    jobs = queue(pool, tmp_path)
    assert (await jobs.read()).is_at(0)
    await jobs.set(100, 0)
    assert (await cluster.state("old"), await cluster.state("new")) == ("DRAIN", "UP")
    seen = await jobs.confirm(100)
    assert (seen.is_confirmed, seen.data_plane) == (True, True), seen
    assert "new takes a job, old refuses one" in seen.detail
    await jobs.set(0, 100)
    assert (await jobs.confirm(0)).is_confirmed
    await jobs.set(0, None)
    assert (await cluster.state("old"), await cluster.state("new")) == ("UP", "DRAIN")


async def test_with_hold_the_closed_side_keeps_what_is_submitted(cluster: Slurm, pool: SshPool, tmp_path: Path) -> None:
    jobs = queue(pool, tmp_path, queue="hold")
    await jobs.set(100, 0)
    assert await cluster.state("old") == "DOWN"
    waiting = await cluster.submit("old", "true")
    await jobs.set(0, 100)
    await cluster.until_job(waiting, "COMPLETED")


async def test_what_runs_on_target_is_told_and_ends_there(cluster: Slurm, pool: SshPool, tmp_path: Path) -> None:
    jobs = queue(pool, tmp_path)
    await jobs.set(100, 0)
    running = await cluster.submit("new", "sleep 300")
    await cluster.until_job(running, "RUNNING")
    await jobs.set(0, 100)
    left = await jobs.clients()
    assert (left.has_left, left.detail) == (True, "1 jobs are left in new, and end there")


async def test_both_open_is_somebody_elses_and_both_closed_is_told(cluster: Slurm, pool: SshPool, tmp_path: Path) -> None:
    jobs = queue(pool, tmp_path)
    await cluster.set_state("new", "UP")
    seen = await jobs.read()
    assert "both partitions open" in seen.foreign
    with pytest.raises(ForeignChange):
        await jobs.set(100, 0)
    await jobs.set(0, None)
    assert (await jobs.read()).is_at(0)
    await cluster.set_state("old", "DOWN")
    with pytest.raises(RouteError, match="neither partition takes jobs") as caught:
        await jobs.read()
    assert "State=UP" in caught.value.hint


async def test_a_queue_takes_all_or_nothing_and_names_what_is_not_there(pool: SshPool, tmp_path: Path) -> None:
    with pytest.raises(RouteError, match="all or nothing"):
        await queue(pool, tmp_path).set(50, None)
    with pytest.raises(RouteError, match="route jobs"):
        await queue(pool, tmp_path, target="absent").read()


async def test_it_is_asked_once_more_just_before_the_change(cluster: Slurm, pool: SshPool, tmp_path: Path) -> None:
    await refused_before_the_change(queue(pool, tmp_path), 100)
