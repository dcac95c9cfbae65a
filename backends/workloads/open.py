"""From the plan's workload to the thing that stops and starts it."""

from __future__ import annotations

from pathlib import Path

from backends.children import Children
from backends.kubernetes.client import KubernetesClient
from backends.plan.models import Workload
from backends.ssh.place import Places
from backends.ssh.pool import SshPool
from backends.vocabulary import SIDES, SideName
from backends.workloads.base import WorkloadControl
from backends.workloads.command import CommandSide
from backends.workloads.control import Control, SideControl, StoreOf
from backends.workloads.kubernetes import KubernetesSide
from backends.workloads.slurm import SlurmSide
from backends.workloads.systemd import SystemdSide


def open_workload(
    spec: Workload, pool: SshPool, *, base: Path, children: Children, store_of: StoreOf | None = None
) -> WorkloadControl | None:
    """How the plan stops this workload; None where it names no way. `base` is the plan's folder, `store_of` gives the store of a dataset on
    a side. Close it when done. Contacts nothing yet."""
    if spec.quiesce is None:
        return None
    hosts: dict[SideName, tuple[str, ...]] = {"legacy": spec.runs_on.legacy, "target": spec.runs_on.target}
    ways = {side: way for side in SIDES if (way := spec.quiesce.way(side)) is not None}
    places = {side: Places((None,) if way.on == "engine" else hosts[side], pool, children, base) for side, way in ways.items()}
    clients: list[KubernetesClient] = []
    sides: dict[SideName, SideControl] = {}
    for side, way in ways.items():
        if way.kubernetes is not None:
            clients.append(KubernetesClient(way.kubernetes.kubeconfig, way.kubernetes.context, base))
            sides[side] = KubernetesSide(spec.name, side, way, way.kubernetes, clients[-1])
        elif way.systemd is not None:
            sides[side] = SystemdSide(spec.name, side, way, way.systemd, places[side])
        elif way.slurm is not None:
            sides[side] = SlurmSide(spec.name, side, way, way.slurm, places[side])
        else:
            sides[side] = CommandSide(spec.name, side, way, places[side])
    return Control(spec.name, sides, ways, places, clients, store_of)
