"""From the plan's workload to the thing that stops and starts it."""

from __future__ import annotations

from pathlib import Path

from backends.children import Children
from backends.errors import NotYetSupported
from backends.plan.models import Workload
from backends.plan.ways import Way
from backends.ssh.pool import SshPool
from backends.vocabulary import SIDES, SideName
from backends.workloads.base import WorkloadControl
from backends.workloads.command import CommandSide
from backends.workloads.control import Control, SideControl
from backends.workloads.place import Places
from backends.workloads.slurm import SlurmSide
from backends.workloads.systemd import SystemdSide


def open_workload(spec: Workload, pool: SshPool, *, base: Path, children: Children) -> WorkloadControl | None:
    """How the plan stops this workload; None where it names no way. `base` is the plan's folder. Contacts nothing yet."""
    if spec.quiesce is None:
        return None
    hosts: dict[SideName, tuple[str, ...]] = {"legacy": spec.runs_on.legacy, "target": spec.runs_on.target}
    ways = {side: way for side in SIDES if (way := spec.quiesce.way(side)) is not None}
    places = {side: Places((None,) if way.on == "engine" else hosts[side], pool, children, base) for side, way in ways.items()}
    sides = {side: _open_side(spec.name, side, way, places[side]) for side, way in ways.items()}
    return Control(spec.name, sides, ways, places)


def _open_side(name: str, side: SideName, way: Way, places: Places) -> SideControl:
    if way.systemd is not None:
        return SystemdSide(name, side, way, way.systemd, places)
    if way.slurm is not None:
        return SlurmSide(name, side, way, way.slurm, places)
    if way.command is not None:
        return CommandSide(name, side, way, places)
    raise NotYetSupported(f"workload {name}: quiesce by kubernetes is not yet supported", where=f"workloads.{name}.quiesce")
