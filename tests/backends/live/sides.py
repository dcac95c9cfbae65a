"""Plans for a live look, over hosts that a test has planted."""

from __future__ import annotations

from pathlib import Path

from backends.live.look import Looked, look_live
from backends.plan.load import load_plan
from backends.probes.hosts import ssh_hosts, ssh_settings
from backends.ssh.pool import SshPool
from tests.peers.openssh import OpenSsh

IMAGE = "corp/chat:v3"
GPUS = "gpus: {type: H100-SXM5-80GB, count: 2}"
WORKLOAD = """
workloads:
  - name: chat
    class: realtime
    gpus: {count: 2, memory_gb: 60}
    framework: {name: pytorch, version: "2.4", cuda: "12.4", image: "corp/chat:v3"}
    host_memory: 1 GiB
    runs_on: {legacy: [old-1], target: [TARGETS]}
    datasets: [DATASETS]
"""


def trust(folder: Path, *servers: OpenSsh) -> str:
    """The plan's `ssh` block for all of them."""
    (folder / "known_hosts").write_text("".join(s.known_hosts.read_text() for s in servers))

    lines = "".join(f"  IdentityFile {s.folder}/id_ed25519\n" for s in servers)
    (folder / "ssh_config").write_text(f"Host *\n{lines}  IdentitiesOnly yes\n")
    return f"ssh: {{config: {folder}/ssh_config, known_hosts: {folder}/known_hosts, connect_timeout: 5s}}\n"


def host(name: str, server: OpenSsh, more: str = GPUS) -> str:
    return f"{{name: {name}, address: {server.address}, port: {server.port}, user: {server.user}, {more}}}"


async def look(path: Path) -> Looked:
    checked = load_plan(path)
    assert checked.plan is not None
    async with SshPool(ssh_settings(checked.plan, path.parent), [h for _, h in ssh_hosts(checked.plan)]) as pool:
        return await look_live(checked, pool)


def codes(looked: Looked) -> list[tuple[str, tuple[str, ...]]]:
    """Code and hosts of each problem, sorted."""
    return sorted((p.problem.code, p.hosts) for p in looked.problems)
