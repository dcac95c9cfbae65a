"""Processes on a host that still name legacy: asked over OpenSSH, told by the name of the variable, the value left where it is."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from backends.plan.load import parse_plan
from backends.reconfigure.mapping import Mapping
from backends.reconfigure.processes import look_at_hosts
from backends.ssh.models import SshSettings
from backends.ssh.pool import SshPool
from tests.peers.openssh import openssh

PLAN = """\
version: 1
name: m
legacy: {{provider: a}}
target: {{provider: b, hosts: [{{name: new-1, address: {address}, port: {port}, user: {user}}}, {{name: gone, address: 127.0.0.1, port: 9}}]}}
stores: {{old: {{url: "s3://a-bucket-of-legacy/"}}, new: {{url: "s3://new/"}}}}
datasets: [{{name: d, from: old, to: new}}]
"""


async def test_a_process_whose_environment_names_legacy_is_found_and_its_value_stays(tmp_path: Path) -> None:
    from backends.probes.hosts import ssh_hosts

    async with openssh(tmp_path / "ssh") as server:
        text = PLAN.format(address=server.address, port=server.port, user=server.user)
        plan = parse_plan(text, tmp_path / "plan.yaml").plan
        assert plan is not None
        env = {"DATA": "s3://a-bucket-of-legacy/hunter2", "OTHER": "x"}
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-c",
            "import sys; print('up', flush=True); sys.stdin.read()",
            env=env,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
        )
        try:
            assert child.stdout is not None
            await child.stdout.readline()
            settings = SshSettings(config=server.config, known_hosts=server.known_hosts, connect_timeout=5.0)
            async with SshPool(settings, [host for _, host in ssh_hosts(plan)]) as pool:
                seen, gone = await look_at_hosts(plan, Mapping(plan), pool)
        finally:
            child.kill()
            await child.wait()
    mine = [p for p in seen.found if p.pid == child.pid]
    assert [(p.variable, p.kind, p.text) for p in mine] == [
        ("DATA", "store", "s3://a-bucket-of-legacy"),
        ("DATA", "store", "a-bucket-of-legacy"),
    ]
    assert "hunter2" not in repr(seen)
    assert gone.error
