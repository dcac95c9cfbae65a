"""From the plan to what SSH needs. Paths of the plan are relative to its folder; `~` is the operator's home."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from backends.plan.models import Plan
from backends.ssh.models import SshHost, SshSettings
from backends.vocabulary import SIDES, SideName

LOCAL = "local"  # the address of the engine's own machine


def ssh_settings(plan: Plan, base: Path) -> SshSettings:
    """The plan's `ssh` block; what it leaves out is the operator's own configuration."""
    return SshSettings(
        config=_path(plan.ssh.config, base),
        known_hosts=_path(plan.ssh.known_hosts, base),
        connect_timeout=plan.ssh.connect_timeout,
    )


def ssh_hosts(plan: Plan) -> tuple[tuple[SideName, SshHost], ...]:
    """Every host of the plan with its side, in the plan's order."""
    return tuple(
        (side, SshHost(name=host.name, address=host.address, user=host.user, port=host.port, via=host.via))
        for side in SIDES
        for host in plan.side(side).hosts
    )


def dcgm_pages(plan: Plan) -> dict[str, str]:
    """The dcgm-exporter of each host that the plan names one for."""
    return {host.name: host.dcgm for side in SIDES for host in plan.side(side).hosts if host.dcgm is not None}


def watched_paths(plan: Plan) -> dict[str, tuple[str, ...]]:
    """The paths of each host whose disks and inodes matter: its root, and where the plan's stores lie on it."""
    paths: dict[str, list[str]] = {host.name: ["/"] for _, host in ssh_hosts(plan)}
    for store in plan.stores.values():
        parts = urlsplit(store.url)
        name = parts.netloc.rpartition("@")[2].partition(":")[0]
        if parts.scheme == "ssh" and name in paths:
            paths[name].append(unquote(parts.path).rstrip("/") or "/")
    return {name: tuple(dict.fromkeys(found)) for name, found in paths.items()}


def _path(text: str | None, base: Path) -> Path | None:
    return base / Path(text).expanduser() if text else None
