"""Preflight measured: a real sshd and agent, local trees, a process without the login, a clock that is off, a disk that is full."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml

from backends.cutover.migration import Migration
from backends.cutover.preflight import Proof
from backends.engine.credentials import NOBODY_SAYS, ends_of
from backends.engine.preflight import Preflight
from backends.engine.world import LiveWorld
from backends.plan.load import parse_plan, require_good
from backends.plan.models import Store
from backends.stores.open import open_store
from backends.stores.s3 import S3Store
from tests.peers.openssh import OpenSsh, openssh
from tests.peers.seaweedfs import ADMIN, SeaweedFs


class SmallDesk:
    """As much of the engine's desk as measuring needs."""

    def __init__(self, text: str, folder: Path) -> None:
        checked = require_good(parse_plan(text, folder / "plan.yaml"))
        assert checked.plan is not None
        self.plan, self.base = checked.plan, folder
        self.migration = Migration(plan_text=text, plan_path=str(folder / "plan.yaml"))
        self.recovering = self.is_going_back = False
        self.world = LiveWorld(self.plan, folder, folder / "state", self)

    def observed_now(self) -> float:
        return 7.0

    def stamp(self) -> float:
        return 7.0

    def touch(self) -> None:
        """Nobody watches."""


@asynccontextmanager
async def measured(folder: Path, **parts: Any) -> AsyncIterator[dict[str, Proof]]:
    """Every proof of a plan made of these parts."""
    plan = {"version": 1, "name": "small", "legacy": {"provider": "a"}, "target": {"provider": "b"}} | parts
    (folder / "state").mkdir(exist_ok=True)
    desk: Any = SmallDesk(yaml.safe_dump(plan), folder)
    async with desk.world:
        await Preflight(desk, folder / "state").prove()
        yield desk.world.proofs


@pytest.fixture
async def sshd(tmp_path: Path) -> AsyncIterator[OpenSsh]:
    async with openssh(tmp_path / "sshd") as server:
        yield server


def with_host(sshd: OpenSsh, config: Path | None = None) -> dict[str, Any]:
    host = {"name": "old-1", "address": sshd.address, "port": sshd.port, "user": sshd.user}
    return {
        "legacy": {"provider": "a", "hosts": [host]},
        "ssh": {"config": str(config or sshd.config), "known_hosts": str(sshd.known_hosts)},
    }


def trees(folder: Path) -> dict[str, Any]:
    for side in ("legacy", "target"):
        (folder / side).mkdir()
        (folder / side / "a.bin").write_bytes(b"x" * 1000)
    return {
        "stores": {s: {"url": f"file://{folder}/{s}/"} for s in ("legacy", "target")},
        "datasets": [{"name": "ckpt", "from": "legacy", "to": "target", "reverse": True}],
    }


async def test_a_host_with_a_key_file_and_two_trees_prove_everything(tmp_path: Path, sshd: OpenSsh) -> None:
    async with measured(tmp_path, **with_host(sshd), **trees(tmp_path)) as proofs:
        assert {name: p.good for name, p in proofs.items()} == dict.fromkeys(
            ("hosts", "clocks", "store:legacy", "store:target", "reverse:ckpt", "login", "disk"), True
        ), proofs
    assert "1 hosts within" in proofs["clocks"].evidence
    assert proofs["hosts"].at == 7.0


async def test_trying_the_way_back_changes_neither_side(tmp_path: Path) -> None:
    parts = trees(tmp_path)
    before = sorted(p.name for side in ("legacy", "target") for p in (tmp_path / side).iterdir())
    async with measured(tmp_path, **parts) as proofs:
        assert "1000 bytes written, read back and deleted" in proofs["reverse:ckpt"].evidence
    assert sorted(p.name for side in ("legacy", "target") for p in (tmp_path / side).iterdir()) == before
    assert not [p for p in (tmp_path / "legacy.cutover-try").rglob("*") if p.is_file()]


@pytest.mark.skipif(os.geteuid() == 0, reason="root writes everywhere")
async def test_a_legacy_that_cannot_be_written_is_told_before_it_is_needed(tmp_path: Path) -> None:
    parts = trees(tmp_path)
    (tmp_path / "legacy.cutover-try").mkdir(mode=0o500)
    async with measured(tmp_path, **parts) as proofs:
        assert proofs["reverse:ckpt"].good is not True


async def test_a_target_that_is_gone_proves_no_way_back(tmp_path: Path) -> None:
    parts = trees(tmp_path)
    parts["stores"]["target"]["url"] = f"file://{tmp_path}/gone/"
    async with measured(tmp_path, **parts) as proofs:
        assert proofs["reverse:ckpt"].good is None
        assert proofs["store:target"].good is False


@pytest.fixture
def agent(tmp_path: Path) -> Iterator[str]:
    """An ssh-agent of the test's own."""
    socket = tmp_path / "agent.sock"
    process = subprocess.Popen(["ssh-agent", "-D", "-a", str(socket)], stdout=subprocess.DEVNULL)
    try:
        yield str(socket)
    finally:
        process.terminate()
        process.wait()


async def until_it_listens(socket: str) -> None:
    """Its socket is there a moment before anybody answers at it, and it tells nobody."""
    async with asyncio.timeout(10):
        while True:
            try:
                _, writer = await asyncio.open_unix_connection(socket)
            except (FileNotFoundError, ConnectionRefusedError):
                await asyncio.sleep(0.01)
            else:
                writer.close()
                return await writer.wait_closed()


async def test_a_host_that_answers_only_by_the_logins_agent_ends_with_your_login(
    tmp_path: Path, sshd: OpenSsh, agent: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    await until_it_listens(agent)
    added = await asyncio.create_subprocess_exec(
        "ssh-add", "-q", str(sshd.folder / "id_ed25519"), env={"SSH_AUTH_SOCK": agent, "PATH": os.environ["PATH"]}
    )
    assert await added.wait() == 0
    monkeypatch.setenv("SSH_AUTH_SOCK", agent)
    monkeypatch.setenv("HOME", str(tmp_path))
    bare = tmp_path / "no-key"
    bare.write_text("Host *\n")
    async with measured(tmp_path, **with_host(sshd, bare)) as proofs:
        assert proofs["clocks"].good is True, "with the agent it answers"
        assert proofs["hosts"].good is False
        assert proofs["hosts"].evidence.startswith("ends with your login (SSH_AUTH_SOCK")


async def test_a_clock_that_is_off_is_named(tmp_path: Path) -> None:
    fake = tmp_path / "bin" / "date"
    fake.parent.mkdir()
    fake.write_text("#!/bin/sh\necho $(( $(/bin/date +%s) + 3 )).5\n")
    fake.chmod(0o755)
    async with (
        openssh(tmp_path / "sshd", env={"PATH": f"{fake.parent}:/usr/bin:/bin"}) as server,
        measured(tmp_path, **with_host(server)) as proofs,
    ):
        assert proofs["clocks"].good is False
        assert "old-1 +3." in proofs["clocks"].evidence or "old-1 +2." in proofs["clocks"].evidence


async def test_capacity_is_what_the_plans_command_says(tmp_path: Path) -> None:
    for status, good in ((0, True), (1, False)):
        script = tmp_path / f"carry-{status}"
        script.write_text(f"#!/bin/sh\necho 12 of 12 GPUs\nexit {status}\n")
        script.chmod(0o700)
        async with measured(tmp_path, capacity={"command": [f"./{script.name}"]}) as proofs:
            assert proofs["capacity"].good is good
            assert "12 of 12 GPUs" in proofs["capacity"].evidence


async def test_a_disk_that_is_nearly_full_lowers_before_it_is_full(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("backends.engine.preflight.FREE_BYTES", 1 << 62)
    async with measured(tmp_path) as proofs:
        assert proofs["disk"].good is False


async def test_a_whole_bucket_is_tried_by_an_upload_that_is_ended(tmp_path: Path, weed: SeaweedFs) -> None:
    bucket = "preflight-whole"
    keys = {"access_key": ADMIN[0], "secret_key": ADMIN[1]}
    parts = trees(tmp_path)
    parts["stores"]["legacy"] = {"url": f"s3://{bucket}/", "endpoint": weed.endpoint, **keys}
    store = open_store("legacy", Store.model_validate(parts["stores"]["legacy"]), ssh=None, base=tmp_path)
    assert isinstance(store, S3Store)
    await store.create_bucket()
    async with measured(tmp_path, **parts) as proofs:
        assert proofs["reverse:ckpt"].good is True, proofs["reverse:ckpt"]
        assert "upload that was ended again" in proofs["reverse:ckpt"].evidence
        assert proofs["store:legacy"].good is True
    try:
        assert await store.list_uploads() == []
        assert [page async for page in store.list_pages() if page] == []
    finally:
        await store.close()


def test_when_a_shared_access_signature_ends_is_read_from_it() -> None:
    spec = Store.model_validate({"url": "az://a/c/", "session_token": "?sv=2024&se=2027-01-01T00:00:00Z&sig=x"})
    assert ends_of("s", spec, Path("/")) == 1798761600.0
    bare = Store.model_validate({"url": "s3://b/", "access_key": "a", "secret_key": "b", "session_token": "t"})
    assert ends_of("s", bare, Path("/")) == NOBODY_SAYS
    assert ends_of("s", Store.model_validate({"url": "s3://b/"}), Path("/")) is None
