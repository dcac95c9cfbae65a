"""`cutover sync` without an engine here, while an engine of another bastion has the migration (cutover.md, sections 1 and 5)."""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from backends.engine.journal import Journal
from backends.engine.lease import Holder, Lease, Standing
from backends.engine.lease_place import place_of
from backends.plan.load import parse_plan
from backends.probes.hosts import ssh_hosts
from backends.ssh.models import SshSettings
from backends.ssh.pool import SshPool
from tests.backends.stores.conftest import new_bucket, s3_store
from tests.peers.fault_proxy import FaultProxy, fault_proxy
from tests.peers.openssh import OpenSsh, openssh
from tests.peers.seaweedfs import SeaweedFs

LASTS = 1.5  # seconds
PLAN = """
version: 1
name: chat
legacy: {{provider: a}}
target: {{provider: b}}
stores:
  old: {{url: "file://{folder}/old/"}}
  new: {{url: "file://{folder}/new/"}}
  shared: {{url: "s3://{bucket}/leases/", endpoint: "{endpoint}", access_key: "{access}", secret_key: "{secret}"}}
datasets: [{{name: corpus, from: old, to: new, follow: 1s}}]
lease: {{store: shared, duration: {lasts}s}}
"""
ON_A_HOST = """
version: 1
name: chat
legacy: {{provider: a, hosts: [{host}]}}
target: {{provider: b}}
stores:
  old: {{url: "ssh://box{folder}/old/"}}
  new: {{url: "file://{folder}/new/"}}
datasets: [{{name: corpus, from: old, to: new, follow: 1s}}]
lease: {{host: box, duration: {lasts}s}}
"""


@dataclass
class Here:
    """This bastion: its folder and its plan, over two local trees."""

    folder: Path
    link: FaultProxy | None = None  # the way to the lease's store
    ssh: OpenSsh | None = None  # the host of the lease and of the source

    @property
    def plan(self) -> Path:
        return self.folder / "plan.yaml"

    @property
    def copied(self) -> bool:
        return (self.folder / "new" / "a").exists()

    async def sync(self, *args: str) -> tuple[int, dict[str, Any], str]:
        """Exit code, JSON and what was told."""
        argv = [sys.executable, "-c", "from console.main import main; main()", "sync", str(self.plan)]
        argv += ["--state", str(self.folder / "state"), "--json", *args]
        if self.ssh is not None:
            argv += ["-F", str(self.ssh.config), "--known-hosts", str(self.ssh.known_hosts)]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*argv, stdout=pipe, stderr=pipe)
        try:
            async with asyncio.timeout(30):
                out, told = await process.communicate()
        finally:
            with contextlib.suppress(ProcessLookupError):
                process.kill()
        assert process.returncode is not None
        return process.returncode, json.loads(out), told.decode()


def make_trees(folder: Path) -> None:
    for name in ("old", "new", "state"):
        (folder / name).mkdir()
    (folder / "old" / "a").write_text("a")


@pytest_asyncio.fixture
async def here(tmp_path: Path, weed: SeaweedFs) -> AsyncIterator[Here]:
    bucket = new_bucket()
    async with s3_store(weed, bucket) as made:
        await made.create_bucket()
    make_trees(tmp_path)
    async with fault_proxy(weed.endpoint) as link:
        keys = {"endpoint": link.endpoint, "access": weed.access_key, "secret": weed.secret_key}
        (tmp_path / "plan.yaml").write_text(PLAN.format(folder=tmp_path, bucket=bucket, lasts=LASTS, **keys))
        yield Here(tmp_path, link)


@asynccontextmanager
async def elsewhere(here: Here, standing: Standing | None = None, *, lives: bool = True) -> AsyncIterator[Lease]:
    """The lease of another bastion's engine, renewed while that `lives`."""
    plan = parse_plan(here.plan.read_text(), here.plan).plan
    assert plan is not None
    at = standing or Standing(0, "", "preparing", False)

    async def hash_at(seq: int) -> str | None:
        return at.hash

    settings = here.ssh.settings if here.ssh is not None else SshSettings()
    async with SshPool(settings, [host for _, host in ssh_hosts(plan)]) as pool:
        place = place_of(plan, ssh=pool, base=here.folder)
        assert place is not None
        lease = Lease(place, "chat", LASTS, Holder("other", "ops@two:/state"), standing=lambda: at, hash_at=hash_at)
        await lease.take()
        assert lease.is_held
        renewing = asyncio.create_task(lease.run())
        if not lives:
            renewing.cancel()
        try:
            yield lease
        finally:
            renewing.cancel()
            await asyncio.gather(renewing, return_exceptions=True)
            await place.close()


async def test_a_sync_by_hand_is_refused_while_an_engine_elsewhere_has_the_migration(here: Here) -> None:
    async with elsewhere(here):
        code, told, _ = await here.sync()
        looked = await here.sync("--dry-run")
    error = told["error"]
    assert (looked[0], looked[1]["datasets"][0]["listed"]) == (0, 1), "a look writes nothing"
    assert (code, told["refused_by"]) == (3, "LEASE")
    assert "the engine of ops@two:/state has this migration, until " in error["message"]
    assert error["hint"].startswith("cutover sync there: that engine does the round; or cutover down there")
    assert not here.copied


async def test_once_the_engine_elsewhere_has_given_it_up_a_sync_goes_on(here: Here) -> None:
    async with elsewhere(here) as lease:
        await lease.release()
    assert (await here.sync())[0] == 0
    assert here.copied


@pytest.mark.slow
async def test_an_engine_elsewhere_that_is_dead_keeps_nobody_from_syncing_once_its_lease_has_ended(here: Here) -> None:
    async with elsewhere(here, lives=False):
        assert (await here.sync())[0] == 0


async def test_what_target_has_written_is_not_overwritten_by_a_bastion_that_does_not_know_of_it(here: Here) -> None:
    """The journal that says who writes lies elsewhere, and its engine has ended."""
    async with elsewhere(here, Standing(30, "f" * 64, "dual", True)) as lease:
        await lease.release()
    code, told, _ = await here.sync()
    assert (code, told["refused_by"]) == (3, "LEASE")
    assert "the journal of this migration (dual, 30 events) lies at ops@two:/state" in told["error"]["message"]
    assert not here.copied


@pytest.mark.slow
async def test_a_sync_that_follows_ends_when_an_engine_elsewhere_takes_the_migration(here: Here) -> None:
    following = asyncio.create_task(here.sync("--follow"))
    await copied(here.folder / "new" / "a")
    async with elsewhere(here):
        code, told, _ = await following
    assert (code, told["refused_by"]) == (3, "LEASE")


async def test_a_link_that_is_cut_takes_neither_the_copy_nor_the_sight_of_the_lease_that_share_it(tmp_path: Path) -> None:
    """The lease lies on the source's host, and is looked at by the connection that copies."""
    make_trees(tmp_path)
    async with openssh(tmp_path / "sshd") as sshd:
        host = f"{{name: box, address: {sshd.address}, port: {sshd.port}, user: {sshd.user}}}"
        (tmp_path / "plan.yaml").write_text(ON_A_HOST.format(folder=tmp_path, host=host, lasts=LASTS))
        here = Here(tmp_path, ssh=sshd)
        following = asyncio.create_task(here.sync("--follow"))
        await copied(tmp_path / "new" / "a")
        assert sshd.sessions() == 1
        sshd.kill_sessions()
        (tmp_path / "old" / "b").write_text("b")
        await copied(tmp_path / "new" / "b")
        async with elsewhere(here):
            code, told, _ = await following
    assert (code, told["refused_by"]) == (3, "LEASE")


async def copied(path: Path) -> None:
    async with asyncio.timeout(20):
        while not path.exists():  # noqa: ASYNC110 - by a process of its own: nothing else tells
            await asyncio.sleep(0.05)


@pytest.mark.parametrize("has_begun", [False, True])
async def test_a_place_that_cannot_be_asked_refuses_where_a_migration_has_begun_and_is_told_elsewhere(
    here: Here, has_begun: bool
) -> None:
    if has_begun:
        journal = Journal(here.folder / "state")
        await journal.open()
        await journal.append("created", {"name": "chat"}, actor="test", observed=0.0)
        await journal.close()
    assert here.link is not None
    here.link.add("refuse")
    code, told, said = await here.sync()
    if has_begun:
        assert (code, told["refused_by"]) == (3, "LEASE")
        assert "nobody can say whether an engine elsewhere writes" in told["error"]["message"]
    else:
        assert code == 0
        assert "the lease at store shared cannot be asked" in said
    assert here.copied is not has_begun
