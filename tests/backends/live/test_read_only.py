"""A live check changes nothing on the hosts: every write of theirs goes into a layer that the test looks into, and nobody calls sudo."""

from __future__ import annotations

from pathlib import Path

from backends.ssh.pool import SshPool
from tests.backends.live.sides import IMAGE, WORKLOAD, codes, host, look, trust
from tests.peers.planted_host import Planted, planted_host, written

PLAN = "version: 1\nname: move\nlegacy: {{provider: old, hosts: [{legacy}]}}\ntarget: {{provider: new, hosts: [{target}]}}\n"


async def test_a_live_check_writes_nothing_on_a_host_and_needs_no_sudo(tmp_path: Path) -> None:
    folder = tmp_path / "bin"
    planted = Planted(notes_writes=True, tools=("sudo", "doas", "su"), images={IMAGE: {"Id": "sha256:aa"}})
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "a").write_bytes(b"a")
    (tmp_path / "copy").mkdir()
    async with (
        planted_host(tmp_path / "old", planted, folder) as (old, _),
        planted_host(tmp_path / "new", planted, folder) as (new, _),
    ):
        for tool in planted.tools:
            (folder / tool).write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/called-{tool}\n')
        path = tmp_path / "plan.yaml"
        path.write_text(
            PLAN.format(legacy=host("old-1", old), target=host("new-1", new))
            + trust(tmp_path, old, new)
            + f"stores: {{from: {{url: 'ssh://old-1{tmp_path}/data/'}}, to: {{url: 'ssh://new-1{tmp_path}/copy/'}}}}\n"
            "datasets: [{name: data, from: from, to: to, reverse: true}]\n"
            + WORKLOAD.replace("TARGETS", "new-1").replace("DATASETS", "data")
        )
        async with SshPool(
            old.settings, [old.host("old-1")]
        ) as pool:  # what sshd itself leaves of a session, and that writes are seen
            await pool.run("old-1", ["touch", f"{tmp_path}/seen"], timeout=20)
        before = await written(old), await written(new)
        assert any(name.endswith("/seen") for name in before[0])
        looked = await look(path)
        after = await written(old), await written(new)
    assert codes(looked) == [("container_toolkit", ("new-1",)), ("container_toolkit", ("old-1",))]
    log = f"{folder}/calls".lstrip("/")  # of the scripted nvidia-smi, which notes that it was called
    for was, now in zip(before, after, strict=True):
        changed = {name for name in {*was, *now} if was.get(name) != now.get(name)}
        assert log in changed
        assert {name for name in changed if not log.startswith(name)} == set()
